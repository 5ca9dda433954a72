"""What some Envs can do besides stepping.

Settling, Seeded, Imaginative   work ahead, change the noise, look ahead (Engine can)
Backed                          frames by code that may change
Busy, Computed, Decoding, Gauged  tell what is going on inside, for the meters
Eye                             looks at frames as the world does
change_steps                    more or fewer sampling steps, where there are any
Prospect, prospects             the futures that looking ahead shows

Not here: Rewindable and Sampled (env.py), who calls them (runner.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from worldmodel.action import Action, ActionSpace
from worldmodel.env import Env, Frame, Sampled

MOST_PROSPECTS = 9  # one a number key
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


@runtime_checkable
class Busy(Protocol):
    """An Env that does something behind play. status: a few words about it, with elapsed time; None if nothing."""

    status: str | None


@runtime_checkable
class Computed(Protocol):
    """An Env whose frames are computed: on which device, in which numbers."""

    device: Any
    dtype: Any


@runtime_checkable
class Decoding(Protocol):
    """An Env whose step ends with decoding. decode_s: seconds it took the last time; None: it cannot be told."""

    decode_s: float | None


@runtime_checkable
class Gauged(Protocol):
    """An Env with numbers of its own for the full meters."""

    def gauges(self) -> Mapping[str, str]:
        """Name -> value, both for people: {"window": "12 of 16 frames"}; cheap, and callable from any thread."""
        ...


class Eye(Protocol):
    """A world's tokenizer, as one looks through it."""

    def seen(self, frame: Frame) -> Frame:
        """What the world can know of a frame."""
        ...

    def drift(self, frame: Frame) -> float | None:
        """How far its latent is from those the world was trained on; 1 is usual, None: it cannot tell."""
        ...


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


def prospects(env: Imaginative, space: ActionSpace, frames: int) -> list[Prospect]:
    """Where waiting, and holding each of the first buttons, would lead to in so many frames."""
    names = list(space.buttons)[: MOST_PROSPECTS - 1]
    actions = [Action(), *(Action({name}) for name in names)]
    labels = ["wait", *(name.replace("_", " ") for name in names)]
    return [Prospect(*what) for what in zip(labels, actions, env.what_if(actions, frames), strict=True)]
