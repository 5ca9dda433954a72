"""What a player does in one step, and its one translation into numbers.

Action        held buttons and mouse motion, by name and in degrees
ActionSpace   the buttons and axes of one game: names <-> vector (A,)
is_rest       which vectors hold nothing and turn nothing

Not here: which key presses which button (ui/keymap.py), what a button does (games/).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

OPPOSITES = (
    ("forward", "backward"), ("strafe_left", "strafe_right"), ("turn_left", "turn_right"), ("left", "right"),
)  # fmt: skip


class ActionError(ValueError):
    """A button or axis that the action space does not have."""


@dataclass(frozen=True, init=False)
class Action:
    """Buttons held during one step and the mouse motion in it, (dx, dy) in degrees: +x right, +y down."""

    buttons: frozenset[str] = field(default_factory=frozenset)
    mouse: tuple[float, float] = (0.0, 0.0)

    def __init__(self, buttons: Iterable[str] = (), mouse: tuple[float, float] = (0.0, 0.0)) -> None:
        if isinstance(buttons, str):
            raise ActionError(f"buttons must be a set of names, got the text {buttons!r}. Write {{{buttons!r}}}.")
        object.__setattr__(self, "buttons", frozenset(buttons))
        object.__setattr__(self, "mouse", (float(mouse[0]), float(mouse[1])))

    def to_json(self) -> dict[str, Any]:
        """The two fields of a line of actions.jsonl; buttons sorted, so that equal actions are equal text."""
        return {"buttons": sorted(self.buttons), "mouse": list(self.mouse)}


@dataclass(frozen=True)
class ActionSpace:
    """The actions of one game, in a fixed order.

    buttons   names; buttons[i] is component i of the vector, 0 or 1
    mouse     largest turn in degrees per step, (x, y); 0 where the game has no such axis.
              Axes with a range follow the buttons in the vector, divided by it: in [-1, 1].
    turns     degrees to the right that one of each component of the vector turns the view, if nothing else turns it;
              () in other games, and in worlds that were trained without (compass.py). Spaces that differ in nothing
              else are equal: the same can be pressed.
    """

    buttons: tuple[str, ...]
    mouse: tuple[float, float] = (0.0, 0.0)
    turns: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "buttons", tuple(self.buttons))
        object.__setattr__(self, "mouse", (float(self.mouse[0]), float(self.mouse[1])))
        object.__setattr__(self, "turns", tuple(float(degrees) for degrees in self.turns))
        if len(set(self.buttons)) != len(self.buttons):
            raise ActionError(f"action space names a button twice: {list(self.buttons)}")
        if not all(0 <= r < math.inf for r in self.mouse):
            raise ActionError(f"mouse ranges must be finite and >= 0 degrees, got {self.mouse}")
        if self.turns and (len(self.turns) != self.size or not all(map(math.isfinite, self.turns))):
            raise ActionError(f"turns must be {self.size} finite numbers of degrees or none, got {list(self.turns)}")

    @property
    def size(self) -> int:
        """A, the length of an action vector."""
        return len(self.buttons) + sum(r > 0 for r in self.mouse)

    @property
    def told(self) -> int:
        """Length of what a network is told of an action: the vector, and the compass if there is one."""
        return self.size + 2 * bool(self.turns)

    def known_to(self, told: int) -> ActionSpace:
        """The space of a network that is told so many numbers of an action: with the compass, or without.

        Raises ActionError if it is neither.
        """
        if told == self.told:
            return self
        if told != self.size:
            raise ActionError(
                f"a network that is told {told} numbers of an action, where there are {self.size}, or {self.told} with "
                "the compass: it is another game's, or the data was recorded before there was one"
            )
        return replace(self, turns=())

    def check(self, action: Action) -> None:
        """Raise ActionError if the action holds a button that is not in this space."""
        unknown = action.buttons - set(self.buttons)
        if unknown:
            raise ActionError(f"no button {sorted(unknown)} in this world; its buttons are {list(self.buttons)}")

    def to_vector(self, action: Action) -> np.ndarray:
        """Action -> float32 (A,): buttons as 0 or 1, then mouse / range clipped to [-1, 1]."""
        self.check(action)
        if not all(map(math.isfinite, action.mouse)):
            raise ActionError(f"mouse motion must be finite, got {action.mouse}")
        held = [float(name in action.buttons) for name in self.buttons]
        axes = [float(np.clip(d / r, -1.0, 1.0)) for d, r in zip(action.mouse, self.mouse, strict=True) if r > 0]
        return np.asarray(held + axes, dtype=np.float32)

    def from_vector(self, vector: np.ndarray) -> Action:
        """float (A,) -> Action; a button is held above one half."""
        if len(vector) != self.size:
            raise ActionError(f"action vector has {len(vector)} components, this space has {self.size}")
        names = {name for name, value in zip(self.buttons, vector, strict=False) if value > 0.5}
        rest = iter(vector[len(self.buttons) :])
        dx, dy = (float(next(rest)) * r if r > 0 else 0.0 for r in self.mouse)
        return Action(names, (dx, dy))

    def to_json(self) -> dict[str, Any]:
        """Builtins only, for meta.json, world.json and checkpoints."""
        own = {"turns": list(self.turns)} if self.turns else {}
        return {"buttons": list(self.buttons), "mouse": list(self.mouse)} | own

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ActionSpace:
        """The inverse of to_json; ActionError if a field is missing or of another type."""
        buttons, mouse = data.get("buttons"), data.get("mouse")
        if not isinstance(buttons, list) or not all(isinstance(b, str) for b in buttons):
            raise ActionError(f"action space: 'buttons' must be a list of names, got {buttons!r}")
        if not isinstance(mouse, list) or len(mouse) != 2 or not all(type(m) in (int, float) for m in mouse):
            raise ActionError(f"action space: 'mouse' must be two numbers, got {mouse!r}")
        turns = data.get("turns", [])
        if not isinstance(turns, list) or not all(type(t) in (int, float) for t in turns):
            raise ActionError(f"action space: 'turns' must be a list of numbers, got {turns!r}")
        return ActionSpace(tuple(buttons), (mouse[0], mouse[1]), tuple(turns))


def is_rest(vectors: np.ndarray) -> np.ndarray:
    """Which of action vectors (..., A) hold no button and move no axis: bool (...)."""
    rests: np.ndarray = (vectors == 0).all(-1)
    return rests


def cancel_opposites(buttons: Iterable[str]) -> frozenset[str]:
    """Held buttons without the pairs that undo each other (forward with backward, and so on)."""
    held = set(buttons)
    for pair in OPPOSITES:
        if held.issuperset(pair):
            held.difference_update(pair)
    return frozenset(held)
