"""A world you can act in: the real game, the dream of it and the replay of a recording are all an Env.

Frame        uint8 (H, W, 3), RGB
Env          reset and step
Rewindable   an Env whose past can be kept and returned to
Branching    one that can also leave a line of play for another and come back; Past: such a line
Sampled      an Env that takes more or fewer sampling steps a frame
EpisodeEnd   raised by step when there is nothing further (a replay that is over)
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldmodel.action import Action, ActionSpace

Frame = np.ndarray  # uint8 (H, W, 3), RGB


class EpisodeEnd(Exception):
    """There is no next frame; reset to begin again."""


class EnvError(RuntimeError):
    """A world could not be opened; the message says what to do about it."""


@runtime_checkable
class Env(Protocol):
    """One world. actions: what can be done; fps: steps a second of world time; size_hw: the frame's (H, W)."""

    actions: ActionSpace
    fps: float
    size_hw: tuple[int, int]

    def reset(self, *, start: Any = 0, seed: int = 0) -> Frame:
        """Begin an episode and return its first frame. Equal (start, seed) give equal worlds."""
        ...

    def step(self, action: Action) -> Frame:
        """Let one step of 1 / fps seconds pass under the action; return the frame it leads to.

        Raises ActionError for a button that is not in `actions`, EpisodeEnd when the world has ended.
        """
        ...

    def close(self) -> None:
        """Give back processes, files and memory; closing twice is allowed."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """An Env that can go back. A state is exact on the same machine and build."""

    def reach(self) -> tuple[int, int]:
        """How many frames rewind goes back exactly, and at all; beyond the first, what follows is approximate."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that decides the future, as tensors and builtins."""
        ...

    def load_state(self, state: dict[str, Any]) -> Frame:
        """Return to a state; gives the frame that was on screen then."""
        ...

    def rewind(self, frames: int) -> Frame:
        """Go back that many steps, or as far as is remembered; gives the frame of then."""
        ...


class Past(Protocol):
    """A line of play up to one frame. exact: how many frames one can go back on it exactly, having returned to it."""

    exact: int


@runtime_checkable
class Branching(Protocol):
    """A Rewindable that keeps several lines of play in memory; what they have in common is kept once."""

    def past(self) -> Past:
        """The line so far, up to the frame on screen: taken in a moment, nothing is copied."""
        ...

    def thinned(self, past: Past, frames: int) -> Past:
        """The same line in less memory: exact for at most so many of its newest frames."""
        ...

    def return_to(self, past: Past) -> Frame:
        """Go to the end of a line, with all that was remembered of it then; gives the frame that was on screen."""
        ...


@runtime_checkable
class Sampled(Protocol):
    """An Env that denoises in steps; setting another number raises ValueError if it has no such number."""

    steps: int
