"""What is read off rows of frames: figures, each an Estimate, in dicts as report.json holds them.

Judges            what dreams are measured with besides the real frames
quality_figures   curves, skill, H*, sharpness and motion of every row, paired gains
split_figures     a few of them for every split
turn_figures      turn agreement of real, reconstructed and dreamt frames
inverse_figures   control fidelity, response lag, kernel distance
long_figures      survival and drift; still_figures: of standing still
speed_figures     milliseconds
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.action import ActionSpace
from worldmodel.evaluation import inverse as idm
from worldmodel.evaluation.control import LAGS, LEAST_TURN, horizontal_shift, net_turn, response_lag, turn_hits
from worldmodel.evaluation.distances import frechet_distance, kernel_distance
from worldmodel.evaluation.drift import limits, relative, survival
from worldmodel.evaluation.i3d import I3D
from worldmodel.evaluation.manifest import ProbesConfig
from worldmodel.evaluation.pilot import Pilot
from worldmodel.evaluation.quality import (
    HORIZONS,
    TRAITS,
    moving,
    psnr_curve,
    skill,
    squared_errors,
    traits,
    usable_horizon,
)  # fmt: skip
from worldmodel.evaluation.reference import Longs, Shorts
from worldmodel.evaluation.statistics import Estimate, median_ratio, ratio_of_sums, resampled

EDGE = 8  # frames that count as early, and as late
TIMES = (10, 60, 300)  # seconds at which survival is told

Rows = dict[str, np.ndarray]  # name -> uint8 (E, T, H, W, 3)


@dataclass(kw_only=True)
class Judges:
    """control, space: the game's; inverse: the inverse-dynamics model, None where none was given; least_f1: on real
    frames, below which it judges nobody; pilot, None where none was given; piloted: its real runs by seconds;
    least_pilot: share of these that must survive, likewise; pool: frames of training (N, H, W, 3); diverse: episodes,
    noise seeds, steps; astray, still: the real game's long runs that went on otherwise (otherwise.py), astray by
    seconds, still None where there are none; i3d: the network of FVD and KVD, None where these were not asked for.
    """

    control: ProbesConfig
    space: ActionSpace
    inverse: idm.Inverse | None
    least_f1: float
    pilot: Pilot | None
    piloted: dict[int, Longs]
    least_pilot: float
    pool: np.ndarray
    diverse: list[int]
    astray: dict[int, Longs]
    still: Longs | None = None
    i3d: I3D | None = None


def quality_figures(rows: Rows, part: Shorts, given: int) -> dict[str, Any]:
    """rows: name -> psnr, psnr_moving and psnr_static by horizon, mean psnr of all frames, sharpness (all, early,
    late) and motion over the real ones', skill by every frame and usable_horizon.
    gain_moving: student over copy_last; wrong_action_cost: student over student_shuffled (all frames); to_teacher:
    psnr difference, sharpness and motion ratio of the student.
    """
    real = rows["real"]
    mask = moving(part.frames[:, given - 1], real)
    curves = {name: psnr_curve(row, real) for name, row in rows.items() if name != "real"}
    errors = {name: squared_errors(row, real) for name, row in rows.items() if name != "real"}
    looks = {name: np.stack([traits(clip) for clip in row]) for name, row in rows.items()}  # (E, T, 3)

    def ratio(ours: str, theirs: str, kind: str, frames: slice) -> Estimate:
        sums = [looks[name][:, frames, TRAITS.index(kind)].sum(1) for name in (ours, theirs)]
        return ratio_of_sums(*sums)

    figures: dict[str, Any] = {"rows": {}, "moving_share": float(mask.mean())}
    for name, curve in curves.items():
        skills = skill(errors[name], errors["tokenizer"], errors["copy_last"], mask)
        figures["rows"][name] = {
            "psnr": _by_horizon(curve),
            "psnr_moving": _by_horizon(curve, mask),
            "psnr_static": _by_horizon(curve, ~mask),
            "psnr_mean": ratio_of_sums(curve.mean(1)),
            "sharpness": ratio(name, "real", "sharpness", slice(None)),
            "sharpness_early": ratio(name, "real", "sharpness", slice(EDGE)),
            "sharpness_late": ratio(name, "real", "sharpness", slice(-EDGE, None)),
            "motion": ratio(name, "real", "motion", slice(1, None)),
            "skill": {h + 1: value for h, value in enumerate(skills)},
            "usable_horizon": usable_horizon(skills),
        }
    gain, cost = curves["student"] - curves["copy_last"], curves["student"] - curves["student_shuffled"]
    figures |= {"gain_moving": _by_horizon(gain, mask), "wrong_action_cost": _by_horizon(cost)}
    if "teacher" in rows:
        figures["to_teacher"] = {
            "psnr": _by_horizon(curves["student"] - curves["teacher"]),
            "sharpness": ratio("student", "teacher", "sharpness", slice(None)),
            "motion": ratio("student", "teacher", "motion", slice(1, None)),
        }
    return figures


def split_figures(rows: Rows, part: Shorts, given: int) -> dict[str, Any]:
    """Of a split by itself: episodes, mean PSNR of the tokenizer, gain over copying, skill at 1 and 8, H*, motion."""
    real = rows["real"]
    mask = moving(part.frames[:, given - 1], real)
    errors = {name: squared_errors(rows[name], real) for name in ("tokenizer", "student", "copy_last")}
    curves = {name: psnr_curve(rows[name], real) for name in errors}
    skills = skill(errors["student"], errors["tokenizer"], errors["copy_last"], mask)
    motions = [np.stack([traits(clip)[1:, 2].sum() for clip in rows[name]]) for name in ("student", "real")]
    return {
        "episodes": len(real),
        "tokenizer": ratio_of_sums(curves["tokenizer"].mean(1)),
        "psnr": _by_horizon(curves["student"]),
        "gain_moving": _by_horizon(curves["student"] - curves["copy_last"], mask),
        "skill": {h: skills[h - 1] for h in (1, 8)},
        "usable_horizon": usable_horizon(skills),
        "motion": ratio_of_sums(*motions),
    }


def video_figures(rows: Rows, network: I3D) -> dict[str, Any]:
    """fvd, of logits, and kvd, of pooled features, by row: distances of 16-frame windows from the real ones; floor: of
    the real ones from each other; windows: of each side in a distance.
    """
    names = ("real", "tokenizer", "student", "teacher", "student_shuffled")
    felt = {name: network.read(rows[name]) for name in names if name in rows}
    pooled, logits = ({name: pair[i] for name, pair in felt.items()} for i in range(2))
    figures: dict[str, Any] = {"windows": len(logits["real"]) // 2 * logits["real"].shape[1]}
    for key, parts, distance in (("fvd", logits, frechet_distance), ("kvd", pooled, kernel_distance)):
        told = {name: distance(part, parts["real"]) for name, part in parts.items()}
        figures[key] = {("floor" if name == "real" else name): estimate for name, estimate in told.items()}
    return figures


def turn_figures(
    rows: Rows, part: Shorts, given: int, space: ActionSpace, control: ProbesConfig
) -> dict[str, Any] | None:
    """agreement by row: the share of turning steps that move the picture the right way; ratio: student over real;
    lag: frames until the picture answers a turn. None where the game does not turn a view.
    """
    if not (control.turning and control.turning.is_view):
        return None
    degrees = net_turn(part.actions[:, given:], space, control.turning)
    names = ("real", "tokenizer", "student", "student_1_step", "student_shuffled", "teacher")
    hits = {name: turn_hits(rows[name], degrees) for name in names if name in rows}
    real, steps = hits["real"]
    figures = {
        "agreement": {name: ratio_of_sums(right, steps) for name, (right, steps) in hits.items()},
        "ratio": ratio_of_sums(hits["student"][0], real),
        "steps": int(steps.sum()),
    }
    if degrees.shape[1] - 1 > len(LAGS):
        ways = {n: np.stack([np.sign(horizontal_shift(clip)) for clip in rows[n]]) for n in hits}
        asked = np.sign(degrees * (np.abs(degrees) >= LEAST_TURN))[:, 1:, None]
        figures["lag"] = {name: response_lag(asked, way[..., None]) for name, way in ways.items()}
    return figures


def inverse_figures(parts: dict[str, tuple[Rows, Shorts]], given: int, judges: Judges) -> dict[str, Any]:
    """control: F1 of real, reconstructed and dreamt frames; fidelity and lag where F1 on real frames is enough.
    distribution: kernel distances to real clips and their floor. parts: A, with all rows, and families of D.
    """
    inverse = judges.inverse
    assert inverse, "asked only where there is one"
    names = [name for name in ("real", "tokenizer", "student", "student_1_step", "teacher") if name in parts["A"][0]]
    home = {name: _read(inverse, *parts["A"], name, given, judges) for name in (*names, "student_shuffled")}
    counts = {name: told.counts for name, told in home.items()}
    chance = home["tokenizer"].against(np.roll(home["tokenizer"].truth, 1, axis=0))
    f1 = {name: resampled(idm.macro_f1, part) for name, part in (counts | {"chance": chance}).items()}
    control: dict[str, Any] = {"labels": inverse.names, "f1": f1, "f1_labels": _by_label(counts, inverse.names)}
    if f1["real"].value >= judges.least_f1:
        best = counts["tokenizer"]
        control["fidelity"] = {n: idm.fidelity(part, best, chance) for n, part in counts.items() if n != "real"}
        control["lag"] = {n: response_lag(home[n].truth, home[n].told) for n in names if _is_long(home[n].told)}
        if "teacher" in counts:
            control["to_teacher"] = idm.fidelity_gap(counts["student"], counts["teacher"], best, chance)
        scripted = [part for group, part in parts.items() if group != "A"]
        if scripted:
            told = [[_read(inverse, *p, n, given, judges) for p in scripted] for n in ("student", "tokenizer")]
            ours, best = (np.concatenate([t.counts for t in group]) for group in told)
            control["f1_scripts"] = {
                "student": resampled(idm.macro_f1, ours),
                "tokenizer": resampled(idm.macro_f1, best),
            }
    felt = {name: told.felt for name, told in home.items()}
    distribution: dict[str, Any] = {n: kernel_distance(felt[n], felt["real"]) for n in felt if n != "real"}
    distribution |= {"floor": kernel_distance(felt["real"], felt["real"]), "windows": felt["real"].shape[1]}
    return {"control": control, "distribution": distribution}


class _Told:
    """What the inverse model says of clips, beside what was done. All by window: (E, T, L)."""

    def __init__(self, told: np.ndarray, felt: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> None:
        self.told, self.felt, self.truth, self.mask = told, felt, truth, mask
        self.counts = self.against(truth)

    def against(self, truth: np.ndarray) -> np.ndarray:
        """F1 counts (E, L, 3) against what may have been done."""
        return idm.f1_counts(self.told, truth, self.mask)


def _read(inverse: idm.Inverse, rows: Rows, part: Shorts, name: str, given: int, judges: Judges) -> _Told:
    truth = idm.labels(part.actions, judges.space, judges.control)[:, given:]
    mask = idm.seen(part.actions, part.places, judges.space, judges.control)[:, given:]
    return _Told(*idm.read(inverse, rows[name]), idm.inner(truth).astype(float), idm.inner(mask))


def _is_long(told: np.ndarray) -> bool:
    return told.shape[1] - 1 > len(LAGS)


def _by_label(counts: dict[str, np.ndarray], names: list[str]) -> dict[str, dict[str, float]]:
    """F1 of every label by itself."""
    sums = {row: part.sum(0) for row, part in counts.items()}
    return {row: {n: float(idm.macro_f1(part[None, i : i + 1])[0]) for i, n in enumerate(names)}
            for row, part in sums.items()}  # fmt: skip


def long_figures(
    looks: dict[int, np.ndarray], real: dict[int, np.ndarray], recorded: Sequence[np.ndarray], fps: float
) -> dict[str, Any]:
    """Survival (drift.DEFINITION) at 10, 60 and 300 s of dreams and of reality; end: traits of the last 20 s over
    reality's; segments: by seconds and trait the mean of each 4 s over reality's same segment; worst: the segment
    farthest from 1; sheet: of the shortest kind the run whose late sharpness is the median; survival_limits: what
    they lie within. looks, real: traits (R, L, 3) by seconds; recorded: as in drift.survival.
    """
    ours = {s: relative(part, real[s], fps) for s, part in looks.items()}
    theirs = {s: relative(part, part, fps).segments.mean(0) for s, part in real.items()}
    films, partners = list(looks.values()), [real[s] for s in looks]
    ends = np.concatenate([part.end for part in ours.values()])
    segments = {s: part.segments.mean(0) / theirs[s] for s, part in ours.items()}  # (n, 3)
    late = ours[min(ours)].end[:, 0]
    return {
        "survival": {t: survival(films, partners, recorded, fps, t) for t in TIMES},
        "survival_real": {t: survival(partners, partners, recorded, fps, t) for t in TIMES},
        "survival_limits": {k: v.tolist() for k, v in limits(recorded, fps)._asdict().items()},
        "end": {name: ratio_of_sums(ends[:, i]) for i, name in enumerate(TRAITS)},
        "segments": {s: {n: part[:, i].tolist() for i, n in enumerate(TRAITS)} for s, part in segments.items()},
        "worst": {
            s: {n: float(part[np.abs(part[:, i] - 1).argmax(), i]) for i, n in enumerate(TRAITS)}
            for s, part in segments.items()
        },
        "runs": {s: len(part) for s, part in looks.items()},
        "sheet": int(np.argsort(late)[len(late) // 2]),
    }


def still_figures(rows: Rows, traits: np.ndarray, real: np.ndarray, seconds: float) -> dict[str, Any]:
    """Of runs without any action, beside the real ones. rows: name -> frames (R, n, H, W, 3), one every `seconds`;
    traits, real (R, L, 3) of all frames. psnr: seconds -> row; end: sharpness and brightness of the last `seconds` over
    reality's.
    """
    curves = {name: psnr_curve(row, rows["real"]) for name, row in rows.items() if name != "real"}
    count = rows["real"].shape[1]
    last = -round(real.shape[1] / count)
    sums = {name: [part[:, last:, TRAITS.index(name)].sum(1) for part in (traits, real)] for name in TRAITS[:2]}
    return {
        "psnr": {i * seconds: {n: ratio_of_sums(curve[:, i]) for n, curve in curves.items()} for i in range(1, count)},
        "end": {name: ratio_of_sums(*both) for name, both in sums.items()},
    }


def may_judge(piloted: dict[str, Any], least: float) -> bool:
    """Whether the real runs of a pilot survive often enough, up to the longest time at which that is told."""
    told = [share for share in piloted["survival_real"].values() if share]
    return bool(told) and told[-1].value >= least


def speed_figures(taken: np.ndarray, steps: dict[str, int]) -> dict[str, Any]:
    """taken: milliseconds (D, frames, 2), network and decoder, in the order of steps: name -> passes a frame."""
    figures: dict[str, Any] = {}
    for (name, count), (network, decoder) in zip(steps.items(), taken.swapaxes(1, 2), strict=True):
        figures[name] = {
            "frame_ms": float(np.median(network + decoder)),
            "network_ms": float(np.median(network)),
            "decoder_ms": float(np.median(decoder)),
            "passes": count,
        }
    if "teacher" in steps:
        figures["ratio"] = median_ratio(taken[-1].sum(-1), taken[0].sum(-1))
        figures["network_ratio"] = median_ratio(taken[-1, :, 0], taken[0, :, 0])
    return figures


def _by_horizon(values: np.ndarray, mask: np.ndarray | None = None) -> dict[int, Estimate]:
    """Means over the episodes of (E, T) at HORIZONS, of those where mask is true."""
    horizons = [h for h in HORIZONS if h <= values.shape[1]]
    if mask is None:
        return {h: ratio_of_sums(values[:, h - 1]) for h in horizons}
    return {h: ratio_of_sums((values * mask)[:, h - 1], mask[:, h - 1]) for h in horizons}
