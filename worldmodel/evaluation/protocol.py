"""The protocol: which rows are compared, which figures are read off them. Every figure is an Estimate.

Dreamers         the student, its one-step self, its teacher
measure          everything, in order; passes: how much that is
short_dreams     the rows: what each of them shows after the context, frame by frame
quality_figures  curves, sharpness and motion of every row, paired gains
turn_figures     turn agreement of real, reconstructed and dreamt frames
branch_figures   five-way identification
long_figures     sixty seconds
speed_figures    milliseconds
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.action import ActionSpace
from worldmodel.evaluation.control import branch_hits, net_turn, turn_hits
from worldmodel.evaluation.dreamer import Dreamer, decode, dream, reconstruct
from worldmodel.evaluation.drift import relative, survived
from worldmodel.evaluation.latency import side_by_side
from worldmodel.evaluation.quality import HORIZONS, TRAITS, moving, psnr_curve, traits
from worldmodel.evaluation.reference import SHEET_SECONDS, Reference
from worldmodel.evaluation.statistics import Estimate, median_ratio, ratio_of_sums, share

EDGE = 8  # frames that count as early, and as late
TIMED_FRAMES = 40

Rows = dict[str, np.ndarray]  # name -> uint8 (E, T, H, W, 3)


@dataclass(kw_only=True)
class Dreamers:
    """Who is judged. one_step: the student in one pass a frame; teacher: None where none was given."""

    student: Dreamer
    one_step: Dreamer
    teacher: Dreamer | None

    def tell(self, tick: Callable[[int], object]) -> None:
        """Have tick told of every pass of a network."""
        for dreamer in (self.student, self.one_step, self.teacher):
            if dreamer:
                dreamer.tick = tick


def measure(
    dreamers: Dreamers, reference: Reference, space: ActionSpace, turn_degrees: float
) -> tuple[dict[str, Any], Rows, list[np.ndarray]]:
    """All figures, the rows they were read off, and the frames of one long run; turn_degrees: a turn key's step."""
    rows = short_dreams(dreamers, reference)
    figures: dict[str, Any] = {
        "quality": quality_figures(rows, reference),
        "turn": turn_figures(rows, reference, space, turn_degrees),
        "branch": branch_figures(dreamers, reference),
        "speed": speed_figures(dreamers, reference),
    }
    figures["long"], frames = long_figures(dreamers.student, reference)
    return figures, rows, frames


def passes(dreamers: Dreamers, reference: Reference) -> int:
    """Passes of a network, clip by clip, that measure takes; what is told one by one."""
    student, one = len(dreamers.student.sigmas), len(dreamers.one_step.sigmas)
    teacher = len(dreamers.teacher.sigmas) if dreamers.teacher else 0
    short = int(np.prod(reference.real.shape[:2])) * (2 * student + one + teacher)
    branch = int(np.prod(reference.branch_frames.shape[:3])) * (student + one + teacher)
    return short + branch + int(np.prod(reference.long_traits.shape[:2])) * student


def short_dreams(dreamers: Dreamers, reference: Reference) -> Rows:
    """Every row of the report. All dreams of an episode start from the same noise; `real` is the first row.

    student_shuffled dreams under the next episode's actions; copy_last shows the last context frame for ever;
    other_episode shows the real frames of the next episode.
    """
    given, real = reference.context, reference.real
    context, actions = reference.frames[:, :given], reference.actions
    shuffled = np.concatenate([actions[:, :given], np.roll(actions[:, given:], 1, axis=0)], 1)

    def shown(dreamer: Dreamer, acted: np.ndarray) -> np.ndarray:
        return np.stack([decode(dreamer, x0) for x0 in dream(dreamer, context, acted, range(len(context)))])

    rows = {
        "real": real,
        "tokenizer": np.stack([reconstruct(dreamers.student, clip) for clip in real]),
        "student": shown(dreamers.student, actions),
        "student_1_step": shown(dreamers.one_step, actions),
        "student_shuffled": shown(dreamers.student, shuffled),
        "copy_last": np.repeat(context[:, -1:], real.shape[1], 1),
        "other_episode": np.roll(real, 1, axis=0),
    }
    return rows | ({"teacher": shown(dreamers.teacher, actions)} if dreamers.teacher else {})


def quality_figures(rows: Rows, reference: Reference) -> dict[str, Any]:
    """rows: name -> psnr and psnr_moving by horizon, sharpness early and late and motion over the real ones'.
    gain_moving: student over copy_last; wrong_action_cost: student over student_shuffled (all frames);
    to_teacher: psnr difference, sharpness and motion ratio of the student.
    """
    real = reference.real
    mask = moving(reference.frames[:, reference.context - 1], real)
    horizons = [h for h in HORIZONS if h <= real.shape[1]]
    curves = {name: psnr_curve(row, real) for name, row in rows.items() if name != "real"}
    looks = {name: np.stack([traits(clip) for clip in row]) for name, row in rows.items()}  # (E, T, 3)

    def mean(values: np.ndarray, h: int) -> Estimate:
        return ratio_of_sums(values[:, h - 1])

    def mean_moving(values: np.ndarray, h: int) -> Estimate:
        return ratio_of_sums((values * mask)[:, h - 1], mask[:, h - 1])

    def ratio(ours: str, theirs: str, kind: str, frames: slice) -> Estimate:
        sums = [looks[name][:, frames, TRAITS.index(kind)].sum(1) for name in (ours, theirs)]
        return ratio_of_sums(*sums)

    figures: dict[str, Any] = {"rows": {}}
    for name, curve in curves.items():
        figures["rows"][name] = {
            "psnr": {h: mean(curve, h) for h in horizons},
            "psnr_moving": {h: mean_moving(curve, h) for h in horizons},
            "sharpness_early": ratio(name, "real", "sharpness", slice(EDGE)),
            "sharpness_late": ratio(name, "real", "sharpness", slice(-EDGE, None)),
            "motion": ratio(name, "real", "motion", slice(1, None)),
        }
    gain, cost = curves["student"] - curves["copy_last"], curves["student"] - curves["student_shuffled"]
    figures["gain_moving"] = {h: mean_moving(gain, h) for h in horizons}
    figures["wrong_action_cost"] = {h: mean(cost, h) for h in horizons}
    if "teacher" in rows:
        figures["to_teacher"] = {
            "psnr": {h: mean(curves["student"] - curves["teacher"], h) for h in horizons},
            "sharpness": ratio("student", "teacher", "sharpness", slice(None)),
            "motion": ratio("student", "teacher", "motion", slice(1, None)),
        }
    return figures


