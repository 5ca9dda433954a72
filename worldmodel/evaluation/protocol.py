"""The protocol: who is judged, which rows are compared, and in which order. Every figure is an Estimate.

Dreamers       the student, its one-step self, its teacher
measure        everything, in order; passes: how much that is
short_dreams   the rows
dreamt         long runs under the real ones' actions; long_dreams: their figures; still_dreams: without any action;
               piloted_dreams: under a pilot's
looked         looks away and back

Not here: what is read off the rows (figures.py), gates and pages (gates.py, report.py, page.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from worldmodel.action import ActionSpace
from worldmodel.compass import Compass
from worldmodel.evaluation import figures as read_off
from worldmodel.evaluation.control import branch_hits
from worldmodel.evaluation.dreamer import Dreamer, decode, dream, frame_passes, reconstruct
from worldmodel.evaluation.figures import Judges, Rows
from worldmodel.evaluation.flight import fly
from worldmodel.evaluation.latency import WARM_UP, side_by_side
from worldmodel.evaluation.memory import remembered
from worldmodel.evaluation.quality import diversity, nearest, psnr_curve, traits
from worldmodel.evaluation.reference import NEAR_DEGREES, SHEET_SECONDS, Longs, Looks, Reference, Shorts
from worldmodel.evaluation.statistics import ratio_of_sums

TIMED_FRAMES = 40


@dataclass(kw_only=True)
class Dreamers:
    """Who is judged. one_step: the student in one pass a frame; teacher: None where none was given."""

    student: Dreamer
    one_step: Dreamer
    teacher: Dreamer | None

    def tell(self, tick: Callable[[int], object]) -> None:
        """Have tick told of every pass of a network."""
        for dreamer in self.named().values():
            dreamer.tick = tick

    def know(self, space: ActionSpace) -> None:
        """Tell each network of the game's actions what it was told in training."""
        for dreamer in self.named().values():
            dreamer.compass = Compass.of(space.known_to(dreamer.model.num_actions))

    def named(self) -> dict[str, Dreamer]:
        """All that there are, by the names of their rows."""
        both = {"student": self.student, "student_1_step": self.one_step}
        return both | ({"teacher": self.teacher} if self.teacher else {})


@dataclass(kw_only=True)
class Shown:
    """What a page shows: rows of split A; frames of one long, one still and one piloted run, first half real; rows of
    looks by degrees.
    """

    rows: Rows
    long: list[np.ndarray]
    still: list[np.ndarray]
    piloted: list[np.ndarray]
    looks: dict[int, Rows]


def measure(dreamers: Dreamers, reference: Reference, judges: Judges) -> tuple[dict[str, Any], Shown]:
    """All figures, and what they were read off."""
    home, given = reference.shorts["A"], reference.context
    rows = short_dreams(dreamers, home, given, judges.pool)
    others = _other_rows(dreamers.student, reference)
    figures: dict[str, Any] = {
        "quality": read_off.quality_figures(rows, home, given),
        "splits": {g: read_off.split_figures(r, reference.shorts[g], given) for g, r in {"A": rows, **others}.items()},
        "turn": read_off.turn_figures(rows, home, given, judges.space, judges.control),
        "branch": branch_figures(dreamers, reference),
        "diversity": diversity_figures(dreamers, home, given, judges.diverse),
        "speed": speed_figures(dreamers, home, given),
    }
    if judges.i3d:
        figures["video"] = read_off.video_figures(rows, judges.i3d)
    if judges.inverse:
        every = {"A": (rows, home)} | {g: (r, reference.shorts[g]) for g, r in others.items() if g.startswith("D/")}
        figures |= read_off.inverse_figures(every, given, judges)
    figures["memory"], looks = {}, {}
    for angle, part in reference.looks.items():
        figures["memory"][angle], looks[angle] = looked(dreamers.student, part)
    sight = dreamers.student.model.config.sight
    spans = {"frames": sight.reach, "seconds": sight.reach / reference.fps}  # beyond the window: key frames alone
    figures["context"] = spans | {"window_frames": sight.window, "window_seconds": sight.window / reference.fps}
    long: list[np.ndarray] = []
    if reference.longs:
        figures["long"], long = long_dreams(dreamers.student, reference)
    if judges.astray:
        strayed, real = ({s: part.traits for s, part in runs.items()} for runs in (judges.astray, reference.longs))
        figures["astray"] = read_off.long_figures(strayed, real, [*real.values()], reference.fps)
    still: list[np.ndarray] = []
    if judges.still:
        figures["still"], still = still_dreams(dreamers.student, judges.still, reference.fps)
    piloted: list[np.ndarray] = []
    if judges.pilot and judges.piloted:
        figures["piloted"], piloted = piloted_dreams(dreamers.student, judges, reference)
    return figures, Shown(rows=rows, long=long, still=still, piloted=piloted, looks=looks)


