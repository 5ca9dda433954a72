"""What some Envs can do besides stepping, and what is played before or instead of the player.

Settling, Seeded, Imaginative   work ahead, change the noise, look ahead (Engine can)
Prospect                        one of the futures that looking ahead shows
Opening                         actions before the player's

Not here: Rewindable and Sampled (env.py), who calls them (runner.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from worldmodel.action import Action
from worldmodel.env import Env, Frame


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
