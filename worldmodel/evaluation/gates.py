"""What a world must reach: figures beside the bounds of conf/evaluate.yaml.

Bounds    the least, the most and the good value
Gate      a figure and its bounds: pass, FAIL or n/a
gates     those of the project, in the order of the report
verdict   of all together
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from worldmodel.evaluation.statistics import Estimate

MEMORY_DEGREES = 90
NAMES = {
    "tokenizer_psnr": "tokenizer ceiling (dB)",
    "gain_1": "PSNR over copy-last, moving, h = 1 (dB)",
    "gain_8": "PSNR over copy-last, moving, h = 8 (dB)",
    "usable_horizon": "usable horizon H* (frames)",
    "branch": "branch identification of 5",
    "control": "control fidelity",
    "lag": "response lag (frames)",
    "survival_60": "survival of 60 s",
    "survival_300": "survival of 300 s",
    "piloted_60": "survival of 60 s, piloted",
    "piloted_300": "survival of 300 s, piloted",
    "not_finite": "frames that are not finite",
    "sharpness": "sharpness / real",
    "memory": f"memory after looking {MEMORY_DEGREES} degrees away",
    "context_seconds": "context (s)",
    "teacher_psnr": "PSNR student - teacher, h = 1 (dB)",
    "teacher_control": "control fidelity student - teacher",
    "teacher_motion": "motion student / teacher",
    "teacher_diversity": "diversity student / teacher",
    "teacher_speed": "speed student / teacher, whole frame",
}


@dataclass(kw_only=True)
class Bounds:
    """Values a figure must reach, null where there is no bound; good: better still, on the same side as the gate."""

    least: float | None
    most: float | None
    good: float | None


class Gate(NamedTuple):
    """A figure that must lie in [least, most]. The value decides; its interval says how surely."""

    key: str
    figure: Estimate | None  # None: not measured
    least: float | None
    most: float | None
    good: float | None
    why: str  # it is not measured

    @property
    def name(self) -> str:
        """For people."""
        return NAMES[self.key]

    @property
    def passed(self) -> bool | None:
        """None where nothing was measured, or nothing is asked."""
        if self.figure is None or math.isnan(self.figure.value) or (self.least is None and self.most is None):
            return None
        above = self.least is None or self.figure.value >= self.least
        return above and (self.most is None or self.figure.value <= self.most)

    @property
    def is_good(self) -> bool:
        """Whether the gate is passed and the good value reached."""
        if not self.passed or self.figure is None or self.good is None:
            return False
        return self.figure.value <= self.good if self.least is None else self.figure.value >= self.good


def gates(figures: Mapping[str, Any], bounds: Mapping[str, Bounds]) -> list[Gate]:
    """The gates of `bounds`; ValueError for one that does not exist. What was not measured says why."""
    if unknown := sorted(set(bounds) - set(NAMES)):
        raise ValueError(f"gates: there are none called {unknown}; there are {list(NAMES)}")
    found = _values(figures)
    result = []
    for key in NAMES:
        if key in bounds:
            own, (figure, why) = bounds[key], found[key]
            result.append(Gate(key, figure, own.least, own.most, own.good, why))
    return result


def verdict(judged: list[Gate]) -> bool | None:
    """True if all are passed, False if one is not, None if none fails but some were not measured."""
    results = [gate.passed for gate in judged if gate.least is not None or gate.most is not None]
    if False in results:
        return False
    return None if None in results else True


def _values(figures: Mapping[str, Any]) -> dict[str, tuple[Estimate | None, str]]:
    """Each gate's figure, or None and the reason."""
    quality, long, control = figures["quality"], figures.get("long"), figures.get("control")
    student, teacher = quality["rows"]["student"], quality.get("to_teacher")
    nobody, short = "no teacher was given", "the tier's episodes are too short"
    unread = "no inverse model was given" if control is None else "its F1 on real frames is too low to judge"
    no_runs = "no run is that long"
    flown = figures.get("piloted")
    blown = no_runs if flown else "no pilot was given"
    if flown and not flown["may_judge"]:
        flown, blown = None, "the pilot survives too seldom in the real game to judge"
    turn_lag = (figures["turn"] or {}).get("lag")
    lag = ((control or {}).get("lag") or turn_lag or {}).get("student")
    memory = figures["memory"].get(MEMORY_DEGREES)
    blind = "nothing in this game turns a view, or no looks are in the tier"
    if memory and memory["frames"] > figures["context"]["frames"]:
        memory, blind = None, "a look takes longer than the network's window: that would be another question"
    judged, gain = control if control and "fidelity" in control else None, quality["gain_moving"]
    return {
        "tokenizer_psnr": (quality["rows"]["tokenizer"]["psnr_mean"], ""),
        "gain_1": (gain[1], ""),
        "gain_8": (gain.get(8), short),
        "usable_horizon": (_number(student["usable_horizon"]), ""),
        "branch": (figures["branch"]["student"], ""),
        "control": (judged and judged["fidelity"]["student"], unread),
        "lag": (lag, unread if turn_lag is None else short),
        "survival_60": (long and long["survival"][60], no_runs),
        "survival_300": (long and long["survival"][300], no_runs),
        "piloted_60": (flown and flown["survival"][60], blown),
        "piloted_300": (flown and flown["survival"][300], blown),
        "not_finite": (_number(long["not_finite_frames"]) if long else None, no_runs),
        "sharpness": (student["sharpness"], ""),
        "memory": (memory and memory["memory"], blind),
        "context_seconds": (_number(figures["context"]["seconds"]), ""),
        "teacher_psnr": (teacher and teacher["psnr"][1], nobody),
        "teacher_control": (judged and judged.get("to_teacher"), nobody if judged else unread),
        "teacher_motion": (teacher and teacher["motion"], nobody),
        "teacher_diversity": (figures["diversity"].get("ratio"), nobody),
        "teacher_speed": (figures["speed"].get("ratio"), nobody),
    }


def _number(value: float) -> Estimate:
    """A figure without an interval of its own."""
    return Estimate(float(value), float(value), float(value), 1)
