"""Who acts: what is played before the player, a script, or the player.

Opening   actions before the player's
Control   the next action of a session, and who it comes from

Not here: what a player did between two steps (latch.py), the steps themselves (runner.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worldmodel.action import Action
from worldmodel.env import Env, Frame
from worldmodel.ui.latch import Latch

Script = Callable[[int], Action]


@dataclass(frozen=True)
class Opening:
    """What is played before the player takes over: actions, each with its sampling steps (None: as they are).

    begin     brings the Env to the first frame instead of a reset; None: a reset does
    is_fast   made as fast as the world goes (to reach a place of a recording), not at its pace
    """

    moves: Sequence[tuple[Action, int | None]]
    begin: Callable[[Env], Frame] | None = None
    is_fast: bool = False


class Control:
    """opening: what each reset begins with; script: acts instead of the player, once run() has been given one."""

    def __init__(self, latch: Latch, opening: Opening | None) -> None:
        self.latch, self.opening = latch, opening or Opening(())
        self.script: Script | None = None
        self._moves: deque[tuple[Action, int | None]] = deque()
        self.then_pauses = False  # after the last of the moves

    @property
    def is_opening(self) -> bool:
        """True while the actions before the player's are played."""
        return len(self._moves) > 0

    @property
    def is_players(self) -> bool:
        """True if the next action is the player's."""
        return self.script is None and not self.is_opening

    @property
    def who(self) -> str:
        """For the meters."""
        if self.is_opening:
            return "what if" if self.then_pauses else "replay" if self.opening.begin else "script"
        return "tour" if self.script else "human"

    def begin(self) -> None:
        """Play the opening."""
        self._moves, self.then_pauses = deque(self.opening.moves), False

    def play(self, action: Action, times: int) -> None:
        """Play one action so many times, then pause."""
        self._moves, self.then_pauses = deque([(action, None)] * times), True

    def drop(self) -> None:
        """The rest of the moves is not played."""
        self._moves.clear()

    def take(self, number: int) -> tuple[Action, int | None]:
        """The action of step `number`, and its sampling steps if they are known."""
        if self.is_opening:
            move = self._moves.popleft()
            if not self.is_opening:
                self.latch.forget_pending()
            return move
        return (self.script(number) if self.script else self.latch.take()), None
