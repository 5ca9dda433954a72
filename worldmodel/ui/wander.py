"""A player that looks: where to go next is read off the frame, so that a tour sees more than the first wall.

wander        a function of the frames, for action spaces it knows how to use; None for others
Walker        first person: forward, and turns where a wall fills the view
RoadFollower  from above: keeps the colour under the car before it
Climber       from the side: runs to the right, and jumps where the picture stands still

Not here: players that know the map (games/), a walk by the clock (tour.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.env import Frame

SCROLLS = 1.5  # grey levels a frame, on average: less is a picture that stands still
NEAR, OPEN = 16.0, 22.0  # grey levels of `openness`: turn below the first, go on above the second; found by walking


def wander(space: ActionSpace, seed: int = 0) -> Callable[[Frame], Action] | None:
    """frame -> Action for a world that is walked in, driven or jumped through, None for any other."""
    if "forward" in space.buttons and (space.mouse[0] or {"turn_left", "turn_right"} <= set(space.buttons)):
        return Walker(space, seed).act
    if {"gas", "left", "right"} <= set(space.buttons):
        return RoadFollower().act
    if {"left", "right", "jump"} <= set(space.buttons):
        return Climber().act
    return None


def openness(frame: Frame) -> float:
    """How unlike each other 8 x 8 parts of the upper three quarters are: standard deviation in grey levels.

    A wall before the nose is one texture, 10 to 16; a place with a floor, a sky and edges has 25 to 45.
    """
    upper = frame[: frame.shape[0] * 3 // 4]
    rows, columns = min(8, upper.shape[0]), min(8, upper.shape[1])
    high, wide = upper.shape[0] // rows, upper.shape[1] // columns
    parts = upper[: rows * high, : columns * wide].reshape(rows, high, columns, wide, 3).mean((1, 3))
    return float(parts.std((0, 1)).mean())


class Walker:
    """Forward in gentle bends, a shot now and then; before a wall: use, then turns one way until the view opens."""

    def __init__(self, space: ActionSpace, seed: int) -> None:
        self.space, self.rng = space, np.random.default_rng(seed)
        self.steps = self.left = 0
        self.way = 1

    def act(self, frame: Frame) -> Action:
        """The action after a frame."""
        self.steps += 1
        view = openness(frame)
        if self.left == 0 and view < NEAR:
            self.left, self.way = 8, int(self.rng.choice([-1, 1]))
            return Action({"use"} & set(self.space.buttons))  # it may be a door
        if self.left == 0:
            held = {"forward"} | ({"attack"} & set(self.space.buttons) if self.steps % 90 > 85 else set())
            return Action(held, (2.0 * np.sin(self.steps / 9), 0.0) if self.space.mouse[0] else (0.0, 0.0))
        self.left -= 1
        if self.left == 0 and view < OPEN:
            self.left = 6
        if self.space.mouse[0]:
            return Action((), (min(9.0, self.space.mouse[0]) * self.way, 0.0))
        return Action({"turn_right" if self.way > 0 else "turn_left"})


class RoadFollower:
    """Steers by keys to the middle of what has the colour of the ground before the car; gas one step in four."""

    def __init__(self) -> None:
        self.steps = 0
        self.road: np.ndarray | None = None  # RGB

    def act(self, frame: Frame) -> Action:
        """The action after a frame."""
        self.steps += 1
        h, w, _ = frame.shape
        near = frame[int(0.68 * h) : int(0.76 * h), int(0.46 * w) : int(0.54 * w)].reshape(-1, 3).astype(np.float64)
        self.road = near.mean(0) if self.road is None else self.road
        ahead = frame[int(0.5 * h) : int(0.66 * h)].astype(np.float64)
        is_road = (np.abs(ahead - self.road).max(-1) < 30).mean(0)
        held = {"gas"} if self.steps % 4 == 0 else set()
        if is_road.sum() > 2:
            off = float(is_road @ np.arange(w) / is_road.sum() / w - 0.5)
            if abs(off) > 0.03:
                held.add("right" if off > 0 else "left")
            if abs(off) > 0.25 and self.steps % 3 == 0:
                held |= {"brake"}
        else:
            held.add("right")  # the road is lost: in a circle back to it
        return Action(held)


class Climber:
    """Runs and now and then leaps. What stops it is jumped at; what that does not pass, from farther back."""

    def __init__(self) -> None:
        self.steps = self.still = self.rise = self.back = self.tries = 0
        self.last: Frame | None = None

    def act(self, frame: Frame) -> Action:
        """The action after a frame."""
        self.steps += 1
        moved = self.last is None or np.abs(frame.astype(np.int16) - self.last).mean() > SCROLLS
        self.last = frame
        self.still = 0 if moved else self.still + 1
        if self.still > 2 and self.rise == self.back == 0:
            self.still, self.rise, self.tries = 0, 10, self.tries + 1
            self.back = 6 if self.tries % 3 == 0 else 0
        if self.steps % 40 == 0:
            self.rise = 8
        if self.back > 0:
            self.back -= 1
            return Action({"left"})
        self.rise = max(0, self.rise - 1)
        return Action({"right", "jump"} if self.rise else {"right"})
