"""Does a long dream stay a world? Minutes of mixed input, judged by what needs a partner run, but no partner frame.

DEFINITION   in words, for the report
relative     traits of long runs beside reality: segments of 4 s and the last 20 s
limits       how far from the mean of their runs such segments may lie
survived     which runs stay within the limits
survival     the share that does so up to a time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worldmodel.evaluation.statistics import Estimate, share

SEGMENT_SECONDS = 4.0
END_SECONDS = 20.0
END_FACTOR = 1.5  # at least
SEGMENT_FACTOR = 2.5  # at least
SLACK = 1e-9  # of rounding, for the run that set a limit
DEFINITION = (
    "A run survives if its sharpness, brightness and motion (grey levels: mean |difference of pixels two apart in a "
    "row|, mean, mean |frame difference|), each divided by the mean over all frames of the real run beside it, stay "
    f"within limits: averaged over the last {END_SECONDS:g} s within [1/{END_FACTOR}, {END_FACTOR}], and over every "
    f"segment of {SEGMENT_SECONDS:g} s within [1/{SEGMENT_FACTOR}, {SEGMENT_FACTOR}]; where recorded play itself goes "
    "beyond (somebody stands still for as long, a cave is darker than its level), as far as it ever does. "
    "Survival at a time is that of all runs at least as long, cut there. Open loop, the dream is given the actions of "
    "the real run, whatever it shows; piloted, a pilot that learnt real frames looks at each frame and acts by one "
    "rule in both, and the real run is its own from the same start. Reality astray is the real game, from the same "
    "starts, under the actions of the run before: what a dream without a fault would make of actions that do not fit "
    "what it shows; where that ends the game, it stands still. Standing still: the first runs again without any "
    "action, PSNR of a frame every two seconds beside the real game's."
)


class Relative(NamedTuple):
    """Traits over the mean of the real run beside each: segments (R, n, 3) and end (R, 3)."""

    segments: np.ndarray
    end: np.ndarray


def relative(traits: np.ndarray, real: np.ndarray, fps: float) -> Relative:
    """Traits (R, L, 3), each run divided by the mean over all frames of its real one: `real` (R, M, 3).

    segments: means over whole segments of 4 s (one segment, if the runs are shorter); end: over the last 20 s.
    """
    scaled = traits.astype(np.float64) / real.astype(np.float64).mean(1, keepdims=True)
    runs, length, kinds = scaled.shape
    step = min(round(SEGMENT_SECONDS * fps), length)
    whole = length // step
    segments = scaled[:, : whole * step].reshape(runs, whole, step, kinds).mean(2)
    return Relative(segments, scaled[:, -round(END_SECONDS * fps) :].mean(1))


class Limits(NamedTuple):
    """Least and most (2, 3) of each trait's ratio: over segments and over the end."""

    segments: np.ndarray
    end: np.ndarray


def limits(recorded: Sequence[np.ndarray], fps: float, seconds: float = END_SECONDS) -> Limits:
    """DEFINITION, from traits (R, M, 3) of recorded real runs; the end of a run lasts END_SECONDS, or `seconds` if that
    is shorter.
    """
    return Limits(
        _usual(recorded, fps, SEGMENT_SECONDS, SEGMENT_FACTOR),
        _usual(recorded, fps, min(END_SECONDS, seconds), END_FACTOR),
    )


def _usual(recorded: Sequence[np.ndarray], fps: float, seconds: float, factor: float) -> np.ndarray:
    """(2, 3): 1 / factor and factor, or as far as windows of `seconds` of a run go from its mean; one begins with each
    segment, and one is the last.
    """
    reached = [np.full((2, 3), [[1 / factor], [factor]])]
    for runs in recorded:
        scaled = runs.astype(np.float64) / runs.astype(np.float64).mean(1, keepdims=True)
        width, step = min(round(seconds * fps), runs.shape[1]), round(SEGMENT_SECONDS * fps)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, width, 1)  # (R, M - width + 1, 3, width)
        some = np.concatenate([windows[:, ::step], windows[:, -1:]], 1).mean(-1)
        reached.append(np.stack([some.min((0, 1)), some.max((0, 1))]))
    return np.stack([np.min([part[0] for part in reached], 0), np.max([part[1] for part in reached], 0)])


def survived(ratios: Relative, within: Limits) -> np.ndarray:
    """bool (R,): DEFINITION. A trait that is not finite does not survive."""
    end, segments = _inside(ratios.end, within.end), _inside(ratios.segments, within.segments)
    return np.logical_and(end.all(1), segments.all((1, 2)))


def survival(
    runs: Sequence[np.ndarray], real: Sequence[np.ndarray], recorded: Sequence[np.ndarray], fps: float, seconds: float
) -> Estimate | None:
    """Share of the runs of at least `seconds` that survive up to then; None: there are none.

    runs, real: traits (R, L, 3) by length, the same runs in the same order; recorded: of play by the players that the
    world learnt from, which sets the limits.
    """
    length, within = round(seconds * fps), limits(recorded, fps, seconds)
    pairs = [pair for pair in zip(runs, real, strict=True) if pair[0].shape[1] >= length]
    alive = [survived(relative(traits[:, :length], beside, fps), within) for traits, beside in pairs]
    return share(np.concatenate(alive)) if alive else None


def _inside(ratio: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.asarray((ratio >= bounds[0] - SLACK) & (ratio <= bounds[1] + SLACK))
