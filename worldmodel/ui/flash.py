"""A guard against flashes: pictures that strobe are dimmed towards their mean, on the screen only.

FlashGuard   frame in, frame out

A flash is a pair of opposite changes of the picture's brightness of at least a tenth of its range; more than three in a
second can be harmful (WCAG 2.2, success criterion 2.3.1). Ordinary play passes through unchanged.
"""

from __future__ import annotations

import numpy as np

from worldmodel.env import Frame

MOST_FLASHES = 3  # a second
JUMP = 0.1  # of full brightness
CALM = 0.2  # share of the new frame that is let through while it strobes


class FlashGuard:
    """Give each new frame and its time in seconds to calm()."""

    def __init__(self) -> None:
        self._extreme = 0.0  # brightness at the last turn
        self._direction = 0
        self._turns: list[float] = []  # times of changes by JUMP against the one before
        self._shown: np.ndarray | None = None
        self.num_calmed = 0

    def calm(self, frame: Frame, now: float) -> Frame:
        """The frame, or while it strobes a slow mixture with those before."""
        brightness = float(frame[::4, ::4].mean()) / 255
        if self._shown is None:
            self._extreme = brightness
        change = brightness - self._extreme
        if abs(change) >= JUMP:
            direction = 1 if change > 0 else -1
            if direction != self._direction:
                self._turns.append(now)
            self._extreme, self._direction = brightness, direction
        elif change * self._direction > 0:
            self._extreme = brightness  # it goes on in the same direction
        self._turns = [t for t in self._turns if now - t < 1.0]
        if len(self._turns) > 2 * MOST_FLASHES and self._shown is not None and self._shown.shape == frame.shape:
            self.num_calmed += 1
            self._shown = self._shown + CALM * (frame - self._shown)
            return np.rint(self._shown).astype(np.uint8)
        self._shown = frame.astype(np.float32)
        return frame
