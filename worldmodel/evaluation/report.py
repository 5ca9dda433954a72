"""What a reader gets: report.json, a table, a page and two pictures.

table          the report as text; still_lines: of standing still
write_report   report.json, the table, the page and both pictures
real_vs_dream  four episodes by rule, real above dreamt
sixty_seconds  one long run, real above dreamt; still.png and piloted.png likewise
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.data.video import contact_sheet, save_image
from worldmodel.evaluation.drift import DEFINITION
from worldmodel.evaluation.gates import Gate, verdict
from worldmodel.evaluation.i3d import CLASSES
from worldmodel.evaluation.page import write_page
from worldmodel.evaluation.protocol import Shown
from worldmodel.evaluation.quality import psnr_curve
from worldmodel.evaluation.statistics import Estimate

SCHEMA = 3  # of report.json
SHEET_QUANTILES = (0.1, 0.4, 0.6, 0.9)  # of the student's mean PSNR: from bad to good, never picked by hand
SHEET_STRIDE = 3
STILL_SECONDS = (2, 4, 10, 30, 60)


def table(figures: dict[str, Any], judged: list[Gate], about: dict[str, Any]) -> str:
    """The report as text, at most 120 columns."""
    parts = [
        _rows(figures["quality"], about["name"]), _splits(figures["splits"], about), _control(figures),
        *(_long(figures, kind) for kind in ("long", "astray", "piloted")), _still(figures), _speed(figures["speed"]),
        _gates(judged),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts)


def write_report(
    folder: Path, figures: dict[str, Any], judged: list[Gate], about: dict[str, Any], shown: Shown, fps: float
) -> str:
    """Write report.json, table.txt, report.html, real_vs_dream.png and, with such runs, sixty_seconds.png,
    still.png and piloted.png; gives the table.

    report.json holds `about` (who, where, how; name, absent and notes are needed), the gates and all figures; what is
    not finite becomes null.
    """
    gates = [{"name": g.name, **g._asdict(), "passed": g.passed, "is_good": g.is_good} for g in judged]
    about = about | {"survival": DEFINITION}
    data = {"schema": SCHEMA, "about": about, "passed": verdict(judged), "gates": gates, "figures": figures}
    data = _builtin(data)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    text = table(figures, judged, about)
    (folder / "table.txt").write_text(text + "\n")
    real_vs_dream(folder / "real_vs_dream.png", shown.rows["student"], shown.rows["real"])
    if shown.long:
        sixty_seconds(folder / "sixty_seconds.png", shown.long)
    if shown.still:
        sixty_seconds(folder / "still.png", shown.still)
    if shown.piloted:
        sixty_seconds(folder / "piloted.png", shown.piloted)
    write_page(folder / "report.html", data, shown, fps, text)
    return text


def real_vs_dream(path: Path, dreamt: np.ndarray, real: np.ndarray) -> None:
    """Write a sheet of four episodes, at the 10, 40, 60 and 90 % quantiles of mean PSNR; every third frame."""
    order = np.argsort(psnr_curve(dreamt, real).mean(1))
    picks = [order[round(q * (len(order) - 1))] for q in SHEET_QUANTILES]
    rows = [clip for k in picks for clip in (real[k, ::SHEET_STRIDE], dreamt[k, ::SHEET_STRIDE])]
    save_image(path, contact_sheet([frame for row in rows for frame in row], columns=len(rows[0])))


def sixty_seconds(path: Path, frames: list[np.ndarray], columns: int = 10) -> None:
    """Write a sheet of a long run: rows of real frames, each above its dreamt one. frames: first half real."""
    half = len(frames) // 2
    real, dreamt = frames[:half], frames[half:]
    blank = np.zeros_like(frames[0])
    cells = []
    for i in range(0, half, columns):
        for row in (real[i : i + columns], dreamt[i : i + columns]):
            cells += [*row, *[blank] * (columns - len(row))]
    save_image(path, contact_sheet(cells, columns=columns))


def _rows(quality: dict[str, Any], name: str) -> list[str]:
    rows = quality["rows"]
    horizons = list(rows["student"]["psnr"])
    lines = [f"{name}: PSNR in dB, all frames / moving frames; sharpness and motion relative to real frames", ""]
    head = "".join(f"{'h=' + str(h):>13s}" for h in horizons)
    lines.append(f"{'':17s}{head}{'early':>7s}{'late':>6s}{'motion':>7s}{'H*':>4s}")
    for row, figure in rows.items():
        cells = [f"{figure['psnr'][h].value:6.2f}/{figure['psnr_moving'][h].value:5.2f}" for h in horizons]
        looks = (
            f"{figure['sharpness_early'].value:7.2f}{figure['sharpness_late'].value:6.2f}{figure['motion'].value:7.2f}"
        )
        lines.append(f"{row:17s}{''.join(f'{cell:>13s}' for cell in cells)}{looks}{figure['usable_horizon']:4d}")
    cost = "  ".join(f"h={h} {e.value:.2f}" for h, e in quality["wrong_action_cost"].items())
    return [*lines, "", f"a wrong action costs (dB)  {cost}"]


def _splits(splits: dict[str, Any], about: dict[str, Any]) -> list[str]:
    lines = [f"{'split':24s}{'n':>5s}{'ceiling':>9s}{'gain h=1':>10s}{'gain h=8':>10s}{'skill 1':>9s}{'skill 8':>9s}"
             f"{'H*':>4s}{'motion':>8s}"]  # fmt: skip
    for group, f in splits.items():
        cells = f"{f['tokenizer'].value:9.2f}{f['gain_moving'][1].value:10.2f}{f['gain_moving'][8].value:10.2f}"
        skills = f"{f['skill'][1].value:9.2f}{f['skill'][8].value:9.2f}"
        lines.append(f"{group:24s}{f['episodes']:5d}{cells}{skills}{f['usable_horizon']:4d}{f['motion'].value:8.2f}")
    lines += [f"{split:24s}{reason}" for split, reason in about["absent"].items()]
    return lines + [f"({split}: {note})" for split, note in about["notes"].items()]


def _control(figures: dict[str, Any]) -> list[str]:
    turn, control = figures["turn"], figures.get("control")
    lines = ["turn agreement    " + _shares(turn["agreement"])] if turn else []
    lines.append("branches          " + _shares({k: v for k, v in figures["branch"].items() if k != "chance"}))
    if control:
        lines.append("F1 of actions     " + _shares(control["f1"]))
    if control and "fidelity" not in control:
        lines.append("control fidelity  n/a: the inverse model's F1 on real frames is too low to judge anybody")
    elif control:
        lines.append("control fidelity  " + _shares(control["fidelity"]))
    lag = (control or {}).get("lag") or (turn or {}).get("lag")
    if lag:
        source = "inverse model" if (control or {}).get("lag") else "turns"
        lines.append(f"lag ({source})".ljust(20) + "  ".join(f"{name} {e.value:.0f}" for name, e in lag.items()))
    if control:
        near = {k: v for k, v in figures["distribution"].items() if isinstance(v, Estimate)}
        lines.append("kernel distance   " + _shares(near))
    if video := figures.get("video"):
        for key in ("fvd", "kvd"):
            told = "  ".join(f"{name} {e.value:.4g}" for name, e in video[key].items())
            few = ", too few to rank by it" if key == "fvd" and video["windows"] < CLASSES else ""
            lines.append(f"{key.upper()} (I3D)         {told}  ({video['windows']} windows of 16 frames a side{few})")
    for angle, m in figures["memory"].items():
        value = f"{m['memory'].value:.2f} [{m['memory'].low:.2f}, {m['memory'].high:.2f}]"
        where = "inside" if m["frames"] <= figures["context"]["frames"] else "beyond"
        lines.append(f"memory {angle:3d} degrees  {value} after {m['frames']} frames ({where} what is in sight); "
                     f"{m['away'].value:.0%} looked away")  # fmt: skip
    lines.append("diversity (grey)  " + _shares(figures["diversity"]))
    return lines


def _long(figures: dict[str, Any], kind: str) -> list[str]:
    if kind not in figures:
        return [f"{kind} runs".ljust(18) + "n/a: none in this tier" + ", or no pilot" * (kind == "piloted")]
    long = figures[kind]
    alive = "  ".join(f"{t} s {e.value:.2f} of {e.samples}" for t, e in long["survival"].items() if e)
    real = "  ".join(f"{t} s {e.value:.2f}" for t, e in long["survival_real"].items() if e)
    title = {"long": "survival", "piloted": "survival, piloted", "astray": "reality astray"}[kind]
    lines = [f"{title:18s}{alive}  (real: {real})"]
    if not long.get("may_judge", True):
        lines.append("the pilot survives too seldom in the real game to judge anybody")
    lines += [f"{kind} runs, end".ljust(18) + _shares(long["end"])]
    for seconds, worst in long["worst"].items():
        cells = "  ".join(f"{name} {value:.2f}" for name, value in worst.items())
        lines.append(f"worst 4 s of {seconds:3d} s  {cells}")
    return lines


def _still(figures: dict[str, Any]) -> list[str]:
    if "still" not in figures:
        return ["standing still    n/a: none in this tier"]
    return still_lines(figures["still"])


def still_lines(still: dict[str, Any]) -> list[str]:
    """PSNR of every row at some of the times, and what the last frames look like."""
    told = still["psnr"]
    picks = sorted({min(told, key=lambda t: abs(t - wanted)) for wanted in STILL_SECONDS})
    rows = list(told[picks[0]])
    lines = [f"{'standing still (dB)':20s}" + "".join(f"{f'{t:.0f} s':>8s}" for t in picks)]
    lines += [f"  {row:18s}" + "".join(f"{told[t][row].value:8.2f}" for t in picks) for row in rows]
    return [*lines, "  last 2 s          " + _shares(still["end"])]


def _speed(speeds: dict[str, Any]) -> list[str]:
    lines = []
    for who, speed in speeds.items():
        if not isinstance(speed, Estimate):
            lines.append(
                f"speed {who:15s} {speed['frame_ms']:7.2f} ms a frame: network {speed['network_ms']:.2f} ms in "
                f"{speed['passes']} passes, decoder {speed['decoder_ms']:.2f} ms"
            )
    if "network_ratio" in speeds:
        lines.append(f"the student's network alone is {speeds['network_ratio'].value:.1f} x faster")
    return lines


def _gates(judged: list[Gate]) -> list[str]:
    lines = [f"{'gate':42s}{'value':>8s}   {'95 % interval':>19s}{'gate':>14s}{'good':>8s}"]
    for gate in judged:
        e, asked = gate.figure, bounds_text(gate)
        is_there = e is not None and not math.isnan(e.value)
        value = f"{e.value:8.3f}   [{e.low:8.3f},{e.high:8.3f}]" if e and is_there else f"{'n/a':>8s}{'':22s}"
        good = "" if gate.good is None else f"{gate.good:g}"
        lines.append(f"{gate.name:42s}{value}{asked:>14s}{good:>8s}   {outcome(gate)}")
    passed = {True: "all gates passed", False: "not all gates passed", None: "no gate failed, some were not measured"}
    return [*lines, passed[verdict(judged)]]


def bounds_text(gate: Gate) -> str:
    """What is asked, such as >= 28 or 0.85 .. 1.15."""
    if gate.least is not None and gate.most is not None:
        return f"{gate.least:g} .. {gate.most:g}"
    if gate.least is not None:
        return f">= {gate.least:g}"
    return "" if gate.most is None else f"<= {gate.most:g}"


def outcome(gate: Gate) -> str:
    """pass, pass (good), FAIL, or n/a with the reason."""
    if gate.passed is None:
        return "nothing asked" if gate.least is None and gate.most is None else f"n/a: {gate.why or 'undefined'}"
    return ("pass (good)" if gate.is_good else "pass") if gate.passed else "FAIL"


def _shares(figures: dict[str, Estimate]) -> str:
    return "  ".join(f"{name} {e.value:.3f}" for name, e in figures.items())


def _builtin(value: Any) -> Any:
    """Estimates and numbers as JSON takes them."""
    if isinstance(value, Estimate):
        return {key: _builtin(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): _builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_builtin(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
