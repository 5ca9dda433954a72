"""Scripted players of Doom: they decide what is done in a recorded game.

Pose       where a player stands
Walker     waypoints over the level's walk grid; looks around, strafes, fights and idles on the way
Astray     a walker that believes itself elsewhere
Sticky     random input that is held for a while
mix        which of them plays an episode

Every player speaks act(game) -> Action and is a function of its seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.games.walk import Cell, WalkGrid

if TYPE_CHECKING:
    from worldmodel.games.doom import Doom


BRAVE = 0.6  # share of its moods in which a walker fights what it sees
AHEAD = 48.0  # map units along its way at which a walker looks
STRIDE = 13.0  # map units that a key of walking moves in a step, half of the time or more


class Pose(NamedTuple):
    """x, y in map units (+x east, +y north); angle in degrees, counter-clockwise from east."""

    x: float
    y: float
    angle: float


@dataclass(kw_only=True)
class PlayersConfig:
    """Shares of the episodes (they add up to 1) and how lively a walker is."""

    walker: float
    sticky: float
    astray: float
    idle: float  # share of a walker's moods in which it stands
    idle_steps: list[int]  # for how long: the least, and the most but one
    look: float  # share in which it looks around, walking or not
    glance: float  # share in which it looks away from a place and back to it: what a memory can be learnt from
    steady: bool  # whether it looks away and back even where a monster is in view, instead of fighting it
    strafe: float  # share in which it walks sideways to its view
    doors: bool  # whether it presses use where something stops it

    def __post_init__(self) -> None:
        shares = [self.walker, self.sticky, self.astray]
        if abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"players: shares must add up to 1, got {' + '.join(map(str, shares))}")
        if len(self.idle_steps) != 2 or not 1 <= self.idle_steps[0] < self.idle_steps[1]:
            raise ValueError(f"players: idle_steps must be the least and the most but one, got {self.idle_steps}")


class Player(Protocol):
    """Decides the next action from what the game shows."""

    def act(self, game: Doom) -> Action:
        """The action of the next step."""
        ...


class Walker:
    """Walks to ever new places along shortest ways and behaves like somebody who looks at the world.

    Moods last a while: walk, look (the view swings by mouse, walking or standing), glance (away and back), strafe,
    idle. Monsters in view are aimed at and shot. Turns by mouse in most moods and by keys in the rest, so that both are
    well covered.
    """

    def __init__(self, grid: WalkGrid, config: PlayersConfig, space: ActionSpace, seed: int) -> None:
        self.grid, self.config, self.space = grid, config, space
        self.rng = np.random.default_rng([seed, 1])
        self.visits: Counter[Cell] = Counter()
        self.way: list[Cell] = []
        self.mood, self.mood_left = "walk", 0
        self.by_keys = self.fires = False
        self.pace = 0.0
        self.swing = 0.0
        self.glance: list[float] = []  # turns that are left of it
        self.speed = 0.0
        self.stuck = 0
        self.last: Pose | None = None

    def act(self, game: Doom) -> Action:
        """The action of the next step."""
        return self._decide(game.pose(), game.target)

    def _decide(self, pose: Pose, sees: Callable[[], float | None]) -> Action:
        self._notice(pose)
        if self.mood_left <= 0:
            self._change_mood()
        self.mood_left -= 1
        target = None if self.mood == "glance" and self.config.steady else sees()
        if target is not None and self.speed < BRAVE and self.rng.random() < 0.8:
            return self._fight(target)
        held: set[str] = set()
        turn = 0.0
        bearing = self._bearing(pose)
        if self.mood == "walk":
            turn = self._towards(bearing)
            if abs(bearing) < 40:
                held.add("forward")
        elif self.mood == "look":
            turn = self._swing()
            if self.speed > 0.5:  # keep walking where the way leads, whatever the view
                held |= _legs(bearing)
        elif self.mood == "glance":
            turn = self.glance.pop()
        elif self.mood == "strafe":
            turn = self._towards(bearing - self.swing)
            held |= _legs(bearing)
        elif self.mood == "unstick":
            held.add("backward" if self.swing < 0 else "forward")
            turn = self.swing
        if self.fires or self.rng.random() < 0.02:
            held.add("attack")
        if self.rng.random() < 0.015 or (self.config.doors and self.stuck % 3 == 2):  # a held key opens no door
            held.add("use")
        return self._turned(held, turn)

    def _notice(self, pose: Pose) -> None:
        here = self.grid.at(pose.x, pose.y)
        self.visits[here] += 1
        moved = self.last is None or np.hypot(pose.x - self.last.x, pose.y - self.last.y) > 2
        self.stuck = 0 if moved or self.mood in ("idle", "look", "glance") else self.stuck + 1
        self.last = pose
        if self.stuck > 10:
            self.mood, self.mood_left, self.stuck, self.way = "unstick", int(self.rng.integers(4, 12)), 0, []
            self.swing = float(self.rng.choice([-1, 1]) * self.rng.uniform(3, 12))
        while self.way and np.hypot(*np.subtract(self.grid.middle(self.way[0]), (pose.x, pose.y))) < 40:
            self.way.pop(0)
        if not self.way:
            self._choose_goal(here)

    def _choose_goal(self, here: Cell) -> None:
        before = self.grid.reachable(here)
        cells = list(before)
        picks = [cells[i] for i in self.rng.integers(len(cells), size=16)]
        goal = min(picks, key=lambda c: self.visits[c])
        while goal != here:
            self.way.insert(0, goal)
            goal = before[goal]

    def _change_mood(self) -> None:
        c = self.config
        moods = {"look": c.look, "glance": c.glance, "strafe": c.strafe, "idle": c.idle}
        self.mood = str(self.rng.choice(["walk", *moods], p=[1 - sum(moods.values()), *moods.values()]))
        self.mood_left = int(self.rng.integers(*(c.idle_steps if self.mood == "idle" else (8, 45))))
        if self.mood == "glance":
            self.glance = self._glance()
            self.mood_left = len(self.glance)
        self.by_keys = self.rng.random() < 0.4
        self.fires = self.rng.random() < 0.1
        self.speed = self.rng.random()
        self.swing = float(self.rng.choice([-90, -45, 45, 90, 180]))
        self.pace = float(self.rng.choice([-1, 1]) * self.rng.lognormal(1.2, 0.7))

    def _glance(self) -> list[float]:
        """Turns, degrees a step: by one angle, a while of nothing, and the same turns back."""
        angle, speed = self.rng.uniform(30, 200), self.rng.uniform(4, 16)
        steps = round(angle / speed)
        there = float(self.rng.choice([-1, 1])) * speed * self.rng.uniform(0.8, 1.2, steps)
        return [*there, *([0.0] * int(self.rng.integers(0, 9))), *-there[::-1]]

    def _swing(self) -> float:
        self.pace = 0.9 * self.pace + 0.1 * float(self.rng.normal(0, 8))
        return self.pace

    def _bearing(self, pose: Pose) -> float:
        ahead = min(int(AHEAD // self.grid.cell), len(self.way) - 1)
        goal = self.grid.middle(self.way[ahead]) if self.way else (pose.x, pose.y)
        want = np.degrees(np.arctan2(goal[1] - pose.y, goal[0] - pose.x))
        return float((pose.angle - want + 180) % 360 - 180)  # degrees to the right

    def _towards(self, bearing: float) -> float:
        bearing = (bearing + 180) % 360 - 180
        return float(np.clip(0.35 * bearing + self.rng.normal(0, 0.4), -14, 14)) if abs(bearing) > 1.5 else 0.0

    def _fight(self, target: float) -> Action:
        held = {"attack"} if abs(target) < 8 else set()
        if self.rng.random() < 0.5:
            held.add(str(self.rng.choice(["strafe_left", "strafe_right", "backward", "forward"])))
        return self._turned(held, float(np.clip(0.4 * target, -12, 12)))

    def _turned(self, held: set[str], turn: float) -> Action:
        """Turn by mouse, or by keys where the turn is worth a key's step."""
        if not self.by_keys:
            return Action(held, (round(turn, 2), 0.0))
        if abs(turn) > 2.5:
            held.add("turn_right" if turn > 0 else "turn_left")
        return Action(held)


