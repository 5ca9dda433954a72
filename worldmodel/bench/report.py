"""What the bench found, for people and programs.

row        the figures of one rung
table      all of it as text
write      bench.json, bench.txt and bench.svg
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

# Relative error of the last latent, in a dream that feeds on itself and after a past that is the reference's. Any
# difference grows in the first, and rounding is one: in bfloat16 the plainest engine is over the gate there.
GATES = {"float32": 1e-4, "bfloat16": 1e-2, "int8": 1e-2}
VERDICTS = {True: " passes", False: " is over the gate", None: ""}
NOISY = 0.15  # the limit before and after differ by more: its ratio means nothing


def row(name: str, taken: np.ndarray, errors: list[float], gate: float) -> dict[str, Any]:
    """taken (frames, 2): milliseconds of wall clock and of the thread; errors: of Warm."""
    p50, p90, p99 = np.percentile(taken[:, 0], [50, 90, 99])
    own = float(np.median(taken[:, 1]))
    dream, told = (error < gate for error in errors[1:]) if errors else (None, None)
    return {"rung": name, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": taken[:, 0].max(), "thread_ms": own,
            "fps": 1000 / taken[:, 0].mean(), "errors": errors, "passes": dream,
            "passes_after_a_true_past": told}  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Lines of text."""
    env, before, after = found["environment"], found["limit"], found["limit_after"]
    lines = [", ".join(f"{key} {value}" for key, value in {**env, **found["settings"]}.items()), ""]
    heads = "".join(f"{head:>8}" for head in ("p50", "p90", "p99", "thread", "fps", "/limit"))
    lines.append(f"{'ms a frame':34}{heads}  error 1st, last, last after a true past")
    is_noisy = abs(after["products_ms"] / before["products_ms"] - 1) > NOISY
    for one in found["rungs"]:
        errors = ", ".join(f"{e:.1e}" for e in one["errors"]) or "another function"
        gate = VERDICTS[one["passes"]]
        if one["passes_after_a_true_past"] != one["passes"]:
            gate += f", after a true past it{VERDICTS[one['passes_after_a_true_past']]}"
        ratio = "noisy" if is_noisy else f"{one['thread_ms'] / before['products_ms']:.2f}"
        times = "".join(f"{one[key]:8.1f}" for key in ("p50_ms", "p90_ms", "p99_ms", "thread_ms", "fps"))
        lines.append(f"{one['rung']:34}{times}{ratio:>8}  {errors}{gate}")
    binds = "arithmetic" if before["products_ms"] > before["bytes_ms"] else "memory"
    shares = f"{before['linear_ms']:.2f} linear, {before['conv_ms']:.2f} convolutions, {before['gflop']:.2f} GFLOP"
    lines += [
        "",
        f"limit: {binds}: products alone {before['products_ms']:.2f} ms before, {after['products_ms']:.2f} "
        f"after ({shares} at {before['gflop_per_s']:.0f} GFLOP/s); weights {before['bytes_ms']:.2f} ms of memory",
    ]
    for one in found["contended"]:
        lines.append(f"beside a busy process: {one['rung']:34} p50 {one['p50_ms']:.1f} p99 {one['p99_ms']:.1f} ms")
    lines.append("first frame: " + ", ".join(f"{name} {s:.2f} s" for name, s in found["first_frame"].items()))
    lines += [f"batch of {size}: {ms:.1f} ms a frame and dream" for size, ms in found["envs"].items()]
    lines.append(f"memory: peak {found['peak_mb']:.0f} MB, keys and values {found['memory_mb']:.1f} MB")
    return "\n".join(lines)


def write(found: dict[str, Any], folder: Path) -> None:
    """Into a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.txt").write_text(table(found) + "\n", encoding="utf-8")
    (folder / "bench.svg").write_text(_picture(found["rungs"], found["limit"]["products_ms"]), encoding="utf-8")


def _picture(rungs: list[dict[str, Any]], limit_ms: float) -> str:
    """Bars of the median thread time on a logarithmic axis, and the limit as a line."""
    most, height = max(one["thread_ms"] for one in rungs), 26
    place = lambda ms: 260 + 380 * np.log(max(ms, 1) / 1) / np.log(max(most, 2))  # noqa: E731
    bars = [
        f'<text x="250" y="{i * height + 19}" text-anchor="end">{one["rung"]}</text>'
        f'<rect x="260" y="{i * height + 5}" width="{place(one["thread_ms"]) - 260:.0f}" height="18" fill="#4a7"/>'
        f'<text x="{place(one["thread_ms"]) + 6:.0f}" y="{i * height + 19}">{one["thread_ms"]:.1f} ms</text>'
        for i, one in enumerate(rungs)
    ]
    x, bottom = f"{place(limit_ms):.0f}", len(rungs) * height + 8
    line = f'<path d="M{x} 0V{bottom}" stroke="#c33"/><text x="{x}" y="{bottom + 14}">limit {limit_ms:.1f} ms</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{bottom + 22}" '
        f'font-family="sans-serif" font-size="12"><rect width="720" height="100%" fill="white"/>'
        f"{''.join(bars)}{line}</svg>\n"
    )