def passes(dreamers: Dreamers, reference: Reference, judges: Judges) -> int:
    """Passes of a network, clip by clip, that measure takes; what is told one by one. A pilot's are taken to move."""
    given, student, shorts = reference.context, dreamers.student, reference.shorts
    episodes, seeds, steps = judges.diverse
    home, scripts = shorts["A"].actions[:, given:], reference.branches.actions[..., given:, :]
    diverse = np.repeat(home[:episodes, :steps], seeds, 0)
    everybody = sum(_cost(d, home) + _cost(d, scripts) for d in dreamers.named().values())
    everybody += sum(_cost(d, diverse) for d in (student, dreamers.teacher) if d)
    alone = [np.roll(home, 1, 0), *(part.actions[:, given:] for group, part in shorts.items() if group != "A")]
    alone += [part.actions[:, given:] for part in reference.longs.values()]
    alone += [judges.still.actions[:, given:]] if judges.still else []
    alone += [part.actions[:, -part.frames.shape[1] :] for part in reference.looks.values()]
    piloted = sum(int(np.prod(part.traits.shape[:2])) for part in judges.piloted.values())
    return everybody + sum(_cost(student, moves) for moves in alone) + piloted * len(student.sigmas)


def _cost(dreamer: Dreamer, actions: np.ndarray) -> int:
    """Passes of the frames under actions (..., A)."""
    through = frame_passes(dreamer, actions)
    return int(np.prod(actions.shape[:-1])) * len(dreamer.sigmas) if through is None else int(through.sum())


def short_dreams(dreamers: Dreamers, part: Shorts, given: int, pool: np.ndarray) -> Rows:
    """Every row of the report. All dreams of an episode start from the same noise; `real` is the first row.

    student_shuffled dreams under the next episode's actions; copy_last shows the last context frame for ever;
    other_episode shows the real frames of the next episode; nearest_training, for each real frame, the one of `pool`
    that is most like it: a memory that knows the answer and can only recite.
    """
    actions, real = part.actions, _future(part, given)
    shuffled = np.concatenate([actions[:, :given], np.roll(actions[:, given:], 1, axis=0)], 1)
    rows = _student_rows(dreamers.student, part, given)
    for name, dreamer in dreamers.named().items():
        if name != "student":
            rows[name] = _shown(dreamer, part.frames[:, :given], actions)
    rows["student_shuffled"] = _shown(dreamers.student, part.frames[:, :given], shuffled)
    return rows | {"other_episode": np.roll(real, 1, axis=0), "nearest_training": nearest(real, pool)}


def branch_figures(dreamers: Dreamers, reference: Reference) -> dict[str, Any]:
    """Share of branches identified, by row; the last frame of each branch decides. A context is one sample."""
    part = reference.branches
    real = part.frames[:, :, -1]  # (B, K, H, W, 3)
    contexts, scripts = real.shape[:2]
    context = np.repeat(part.context, scripts, 0)  # (B K, C, H, W, 3)
    actions = part.actions.reshape(-1, *part.actions.shape[2:])
    seeds = np.repeat(np.arange(contexts), scripts).tolist()  # one noise a context: only the actions differ
    lasts = {"tokenizer": reconstruct(dreamers.student, real.reshape(-1, *real.shape[2:])), "copy_last": context[:, -1]}
    for name, dreamer in dreamers.named().items():
        lasts[name] = decode(dreamer, dream(dreamer, context, actions, seeds)[:, -1])
    return {name: ratio_of_sums(branch_hits(last.reshape(real.shape), real)) for name, last in lasts.items()} | {
        "chance": 1 / scripts
    }


