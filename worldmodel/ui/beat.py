"""When the window is drawn again while no new frame comes.

REDRAWS   at the display's rate what has changed, or always, or on news only
Beat      the next time

A new frame is drawn as soon as it is there. The same picture is not drawn twice at the display's rate, because that
costs a model in eager code on two cores 5 % of its frames, a third beside other work (scripts/redraw.py). Not here:
drawing (session.py), the world's pace (pace.py).
"""

from __future__ import annotations

import time
from collections.abc import Hashable

from worldmodel.ui.window import Window

REDRAWS = ("display", "always", "news")
NEWS_S = 0.05  # draw at least this often, for the meters
REST_S = 0.004  # for the model between two pictures, also where drawing one takes longer than the display shows it


class Beat:
    """redraw: "display": for each picture of the display it is looked whether the window would show another one;
    "always": that is drawn in any case; "news": it is looked only every NEWS_S. In all of them what the player does is
    answered with the display's next picture. drawn_at: when the last picture was begun, time.perf_counter().
    """

    def __init__(self, window: Window, redraw: str) -> None:
        if redraw not in REDRAWS:
            raise ValueError(f"redraw must be one of {REDRAWS}, got {redraw!r}")
        self._window, self.redraw = window, redraw
        self.drawn_at = self._looked_at = self._rested_at = 0.0
        self._sight: Hashable = None  # of the last picture

    @property
    def wait_s(self) -> float:
        """Seconds from now until is_due is to be asked, 0 if it is time."""
        period = NEWS_S if self.redraw == "news" and not self._window.is_touched else 1 / self._window.refresh_hz
        due_at = min(max(self.drawn_at, self._looked_at) + period, self.drawn_at + NEWS_S)
        return max(0.0, max(due_at, self._rested_at) - time.perf_counter())

    def is_due(self, sight: Hashable) -> bool:
        """True if the window is to be drawn now; sight: all that makes its picture, but the frame and the meters."""
        if self.wait_s:
            return False
        now, self._looked_at = time.perf_counter(), time.perf_counter()
        is_same = sight == self._sight and not self._window.is_touched
        return self.redraw != "display" or not is_same or now - self.drawn_at >= NEWS_S

    def drawn(self, begun: float, sight: Hashable) -> None:
        """A picture that was begun then is on the screen now, with what the player did until then."""
        self.drawn_at, self._rested_at, self._sight = begun, time.perf_counter() + REST_S, sight
        self._window.is_touched = False
