"""Scripted players of the racer.

DriversConfig   shares of the episodes and how lively a driver is
Driver          follows the road by pure pursuit: at changing speeds, beside its middle, with mistakes and recoveries
Wild            random keys and wheel; a Driver brings it back when it is lost
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
    from worldmodel.games.racer import Drive, Racer

AXLES = 3.2  # units between CarRacing's axles
LOCK_RADIANS = 0.4
GRIP = 70.0  # units / s^2 sideways that a driver trusts the tyres with; found by driving: 100 slides off
LOST = 15.0  # units from the road's middle at which a wild player is brought back


@dataclass(kw_only=True)
class DriversConfig:
    """driver, wild: shares of the episodes (they add up to 1); mistakes: of a driver, a second; rest: share of a
    driver's moods in which it brakes and stands; by_keys: share of the moods steered by keys, the rest by mouse.
    """

    driver: float
    wild: float
    mistakes: float
    rest: float
    by_keys: float

    def __post_init__(self) -> None:
        if abs(self.driver + self.wild - 1) > 1e-6:
            raise ValueError(f"players: shares must add up to 1, got {self.driver} + {self.wild}")


class Driver:
    """Drives round the track, and back to it from wherever a mistake has led."""

    def __init__(self, game: Racer, config: DriversConfig, seed: int) -> None:
        self.game, self.config = game, config
        self.rng = np.random.default_rng([seed, 1])
        self.spacing = float(np.linalg.norm(np.diff(game.track, axis=0), axis=1).mean())
        self.mood_left = self.mistake_left = 0
        self.mistake = Action()

    def act(self) -> Action:
        """The action of the next step."""
        if self.mood_left <= 0:
            self._change_mood()
        self.mood_left -= 1
        if self.mistake_left > 0:
            self.mistake_left -= 1
            return self.mistake
        if self.rng.random() < self.config.mistakes / self.game.fps:
            self._err()
        return self._follow(self.game.drive())

    def _change_mood(self) -> None:
        rng = self.rng
        self.mood_left = int(rng.integers(15, 70))
        self.hurry = float(rng.uniform(0.45, 1.1))  # 1: as fast as the driver trusts the tyres
        self.lane = float(rng.normal(0, 2.0))  # units to the right of the road's middle
        self.is_by_keys = rng.random() < self.config.by_keys
        self.rests = rng.random() < self.config.rest
        if self.rests:
            self.mood_left = int(rng.integers(8, 25))

    def _err(self) -> None:
        """Hold something wrong for a moment: it ends beside the road, or in a spin."""
        rng = self.rng
        side = str(rng.choice(["left", "right"]))
        pedals = [{"gas"}, {"gas", "brake"}, set(), {"brake"}][int(rng.choice(4, p=[0.4, 0.1, 0.4, 0.1]))]
        self.mistake = Action({side, *pedals})
        self.mistake_left = int(rng.integers(3, 14))

    def _follow(self, drive: Drive) -> Action:
        """Pure pursuit of a point ahead in the lane; slow before bends, slower beside the road."""
        track, here = self.game.track, np.array((drive.x, drive.y))
        nearest = int(np.linalg.norm(track - here, axis=1).argmin())
        off_road = float(np.linalg.norm(track[nearest] - here))
        reach = 8 + 0.22 * drive.speed
        ahead = nearest + max(1, round(reach / self.spacing))
        point, way = track[ahead % len(track)], track[(ahead + 1) % len(track)] - track[(ahead - 1) % len(track)]
        right = np.array((way[1], -way[0])) / np.linalg.norm(way)
        to = point + self.lane * right - here
        heading = np.array((-np.sin(drive.heading), np.cos(drive.heading)))
        bearing = float(np.arctan2(heading[1] * to[0] - heading[0] * to[1], heading @ to))  # + to the right
        bend = np.arctan(2 * AXLES * np.sin(bearing) / np.linalg.norm(to))
        if off_road > 9 or abs(bearing) > np.pi / 2:  # the arc would be long: turn towards the point at once
            bend = bearing
        wheel = float(np.clip(bend / LOCK_RADIANS, -1, 1)) * self.game.config.lock_degrees
        speed = self.hurry * self._safe_speed(nearest, drive.speed)
        if off_road > 9:
            speed = min(speed, 24.0)
        if abs(bearing) > 0.8:  # faster than this, the car would circle round the point for ever
            speed = min(speed, 12.0)
        held: set[str] = set()
        if self.rests or drive.speed > 1.2 * speed + 2:
            held.add("brake")
        elif drive.speed < speed:
            held.add("gas")
        return self._steered(held, wheel)

    def _safe_speed(self, nearest: int, speed: float) -> float:
        """What the sharpest bend within braking distance allows."""
        track, size = self.game.track, len(self.game.track)
        steps = np.arange(1, 3 + round((6 + 0.6 * speed) / self.spacing))
        a, b, c = (track[(nearest + steps + k) % size] for k in (-2, 0, 2))
        turn = np.abs(np.angle(np.exp(1j * (_direction(c - b) - _direction(b - a)))))
        return float(min(70.0, np.sqrt(GRIP / max(1e-3, turn.max() / (2 * self.spacing)))))

    def _steered(self, held: set[str], wheel: float) -> Action:
        """The wheel brought to an angle: by the key that comes nearest, or by the mouse with a little tremor."""
        turn = self.game.steer_to(wheel)
        if self.is_by_keys:
            if abs(turn) > self.game.config.key_degrees / 2:
                held.add("right" if turn > 0 else "left")
            return Action(held)
        most = self.game.config.mouse_degrees
        return Action(held, (round(float(np.clip(turn + self.rng.normal(0, 0.5), -most, most)), 2), 0.0))


class Wild:
    """Random keys and wheel, each held for a random while; brought back to the road when it is far from it."""

    def __init__(self, game: Racer, config: DriversConfig, seed: int) -> None:
        self.game = game
        self.rng = np.random.default_rng([seed, 2])
        self.rescuer = Driver(game, config, seed)
        self.left, self.is_rescued = 0, False
        self.held: set[str] = set()
        self.turn = 0.0

    def act(self) -> Action:
        """The action of the next step."""
        drive = self.game.drive()
        away = float(np.linalg.norm(self.game.track - (drive.x, drive.y), axis=1).min())
        self.is_rescued = away > (5.0 if self.is_rescued else LOST)
        if self.is_rescued:
            return self.rescuer.act()
        if self.left <= 0:
            self._draw()
        self.left -= 1
        return Action(self.held, (round(self.turn, 2), 0.0))

    def _draw(self) -> None:
        rng = self.rng
        self.left = int(rng.integers(2, 14))
        self.held = {name for name, odds in (("gas", 0.55), ("brake", 0.15)) if rng.random() < odds}
        self.turn = 0.0
        way = rng.random()
        if way < 0.4:
            self.held.add(str(rng.choice(["left", "right"])))
        elif way < 0.75:
            self.turn = float(rng.choice([-1, 1]) * min(rng.lognormal(1.2, 0.9), self.game.config.mouse_degrees))


def player(game: Racer, config: DriversConfig, seed: int) -> tuple[str, Callable[[], Action]]:
    """Name and act() of the player of an episode, drawn by the config's shares; call it after the reset."""
    if np.random.default_rng([seed, 3]).random() < config.wild:
        return "wild", Wild(game, config, seed).act
    return "driver", Driver(game, config, seed).act


def _direction(way: np.ndarray) -> np.ndarray:
    """Radians of vectors (N, 2)."""
    return np.arctan2(way[:, 1], way[:, 0])
