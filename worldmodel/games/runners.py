"""Scripted players of CoinRun.

RunnersConfig   shares of the episodes and how lively a runner is
Runner          runs and jumps to the right, after the coin; goes back, rests and hops on the way
Wild            random keys, each held for a random while
player          which of them plays an episode

Every player speaks act() -> Action and is a function of its seed and of what the game shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.action import Action

if TYPE_CHECKING:
    from worldmodel.games.coinrun import CoinRun

FLIGHT = 18  # steps within which a jump ends on level ground


@dataclass(kw_only=True)
class RunnersConfig:
    """runner, wild: shares of the episodes (they add up to 1). Of a runner's moods, back: the share walked to the
    left; rest: spent standing; hop: spent jumping on the spot; care: in which it sees what kills. jumps: for nothing,
    a second.
    """

    runner: float
    wild: float
    back: float
    rest: float
    hop: float
    care: float
    jumps: float

    def __post_init__(self) -> None:
        if abs(self.runner + self.wild - 1) > 1e-6:
            raise ValueError(f"players: shares must add up to 1, got {self.runner} + {self.wild}")
        if self.back + self.rest + self.hop > 1:
            raise ValueError(f"players: back + rest + hop must be at most 1, got {self.back + self.rest + self.hop}")


class Runner:
    """Runs to the right and jumps now and then, and where something stops it."""

    def __init__(self, game: CoinRun, config: RunnersConfig, seed: int) -> None:
        self.game, self.config = game, config
        self.rng = np.random.default_rng([seed, 1])
        self.mood, self.mood_left, self.stuck = "run", int(self.rng.integers(15, 60)), 0
        self.is_careful, self.foresight = True, 4
        self.plan: list[Action] = []
        self.x = 0.0

    def act(self) -> Action:
        """The action of the next step."""
        rng = self.rng
        self.mood_left -= 1
        self._notice()
        if self.plan:
            return self.plan.pop(0)
        if self.mood_left <= 0:
            self._change_mood()
        way = {"run": {"right"}, "back": {"left"}, "hop": set(), "rest": set()}[self.mood]
        odds = {"run": self.config.jumps, "back": self.config.jumps, "hop": 6.0, "rest": 0.0}[self.mood]
        is_ahead = self.is_careful and self._is_near_danger()
        if is_ahead and not self.game.survives([Action(way)] * self.foresight):
            self._plan_jump(way)
            if not self.plan and self.mood == "run":  # a run-up from further back may do it
                self.mood, self.mood_left = "back", int(rng.integers(4, 14))
        elif rng.random() < odds / self.game.fps or (self.stuck > 1 and rng.random() < 0.4):
            self._plan_jump(way)
        elif rng.random() < 0.03:
            self.plan = [Action({"down"})]
        else:
            self.plan = [Action(way)]
        return self.plan.pop(0) if self.plan else Action()

    def _plan_jump(self, way: set[str]) -> None:
        """Up, on for a while and then let go: as it comes, or a careful one's try that it survives, if there is."""
        for _ in range(4):
            hold, on = (int(v) for v in self.rng.integers((1, 3), (8, FLIGHT)))
            keys = [(way if t < on else set()) | ({"jump"} if t < hold else set()) for t in range(FLIGHT)]
            plan = [Action(held) for held in keys]
            if not self.is_careful or self.game.survives(plan):
                self.plan = plan
                return

    def _is_near_danger(self) -> bool:
        """Whether something deadly lies ahead, level with it or below: the rest is looked at more closely."""
        place, dangers = self.game.place(), self.game.dangers()
        across, up = dangers[:, 0] - place.x, dangers[:, 1] - place.y
        if self.mood == "back":
            across = -across
        return bool(np.any((across > 0.5) & (across < 8) & (up < 1) & (up > -8)))

    def _notice(self) -> None:
        """Whether something is in the way; a long while of it means that a run-up is needed."""
        x = self.game.place().x
        self.stuck = self.stuck + 1 if self.mood == "run" and abs(x - self.x) < 0.01 else 0
        self.x = x
        if self.game.facts()["ended"]:
            self.plan = []
        if self.stuck > 25:
            self.mood, self.mood_left, self.stuck = "back", int(self.rng.integers(3, 12)), 0

    def _change_mood(self) -> None:
        c, rng = self.config, self.rng
        odds = [1 - c.back - c.rest - c.hop, c.back, c.rest, c.hop]
        self.mood = str(rng.choice(["run", "back", "rest", "hop"], p=odds))
        if self.mood == "back" and self.x < 4:
            self.mood = "run"  # there is nothing to the left of a beginning
        self.mood_left = int(rng.integers(15, 60)) if self.mood == "run" else int(rng.integers(4, 22))
        self.stuck = 0
        self.is_careful = rng.random() < c.care
        self.foresight = int(rng.integers(2, 7))  # steps that it sees ahead


class Wild:
    """Random keys, a little more to the right than to the left, each held for a random while."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 2])
        self.left = 0
        self.held: set[str] = set()

    def act(self) -> Action:
        """The action of the next step."""
        if self.left <= 0:
            self.left = int(self.rng.integers(2, 14))
            across = self.rng.choice(["left", "", "right"], p=[0.32, 0.23, 0.45])
            up = self.rng.choice(["jump", "", "down"], p=[0.35, 0.55, 0.1])
            self.held = {str(name) for name in (across, up) if name}
        self.left -= 1
        return Action(self.held)


def player(game: CoinRun, config: RunnersConfig, seed: int) -> tuple[str, Callable[[], Action]]:
    """Name and act() of the player of an episode, drawn by the config's shares."""
    if np.random.default_rng([seed, 3]).random() < config.wild:
        return "wild", Wild(seed).act
    return "runner", Runner(game, config, seed).act
