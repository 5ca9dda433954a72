"""What some Envs can do besides stepping, and what is played before or instead of the player.

Settling, Seeded, Imaginative, Backed   work ahead, change the noise, look ahead, change code (Engine can)
change_steps                    more or fewer sampling steps, where there are any
Prospect                        one of the futures that looking ahead shows
Opening                         actions before the player's

Not here: Rewindable and Sampled (env.py), who calls them (runner.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from worldmodel.action import Action
from worldmodel.env import Env, Frame, Sampled

MOST_STEPS = 64  # tried when a player asks for more sampling steps


@runtime_checkable
class Settling(Protocol):
    """An Env with work left after a step that needs no new action: it is done while the frame is being shown."""

    def settle(self) -> None:
        """Do that work; without the call, the next step does it first."""
        ...


@runtime_checkable
class Seeded(Protocol):
    """An Env whose noise follows from a seed that may be set while playing."""

    seed: int


@runtime_checkable
class Imaginative(Protocol):
    """An Env that can look ahead without going there."""

    def what_if(self, actions: Sequence[Action], frames: int) -> list[Frame]:
        """Where holding each of the actions leads to."""
        ...


@runtime_checkable
class Backed(Protocol):
    """An Env whose frames are made by code that may change between two of them, equal up to rounding."""

    backend: str


def change_steps(env: Env, by: int) -> str:
    """Set the next number of sampling steps, up or down, that the world was made for; gives a line for the player."""
    if not isinstance(env, Sampled):
        return "this world has no sampling steps"
    now = env.steps
    for steps in range(now + by, 0 if by < 0 else MOST_STEPS + 1, by):
        try:
            env.steps = steps
            break
        except ValueError:  # the world has no noise levels for this number: try the one after it
            continue
    most = "" if env.steps != now else ", there are no " + ("fewer" if by < 0 else "more")
    return f"{env.steps} sampling steps{most}"


class Prospect(NamedTuple):
    """Where one second of an action would lead to."""

    label: str
    action: Action
    frame: Frame


@dataclass(frozen=True)
class Opening:
    """What is played before the player takes over: actions, each with its sampling steps (None: as they are).

    begin     brings the Env to the first frame instead of a reset; None: a reset does
    is_fast   made as fast as the world goes (to reach a place of a recording), not at its pace
    """

    moves: Sequence[tuple[Action, int | None]]
    begin: Callable[[Env], Frame] | None = None
    is_fast: bool = False
