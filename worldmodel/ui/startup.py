"""What is on the screen before there is a world: its first picture, and what is being done for it.

open_behind   work on a thread, its stages named in the window with their times

Not here: what the stages are (venue.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import numpy as np

from worldmodel.env import Frame
from worldmodel.ui.events import wants_to_quit
from worldmodel.ui.paint import DIM, INK, LIT, plate
from worldmodel.ui.window import Window

T = TypeVar("T")
Tell = Callable[[str], None]
LOOK_S = 0.03  # between two pictures
MOST_STAGES = 8  # shown, the newest


class Left(Exception):
    """The player closed the window before there was a world."""


def open_behind(
    window: Window,
    title: str,
    picture: Frame | None,
    work: Callable[[Tell], T],
    say: Tell,
) -> T:
    """Do the work, which gets a function to name each stage as it begins, while the window shows the picture and the
    stages; say gets each finished stage with its time. Raises what the work raises, and Left, which also the naming of
    the next stage raises in the work.
    """
    stages: list[tuple[str, float]] = []  # name, when it began
    is_left = Event()

    def tell(stage: str) -> None:
        if is_left.is_set():
            raise Left
        stages.append((stage, time.perf_counter()))

    frame = np.zeros((*window.size_hw, 3), np.uint8) if picture is None else picture
    with ThreadPoolExecutor(1, thread_name_prefix="opening") as executor:
        done = executor.submit(work, tell)
        while not done.done():
            if wants_to_quit(window):
                is_left.set()
                window.close()  # at once; the work cannot be stopped in the middle of a stage
                raise Left
            _draw(window, title, frame, stages)
            time.sleep(LOOK_S)
    for stage, seconds in _spans(stages):
        say(f"{stage}: {seconds:.2f} s")
    return done.result()


def _spans(stages: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """(name, seconds) of each stage, the last one until now."""
    known = list(stages)  # the thread may add to it meanwhile
    ends = [*(begun for _, begun in known[1:]), time.perf_counter()]
    return [(stage, end - begun) for (stage, begun), end in zip(known, ends)]


def _draw(window: Window, title: str, frame: Frame, stages: list[tuple[str, float]]) -> None:
    place = window.draw(frame)
    unit = max(14, round(window.surface.get_height() / 30))
    lines = [(f"{stage}  {seconds:.1f} s", DIM, unit) for stage, seconds in _spans(stages)[-MOST_STAGES:]]
    lines[-1:] = [(text, LIT, unit) for text, _, unit in lines[-1:]]
    plate(
        window.surface, [(title, INK, round(1.3 * unit)), *lines], unit, midbottom=(place.centerx, place.bottom - unit)
    )
    window.flip()