def turn_figures(rows: Rows, reference: Reference, space: ActionSpace, turn_degrees: float) -> dict[str, Any]:
    """agreement by row: the share of turning steps that move the picture the right way; ratio: student over real."""
    degrees = net_turn(reference.actions[:, reference.context :], space, turn_degrees)
    names = ("real", "tokenizer", "student", "student_1_step", "student_shuffled", "teacher")
    hits = {name: turn_hits(rows[name], degrees) for name in names if name in rows}
    real, steps = hits["real"]
    return {
        "agreement": {name: ratio_of_sums(right, steps) for name, (right, steps) in hits.items()},
        "ratio": ratio_of_sums(hits["student"][0], real),
        "steps": int(steps.sum()),
    }


def branch_figures(dreamers: Dreamers, reference: Reference) -> dict[str, Any]:
    """Share of branches identified, by row; the last frame of each branch decides. A context is one sample."""
    real = reference.branch_frames[:, :, -1]  # (B, K, H, W, 3)
    contexts, scripts = real.shape[:2]
    context = np.repeat(reference.branch_context, scripts, 0)  # (B K, C, H, W, 3)
    actions = reference.branch_actions.reshape(-1, *reference.branch_actions.shape[2:])
    seeds = np.repeat(np.arange(contexts), scripts).tolist()  # one noise a context: only the actions differ

    def score(last: np.ndarray) -> Estimate:
        return ratio_of_sums(branch_hits(last.reshape(real.shape), real))

    def shown(dreamer: Dreamer) -> np.ndarray:
        return decode(dreamer, dream(dreamer, context, actions, seeds)[:, -1])

    figures = {
        "tokenizer": score(reconstruct(dreamers.student, real.reshape(-1, *real.shape[2:]))),
        "student": score(shown(dreamers.student)),
        "student_1_step": score(shown(dreamers.one_step)),
        "copy_last": score(context[:, -1]),
    }
    return figures | ({"teacher": score(shown(dreamers.teacher))} if dreamers.teacher else {})


def long_figures(dreamer: Dreamer, reference: Reference) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Survival (drift.DEFINITION), traits relative to reality, and for the contact sheet the real and dreamt frames
    (two lists in one, every 2 s) of the run whose late sharpness is the median of all.
    """
    fps, given = float(reference.fps), reference.context
    real = relative(reference.long_traits, reference.long_traits, fps)
    latents = dream(dreamer, reference.long_context, reference.long_actions, range(len(reference.long_actions)))
    looks, kept = [], []
    for last, x0 in zip(reference.long_context[:, given - 1], latents, strict=True):
        clip = decode(dreamer, x0)
        looks.append(traits(np.concatenate([last[None], clip]))[1:])
        kept.append(clip[:: round(SHEET_SECONDS * fps)])
    ours = relative(np.stack(looks), reference.long_traits, fps)
    alive = survived(ours)
    median = int(np.argsort(ours.end[:, 0])[len(alive) // 2])
    figures = {
        "survival": share(alive),
        "survival_real": share(survived(real)),
        "end": {name: ratio_of_sums(ours.end[:, i]) for i, name in enumerate(TRAITS)},
        "segments": {name: ours.segments[..., i].mean(0).tolist() for i, name in enumerate(TRAITS)},
        "segment_extremes": {
            name: [float(ours.segments[..., i].min()), float(ours.segments[..., i].max())]
            for i, name in enumerate(TRAITS)
        },
        "not_finite_frames": int((~latents.isfinite().all((2, 3, 4))).sum()),
        "runs": {"survived": alive.tolist(), "end": ours.end.tolist(), "sheet": median},
    }
    return figures, [*reference.long_frames[median], *kept[median]]


def speed_figures(dreamers: Dreamers, reference: Reference) -> dict[str, Any]:
    """Milliseconds a frame of each dreamer, batch 1; with a teacher, how many times faster the student is."""
    named = {"student": dreamers.student, "student_1_step": dreamers.one_step}
    named |= {"teacher": dreamers.teacher} if dreamers.teacher else {}
    context, actions = reference.frames[:1, : reference.context], reference.actions[:1]
    taken = side_by_side(list(named.values()), context, actions, TIMED_FRAMES)  # (D, F, 2)
    figures: dict[str, Any] = {}
    for dreamer, (name, (network, decoder)) in zip(named.values(), zip(named, taken.swapaxes(1, 2)), strict=True):
        figures[name] = {
            "frame_ms": float(np.median(network + decoder)),
            "network_ms": float(np.median(network)),
            "decoder_ms": float(np.median(decoder)),
            "passes": len(dreamer.sigmas),
        }
    if dreamers.teacher:
        figures["ratio"] = median_ratio(taken[-1].sum(-1), taken[0].sum(-1))
        figures["network_ratio"] = median_ratio(taken[-1, :, 0], taken[0, :, 0])
    return figures
