"""What a reader gets: gates, a table, report.json and two pictures.

Gate, gates    a figure and the value it must reach
table          the report as text
write_report   report.json, the table and both pictures
real_vs_dream  four episodes by rule, real above dreamt
sixty_seconds  one long run, real above dreamt
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldmodel.data.video import contact_sheet, save_image
from worldmodel.evaluation.drift import DEFINITION
from worldmodel.evaluation.quality import psnr_curve
from worldmodel.evaluation.statistics import Estimate

SHEET_QUANTILES = (0.1, 0.4, 0.6, 0.9)  # of the student's mean PSNR: from bad to good, never picked by hand
SHEET_STRIDE = 3


class Gate(NamedTuple):
    """A figure that must be >= least (> least where is_strict). The value decides; its interval says how surely."""

    name: str
    figure: Estimate | None  # None: not measured
    least: float
    is_strict: bool = False

    @property
    def passed(self) -> bool | None:
        """None where nothing was measured."""
        if self.figure is None or math.isnan(self.figure.value):
            return None
        return self.figure.value > self.least if self.is_strict else self.figure.value >= self.least


def gates(figures: dict[str, Any]) -> list[Gate]:
    """The project's gates, in the order of the report."""
    quality, teacher = figures["quality"], figures["quality"].get("to_teacher")
    speed = figures["speed"].get("ratio")
    return [
        Gate("PSNR gain over copy-last, moving, h = 1 (dB)", quality["gain_moving"].get(1), 3.0),
        Gate("PSNR gain over copy-last, moving, h = 16 (dB)", quality["gain_moving"].get(16), 0.0, True),
        Gate("cost of a wrong action, h = 1 (dB)", quality["wrong_action_cost"].get(1), 1.0),
        Gate("turn agreement, dream / real", figures["turn"]["ratio"], 0.97),
        Gate("branch identification of 5, h = 4", figures["branch"]["student"], 0.7),
        Gate("sharpness / real, first 8 frames", quality["rows"]["student"]["sharpness_early"], 0.8),
        Gate("sharpness / real, last 8 frames", quality["rows"]["student"]["sharpness_late"], 0.8),
        Gate("survival of the long runs", figures["long"]["survival"], 0.95),
        Gate("PSNR student - teacher, h = 1 (dB)", teacher and teacher["psnr"][1], -1.0),
        Gate("sharpness student / teacher", teacher and teacher["sharpness"], 0.95),
        Gate("speed student / teacher, whole frame", speed, 6.0),
    ]


def table(figures: dict[str, Any], name: str) -> str:
    """The report as text, at most 120 columns."""
    rows = figures["quality"]["rows"]
    horizons = list(rows["student"]["psnr"])
    lines = [f"{name}: PSNR in dB, all frames / moving frames; sharpness and motion relative to real frames", ""]
    head = "".join(f"{'h=' + str(h):>13s}" for h in horizons)
    lines.append(f"{'':17s}{head}{'early':>8s}{'late':>7s}{'motion':>8s}")
    for row, figure in rows.items():
        cells = [f"{figure['psnr'][h].value:6.2f}/{figure['psnr_moving'][h].value:5.2f}" for h in horizons]
        looks = (
            f"{figure['sharpness_early'].value:8.2f}{figure['sharpness_late'].value:7.2f}{figure['motion'].value:8.2f}"
        )
        lines.append(f"{row:17s}{''.join(f'{cell:>13s}' for cell in cells)}{looks}")
    lines += ["", "turn agreement    " + _shares(figures["turn"]["agreement"])]
    lines += ["branches of 5     " + _shares(figures["branch"])]
    long = figures["long"]
    ends = "  ".join(f"{kind} {e.value:.2f}" for kind, e in long["end"].items())
    lines += [f"long runs, end    {ends}  (real runs survive: {long['survival_real'].value:.2f})"]
    for who, speed in figures["speed"].items():
        if not isinstance(speed, Estimate):
            lines.append(
                f"speed {who:15s} {speed['frame_ms']:7.2f} ms a frame: network {speed['network_ms']:.2f} ms in "
                f"{speed['passes']} passes, decoder {speed['decoder_ms']:.2f} ms"
            )
    if "ratio" in figures["speed"]:
        lines.append(f"the student's network alone is {figures['speed']['network_ratio'].value:.1f} x faster")
    lines += ["", f"{'gate':48s}{'value':>8s}   {'95 % interval':>17s}{'gate':>9s}"]
    for gate in gates(figures):
        verdict = {True: "pass", False: "FAIL", None: "not measured"}[gate.passed]
        sign = ">" if gate.is_strict else ">="
        e = gate.figure
        value = f"{e.value:8.3f}   [{e.low:7.3f}, {e.high:7.3f}]" if e else " " * 29
        lines.append(f"{gate.name:48s}{value}{sign + f' {gate.least:g}':>9s}   {verdict}")
    return "\n".join(lines)


def write_report(
    folder: Path, figures: dict[str, Any], about: dict[str, Any], rows: dict[str, np.ndarray], long: list[np.ndarray]
) -> str:
    """Write report.json, table.txt, real_vs_dream.png and sixty_seconds.png; gives the table.

    report.json holds `about` (who, where, how), the gates and all figures; what is not finite becomes null. rows: the
    clips by name; long: real, then dreamt frames of a long run.
    """
    judged = [gate._asdict() | {"passed": gate.passed} for gate in gates(figures)]
    passed = all(gate["passed"] is not False for gate in judged)
    data = {"format": 1, "about": about | {"survival": DEFINITION}, "passed": passed, "gates": judged}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(_builtin(data | {"figures": figures}), indent=1, allow_nan=False) + "\n"
    )
    text = table(figures, about["name"])
    (folder / "table.txt").write_text(text + "\n")
    real_vs_dream(folder / "real_vs_dream.png", rows["student"], rows["real"])
    sixty_seconds(folder / "sixty_seconds.png", long)
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
