"""When each frame was asked for, made and shown.

Stats   the last frames' times, and the rates and percentiles a meter or a benchmark reads

Not here: drawing them (hud.py), taking them (runner.py, session.py).
"""

from __future__ import annotations

import numpy as np

KEPT_FRAMES = 16_384  # 15 minutes at 17.5 fps, 896 KiB: enough for a benchmark, constant over a long evening
INPUT, LATCH, START, END, FLIP, DONE, DECODE = range(7)


class Stats:
    """Times in seconds of time.perf_counter(), one row a frame; the last KEPT_FRAMES are kept.

    INPUT  oldest event the frame answers, nan if nothing new was pressed or moved
    LATCH  the input was read; START, END: of env.step; FLIP: it was on the screen, nan if it never was
    DECODE decoding began, which ends with END; nan where that is not known
    DONE   the world was ready for the next step (END, and what Engine.settle took after it)

    num_frames steps made, num_shown frames that reached the screen, num_flips redraws (also without a new frame).
    """

    def __init__(self) -> None:
        self.num_frames = self.num_shown = self.num_flips = 0
        self._times = np.full((KEPT_FRAMES, 7), np.nan)
        self._intervals = np.full(KEPT_FRAMES, np.nan)  # since the END before; nan across a pause or a reset
        self._last_end = np.nan

    def add(self, event: float | None, latch: float, start: float, end: float) -> int:
        """Note a step; gives its number, for shown()."""
        number, self.num_frames = self.num_frames, self.num_frames + 1
        row = number % KEPT_FRAMES
        self._intervals[row] = end - self._last_end
        self._times[row] = (np.nan if event is None else event, latch, start, end, np.nan, end, np.nan)
        self._last_end = end
        return number

    def decoded(self, number: int, begun: float) -> None:
        """Note when the decoding of frame `number` began."""
        self._times[number % KEPT_FRAMES, DECODE] = begun

    def settled(self, number: int, done: float) -> None:
        """Note when the world was ready for the step after frame `number`."""
        self._times[number % KEPT_FRAMES, DONE] = done

    def interrupt(self) -> None:
        """Time stands still until the next step: the gap is not counted in fps."""
        self._last_end = np.nan

    def shown(self, number: int, flip: float) -> None:
        """Note when frame `number` was on the screen."""
        self._times[number % KEPT_FRAMES, FLIP] = flip
        self.num_shown += 1

    def times(self, last: int = KEPT_FRAMES) -> np.ndarray:
        """float64 (n, 7): up to `last` newest frames, oldest first; columns INPUT to DECODE."""
        return self._times[self._rows(last)]

    def fps(self, last: int = KEPT_FRAMES) -> float:
        """Frames a second over the newest frames, pauses left out; nan before two frames."""
        intervals = self._intervals[self._rows(last)]
        intervals = intervals[~np.isnan(intervals)]
        return float(1 / intervals.mean()) if len(intervals) and intervals.mean() > 0 else float("nan")

    def ms(self, since: int, until: int, q: float = 50, last: int = KEPT_FRAMES) -> float:
        """Percentile q of the milliseconds from one column to another, e.g. ms(START, END, 99); nan if unknown."""
        times = self.times(last)
        spans = times[:, until] - times[:, since]
        spans = spans[~np.isnan(spans)]
        return float(np.percentile(spans, q) * 1000) if len(spans) else float("nan")

    def summary(self) -> str:
        """One line for people: frames, fps, and median milliseconds with p99; what was not measured is left out."""
        spans = {"model": (START, DONE), "latch to flip": (LATCH, FLIP), "input to flip": (INPUT, FLIP)}
        measured = {name: (self.ms(*span), self.ms(*span, 99)) for name, span in spans.items()}
        parts = [f"{name} {p50:.1f} ms (p99 {p99:.1f})" for name, (p50, p99) in measured.items() if p50 == p50]
        fps = [] if np.isnan(self.fps()) else [f"{self.fps():.1f} fps"]
        return ", ".join([f"{self.num_frames} frames", *fps, *parts])

    def _rows(self, last: int) -> np.ndarray:
        count = min(last, self.num_frames, KEPT_FRAMES)
        return np.arange(self.num_frames - count, self.num_frames) % KEPT_FRAMES
