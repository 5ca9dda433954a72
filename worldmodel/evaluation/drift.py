"""Does a long dream stay a world? Minutes of mixed input, judged by what needs a partner run, but no partner frame.

DEFINITION   in words, for the report
relative     traits of long runs beside reality: segments of 4 s and the last 20 s
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
END_FACTOR = 1.5
SEGMENT_FACTOR = 2.5
DEFINITION = (
    "A run survives if its sharpness, brightness and motion (grey levels: mean |difference of pixels two apart in a "
    f"row|, mean, mean |frame difference|), each averaged over the last {END_SECONDS:g} s and divided by the mean over "
    f"all frames of the real run beside it, lie in [1/{END_FACTOR}, {END_FACTOR}], and none of the three, "
    f"averaged over any segment of {SEGMENT_SECONDS:g} s, lies outside [1/{SEGMENT_FACTOR}, {SEGMENT_FACTOR}]. "
    "Survival at a time is that of all runs at least as long, cut there. Open loop, the dream is given the actions of "
    "the real run, whatever it shows; piloted, a pilot that learnt real frames looks at each frame and acts by one "
    "rule in both, and the real run is its own from the same start."
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


def survived(ratios: Relative) -> np.ndarray:
    """bool (R,): DEFINITION. A trait that is not finite does not survive."""
    end, segments = _within(ratios.end, END_FACTOR), _within(ratios.segments, SEGMENT_FACTOR)
    return np.logical_and(end.all(1), segments.all((1, 2)))


def survival(runs: Sequence[np.ndarray], real: Sequence[np.ndarray], fps: float, seconds: float) -> Estimate | None:
    """Share of the runs of at least `seconds` that survive up to then; None: there are none.

    runs, real: traits (R, L, 3) by length, the same runs in the same order.
    """
    length = round(seconds * fps)
    pairs = [pair for pair in zip(runs, real, strict=True) if pair[0].shape[1] >= length]
    alive = [survived(relative(traits[:, :length], beside, fps)) for traits, beside in pairs]
    return share(np.concatenate(alive)) if alive else None


def _within(ratio: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray((ratio >= 1 / factor) & (ratio <= factor))
