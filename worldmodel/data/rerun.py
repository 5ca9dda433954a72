"""Saves and rewind for a game that has none: it is deterministic, so its past is its actions.

Rerun   an Env around an Env: Rewindable by a reset and the same actions again

Nothing is made again before the next step is asked for, so time runs back as fast as the frames are remembered. Not
here: the states of a dream (engine.py), which are kept and not made again.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from worldmodel.action import Action
from worldmodel.data.episode import frame_checksum
from worldmodel.env import Env, Frame

log = logging.getLogger(__name__)

REMEMBERED = 1200  # frames, 44 MB at 96 x 128: a minute at 17.5 fps; further back a frame is made anew


@runtime_checkable
class Skipping(Protocol):
    """An Env that can make a step faster if nobody wants to see it."""

    def skip(self, action: Action) -> None:
        """As step, without the frame."""
        ...


@dataclass(frozen=True, eq=False)
class Line:
    """A line of play that can be returned to (env.Past): start and seed, the actions since, its newest frames."""

    begun: tuple[Any, int]
    moves: tuple[Action, ...]
    frames: tuple[Frame, ...]
    exact: int


class Rerun:
    """Env, Rewindable and Branching. The inner Env must be deterministic from (start, seed, actions).

    status: what is being made again, for the meters; None otherwise. If a frame comes out differently than it was, the
    log says so once, and reach() calls nothing exact from then on.
    """

    def __init__(self, env: Env) -> None:
        self.env = env
        self.actions, self.fps, self.size_hw = env.actions, env.fps, env.size_hw
        self.status: str | None = None
        self._begun: tuple[Any, int] = (0, 0)  # start and seed
        self._past: list[Action] = []  # since the reset, up to the frame on screen
        self._frames: deque[Frame] = deque(maxlen=REMEMBERED)  # the last of them, the frame on screen at the end
        self._is_behind = False  # the inner Env stands elsewhere than the frame on screen
        self._is_exact = True

    def reset(self, *, start: Any = 0, seed: int = 0) -> Frame:
        """The inner Env's."""
        frame = self.env.reset(start=start, seed=seed)
        self._begun, self._past, self._is_behind = (start, seed), [], False
        self._frames.clear()
        self._frames.append(frame.copy())
        return frame

    def step(self, action: Action) -> Frame:
        """The inner Env's, after its past has been made again where that is needed."""
        self._catch_up()
        frame = self.env.step(action)
        self._past.append(action)
        self._frames.append(frame.copy())
        return frame

    def close(self) -> None:
        """The inner Env's."""
        self.env.close()

    def reach(self) -> tuple[int, int]:
        """All frames since the reset."""
        return (len(self._past) if self._is_exact else 0), len(self._past)

    def rewind(self, frames: int) -> Frame:
        """Go back that many steps, or to the reset."""
        frames = min(frames, len(self._past))
        if not frames:
            return self._frames[-1].copy()
        del self._past[len(self._past) - frames :]
        self._is_behind = True
        if frames < len(self._frames):
            for _ in range(frames):
                self._frames.pop()
        else:
            self._frames.clear()
            self._catch_up()
        return self._frames[-1].copy()

    def state(self) -> dict[str, Any]:
        """Start, seed, actions since, and the checksum of the frame they lead to."""
        start, seed = self._begun
        moves = [[sorted(action.buttons), list(action.mouse)] for action in self._past]
        return {"start": start, "seed": seed, "moves": moves, "crc32": frame_checksum(self._frames[-1])}

    def load_state(self, state: dict[str, Any]) -> Frame:
        """Make a state again: it takes the time of its steps. ValueError if the game no longer leads to its frame."""
        past = [Action(buttons, (mouse[0], mouse[1])) for buttons, mouse in state["moves"]]
        for action in past:
            self.actions.check(action)
        before = self._begun, self._past, list(self._frames)
        self._begun, self._past, self._is_behind = (state["start"], state["seed"]), past, True
        self._frames.clear()
        self._catch_up()
        if frame_checksum(self._frames[-1]) != state["crc32"]:
            self._begun, self._past, frames = before
            self._frames.clear()
            self._frames.extend(frames)
            self._is_behind = True
            raise ValueError("another version of the game saved it: the same actions lead elsewhere now")
        return self._frames[-1].copy()

    def past(self) -> Line:
        """The line so far."""
        return Line(self._begun, tuple(self._past), tuple(self._frames), self.reach()[0])

    def thinned(self, past: Line, frames: int) -> Line:
        """The same line with fewer frames; it is as exact, since those before them can be made again."""
        return replace(past, frames=past.frames[-1 - frames :])

    def return_to(self, past: Line) -> Frame:
        """Go to the end of a line: it is made again when the next step is asked for."""
        self._begun, self._past, self._is_behind = past.begun, list(past.moves), True
        self._frames = deque(past.frames, maxlen=REMEMBERED)
        return self._frames[-1].copy()

    def _catch_up(self) -> None:
        """Bring the inner Env to the frame on screen."""
        if not self._is_behind:
            return
        start, seed = self._begun
        known = list(self._frames)
        frames: deque[Frame] = deque([self.env.reset(start=start, seed=seed).copy()], maxlen=REMEMBERED)
        last = len(self._past) - 1
        for t, action in enumerate(self._past):
            if t % 64 == 0:
                self.status = f"making {t} of {last + 1} steps again"
            if t < last and (known or t <= last - REMEMBERED) and isinstance(self.env, Skipping):
                self.env.skip(action)
            else:
                frames.append(self.env.step(action).copy())
        self.status, self._is_behind = None, False
        if known and self._is_exact and frame_checksum(known[-1]) != frame_checksum(frames[-1]):
            self._is_exact = False
            log.warning("the game does not repeat itself: going back is approximate")
        self._frames = deque([*known[:-1], frames[-1]], maxlen=REMEMBERED) if known else frames