class Astray(Walker):
    """A walker that believes itself elsewhere in the level: it walks against walls, looks along them and turns away, as
    whoever plays a dream does whose places are not the game's.
    """

    def __init__(self, grid: WalkGrid, config: PlayersConfig, space: ActionSpace, seed: int) -> None:
        super().__init__(grid, config, space, seed)
        room = grid.largest_room()
        self.at, self.angle = room[self.rng.integers(len(room))], float(self.rng.uniform(0, 360))

    def act(self, game: Doom) -> Action:
        """The action of the next step; nothing of the game is looked at."""
        action = self._decide(Pose(float(self.at[0]), float(self.at[1]), self.angle), lambda: None)
        self.angle -= float(np.dot(self.space.turns, self.space.to_vector(action)))
        way = np.radians(self.angle)
        ahead = ("forward" in action.buttons) - ("backward" in action.buttons)
        right = ("strafe_right" in action.buttons) - ("strafe_left" in action.buttons)
        there = self.at + STRIDE * np.array([np.cos(way) * ahead + np.sin(way) * right,
                                             np.sin(way) * ahead - np.cos(way) * right])  # fmt: skip
        if self.grid.has(self.grid.at(*there)):
            self.at = there
        return action


class Sticky:
    """Random keys and mouse, each held for a random while: what no purposeful player does."""

    def __init__(self, space: ActionSpace, seed: int) -> None:
        self.space = space
        self.rng = np.random.default_rng([seed, 2])
        self.left = 0
        self.held: set[str] = set()
        self.turn = 0.0
        self.last: Pose | None = None

    def act(self, game: Doom) -> Action:
        """The action of the next step."""
        pose = game.pose()
        still = self.last is not None and np.hypot(pose.x - self.last.x, pose.y - self.last.y) < 1
        self.last = pose
        if self.left <= 0 or (still and "forward" in self.held and self.rng.random() < 0.25):
            self._draw()
        self.left -= 1
        return Action(self.held, (round(self.turn + float(self.rng.normal(0, 0.1 * abs(self.turn))), 2), 0.0))

    def _draw(self) -> None:
        rng = self.rng
        self.left = int(rng.integers(2, 14))
        self.held = set()
        legs = rng.choice(["forward", "backward", "", "strafe"], p=[0.5, 0.12, 0.2, 0.18])
        if legs == "strafe" or rng.random() < 0.12:
            self.held.add(str(rng.choice(["strafe_left", "strafe_right"])))
        if legs in ("forward", "backward"):
            self.held.add(str(legs))
        way = rng.random()
        self.turn = 0.0
        if way < 0.35:
            self.held.add(str(rng.choice(["turn_left", "turn_right"])))
        elif way < 0.75:
            self.turn = float(np.clip(rng.choice([-1, 1]) * rng.lognormal(1.4, 0.8), -19, 19))
        for name, odds in (("attack", 0.12), ("use", 0.05)):
            if rng.random() < odds:
                self.held.add(name)


def mix(game: Doom, config: PlayersConfig, seed: int) -> tuple[str, Player]:
    """The player of an episode and its name, drawn by the config's shares."""
    rng = np.random.default_rng([seed, 3])
    drawn = rng.random()
    if drawn < config.sticky:
        return "sticky", Sticky(game.actions, seed)
    if drawn < config.sticky + config.astray:
        return "astray", Astray(game.grid, config, game.actions, seed)
    return "walker", Walker(game.grid, config, game.actions, seed)


def _legs(bearing: float) -> set[str]:
    """The keys that walk towards a bearing (degrees to the right of the view) without turning."""
    held = set()
    if abs(bearing) < 67.5:
        held.add("forward")
    elif abs(bearing) > 112.5:
        held.add("backward")
    if 22.5 < abs(bearing) < 157.5:
        held.add("strafe_right" if bearing > 0 else "strafe_left")
    return held
