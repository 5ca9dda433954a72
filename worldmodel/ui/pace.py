"""The pace of a world: in time with it, as fast as the machine can, or one step for each thing the player does.

PACES      their names
stands     is it the player's turn
wait_for   sleep until the next step is due

Not here: the steps (runner.py), how often the window is drawn (beat.py).
"""

from __future__ import annotations

import time

from worldmodel.ui.control import Control
from worldmodel.ui.latch import Latch

PACES = ("realtime", "uncapped", "turn")


def stands(pace: str, control: Control, latch: Latch) -> bool:
    """True if the world waits for the player to do something."""
    return pace == "turn" and control.is_players and latch.is_idle


def wait_for(deadline: float, fps: float, pace: str, control: Control) -> float:
    """Sleep until the deadline of a step (time.perf_counter()), except uncapped and in an opening that is made fast;
    gives the deadline of the next. Who is more than a period late starts anew instead of racing.
    """
    if pace == "uncapped" or (control.is_opening and control.opening.is_fast):
        return deadline
    return keep_beat(deadline, 1 / fps)


def keep_beat(deadline: float, period: float) -> float:
    """Sleep until the deadline; gives the next one."""
    now = time.perf_counter()
    if deadline > now:
        time.sleep(deadline - now)
    return (deadline if deadline > now - period else now) + period