def diversity_figures(dreamers: Dreamers, part: Shorts, given: int, diverse: list[int]) -> dict[str, Any]:
    """How far dreams of other noise lie apart after some steps, grey levels; ratio: student over teacher."""
    episodes, seeds, steps = min(diverse[0], len(part.frames)), diverse[1], diverse[2]
    context = np.repeat(part.frames[:episodes, :given], seeds, 0)
    actions = np.repeat(part.actions[:episodes, : given + steps], seeds, 0)
    spread = {}
    for name, dreamer in dreamers.named().items():
        if name != "student_1_step":
            last = decode(dreamer, dream(dreamer, context, actions, range(len(context)))[:, -1])
            spread[name] = diversity(last.reshape(episodes, seeds, *last.shape[1:]))
    figures = {name: ratio_of_sums(values) for name, values in spread.items()}
    return figures | ({"ratio": ratio_of_sums(spread["student"], spread["teacher"])} if dreamers.teacher else {})


def looked(dreamer: Dreamer, part: Looks) -> tuple[dict[str, Any], Rows]:
    """Memory of one angle (memory.remembered), after how many frames, and the rows real and student."""
    shown = _shown(dreamer, part.context, part.actions)
    steps, home = part.frames.shape[1], NEAR_DEGREES.index(0.0)
    picks = [(steps - 1) // 2, steps - 1]
    rebuilt = reconstruct(dreamer, part.near[:, home])
    memory, away = remembered(shown[:, picks], part.frames[:, picks], part.near, rebuilt)
    return {"memory": memory, "away": away, "frames": steps}, {"real": part.frames, "student": shown}


def dreamt(dreamer: Dreamer, part: Longs, stride: int) -> tuple[np.ndarray, list[np.ndarray], int]:
    """Long runs dreamt on under the real ones' actions: traits (R, L, 3) of every frame, every stride-th frame of each
    run, and how many latent frames were not finite.
    """
    measured, sheets, broken = [], [], 0
    for k, context in enumerate(part.context):  # one at a time in memory, as many as the dreamer takes in the dream
        if k % dreamer.batch == 0:
            own = slice(k, k + dreamer.batch)
            seeds = range(k, len(part.context))[: dreamer.batch]
            latents = dream(dreamer, part.context[own], part.actions[own], seeds)
            broken += int((~latents.isfinite().all((2, 3, 4))).sum())
        clip = decode(dreamer, latents[k % dreamer.batch])
        measured.append(traits(np.concatenate([context[-1:], clip]))[1:])
        sheets.append(clip[::stride].copy())
    return np.stack(measured), sheets, broken


def long_dreams(dreamer: Dreamer, reference: Reference) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Figures of all long runs (figures.long_figures), and for the contact sheet the real and dreamt frames (two lists
    in one, every 2 s) of the shortest kind's run whose late sharpness is the median.
    """
    looks, kept, broken = {}, {}, 0
    for seconds, part in reference.longs.items():
        looks[seconds], kept[seconds], spoilt = dreamt(dreamer, part, round(SHEET_SECONDS * reference.fps))
        broken += spoilt
    real = {s: part.traits for s, part in reference.longs.items()}
    figures = read_off.long_figures(looks, real, [*real.values()], reference.fps)
    figures["not_finite_frames"] = broken
    shortest, median = min(looks), figures["sheet"]
    return figures, [*reference.longs[shortest].frames[median], *kept[shortest][median]]


def still_dreams(dreamer: Dreamer, part: Longs, fps: float) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Figures of runs without any action (figures.still_figures), and of the run whose last frame is the median by PSNR
    the frames every 2 s, the real ones first.
    """
    stride = round(SHEET_SECONDS * fps)
    measured, sheets, _ = dreamt(dreamer, part, stride)
    rows = {
        "real": part.frames,
        "student": np.stack(sheets),
        "tokenizer": np.stack([reconstruct(dreamer, clip) for clip in part.frames]),
        "copy_last": np.repeat(part.context[:, -1:], part.frames.shape[1], 1),
    }
    order = np.argsort(psnr_curve(rows["student"], rows["real"])[:, -1])
    median = order[len(order) // 2]
    figures = read_off.still_figures(rows, measured, part.traits, stride / fps)
    return figures, [*part.frames[median], *sheets[median]]


def piloted_dreams(dreamer: Dreamer, judges: Judges, reference: Reference) -> tuple[dict[str, Any], list[np.ndarray]]:
    """As long_dreams, the same starts flown by the pilot, beside its real runs; may_judge: whether it may."""
    assert judges.pilot, "asked only where there is one"
    looks, kept, broken = {}, {}, 0
    given = next(iter(judges.piloted.values())).context.shape[1]
    for seconds, part in judges.piloted.items():
        length, stride = part.traits.shape[1], round(SHEET_SECONDS * reference.fps)
        flown = fly(dreamer, judges.pilot, judges.space, part.context, part.actions[:, :given], length, stride)
        looks[seconds], kept[seconds], broken = flown.traits, flown.frames, broken + flown.broken
    real = {s: part.traits for s, part in judges.piloted.items()}
    recorded = [part.traits for part in reference.longs.values()]
    figures = read_off.long_figures(looks, real, recorded, reference.fps)
    figures |= {"not_finite_frames": broken, "may_judge": read_off.may_judge(figures, judges.least_pilot)}
    shortest, median = min(looks), figures["sheet"]
    return figures, [*judges.piloted[shortest].frames[median], *kept[shortest][median]]


def speed_figures(dreamers: Dreamers, part: Shorts, given: int) -> dict[str, Any]:
    """Milliseconds a frame of each dreamer, batch 1; with a teacher, how many times faster the student is.

    The actions are picked evenly from all that were played: a student that takes more passes at rest is timed at rest
    as often as players rest.
    """
    named, moves = dreamers.named(), part.actions[:, given:].reshape(-1, part.actions.shape[-1])
    picked = moves[np.linspace(0, len(moves) - 1, WARM_UP + TIMED_FRAMES).round().astype(int)]
    actions = np.concatenate([part.actions[0, :given], picked])[None]
    taken = side_by_side(list(named.values()), part.frames[:1, :given], actions, TIMED_FRAMES)  # (D, F, 2)
    return read_off.speed_figures(taken, {name: len(dreamer.sigmas) for name, dreamer in named.items()})


def _future(part: Shorts, given: int) -> np.ndarray:
    return part.frames[:, given:]


def _shown(dreamer: Dreamer, context: np.ndarray, actions: np.ndarray) -> np.ndarray:
    return np.stack([decode(dreamer, x0) for x0 in dream(dreamer, context, actions, range(len(context)))])


def _other_rows(student: Dreamer, reference: Reference) -> dict[str, Rows]:
    """The rows of all splits but A, dreamt together: a family alone would be a small batch."""
    parts = {group: part for group, part in reference.shorts.items() if group != "A"}
    if not parts:
        return {}
    whole = {f.name: np.concatenate([vars(part)[f.name] for part in parts.values()]) for f in fields(Shorts)}
    rows = _student_rows(student, Shorts(**whole), reference.context)
    ends = np.cumsum([len(part.frames) for part in parts.values()])[:-1]
    cut = {name: np.split(row, ends) for name, row in rows.items()}
    return {group: {name: pieces[i] for name, pieces in cut.items()} for i, group in enumerate(parts)}


def _student_rows(student: Dreamer, part: Shorts, given: int) -> Rows:
    """The rows that every split has."""
    real, context = _future(part, given), part.frames[:, :given]
    return {
        "real": real,
        "tokenizer": np.stack([reconstruct(student, clip) for clip in real]),
        "student": _shown(student, context, part.actions),
        "copy_last": np.repeat(context[:, -1:], real.shape[1], 1),
    }
