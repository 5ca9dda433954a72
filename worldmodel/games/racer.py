"""Driving as an Env: gymnasium's CarRacing seen from a lower height, without its status bar.

RacerConfig   how the car answers keys and mouse, how high the camera hangs, the colours of a track
Racer         the Env; its track, colours and place of start are functions of (start, seed)
Drive         where the car is, for the players that drive it

Left and right turn a steering wheel, by keys and mouse alike: a step turns it by `key_degrees` or by the mouse's
degrees, and it loses a share `centring` of its angle, as a real one does. So a held key or a moving mouse bends the
way more and more, a still mouse lets it straighten, and an analogue stick is the mouse motion that brings the wheel
to where the stick points (`steer_to`). The action space of every other game expresses all of that as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.env import EnvError, EpisodeEnd, Frame
from worldmodel.games.drivers import DriversConfig
from worldmodel.games.seeds import draw

BUTTONS = ("gas", "brake", "left", "right")
TICRATE = 50  # physics steps a second
FIELD = 333.0  # half the side of the field in units, CarRacing's PLAYFIELD
LOCK_RADIANS = 0.4  # how far CarRacing's front wheels turn
VIEW = (140, 0, 720, 720)  # the part of its 1000 x 800 picture that is shown: x, y, width, height; no score, no meters
SEEN = 70.0  # units from the car beyond which no corner of anything in view lies, at zoom 1


@dataclass(kw_only=True)
class Palette:
    """Colours of a landscape, RGB 0..255: the road, the field, and the squares on it that show motion."""

    road: list[int]
    field: list[int]
    squares: list[int]


@dataclass(kw_only=True)
class RacerConfig:
    """frame_skip: physics steps a frame; zoom in (0, 1]: 1 is CarRacing's own, less sees farther; lock_degrees: the
    wheel's most; key_degrees, mouse_degrees: what a key turns it by in a step, and the mouse at most; centring: the
    share of its angle that it loses in a step; gas, brake in [0, 1]: how far down a held pedal is.
    """

    frame_skip: int
    zoom: float
    lock_degrees: float
    key_degrees: float
    mouse_degrees: float
    centring: float
    gas: float
    brake: float
    palettes: dict[str, Palette]
    players: DriversConfig

    def __post_init__(self) -> None:
        if not (0 < self.zoom <= 1 and 0 <= self.gas <= 1 and 0 <= self.brake <= 1 and 0 <= self.centring < 1):
            raise ValueError("racer: zoom must be in (0, 1], gas and brake in [0, 1], centring in [0, 1)")


class Drive(NamedTuple):
    """x, y in units (a road is 13.3 wide); heading in radians, counter-clockwise from +y; speed in units a second;
    wheel: the steering wheel's angle in degrees, + right.
    """

    x: float
    y: float
    heading: float
    speed: float
    wheel: float


class Racer:
    """One running car. Env; frames uint8 (H, W, 3) with the car's nose up, 50 / frame_skip steps a second."""

    def __init__(self, config: RacerConfig, size_hw: tuple[int, int]) -> None:
        """Raises EnvError if gymnasium or Box2D is not installed."""
        self.config, self.size_hw = config, size_hw
        self.actions = ActionSpace(BUTTONS, (config.mouse_degrees, 0.0))
        self.fps = TICRATE / config.frame_skip
        racing = _car_racing()
        self._make_car = racing.Car
        self._game = racing.CarRacing(render_mode="state_pixels")
        crop, (height, width) = self._game._create_image_array, size_hw
        # Set on the object, not in a subclass: importing this file must not need gymnasium.
        self._game._create_image_array = lambda screen, _: crop(screen.subsurface(VIEW), (width, height))
        self._game._render_indicators = lambda *_: None
        self._draw, self._game._draw_colored_polygon = self._game._draw_colored_polygon, self._draw_if_near
        self._wheel = 0.0
        self._eye = (0.0, 0.0)
        self.track = np.zeros((0, 2))  # the middle of the road, units (N, 2), in driving order; closed

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """A track and its colours drawn from seed; the car stands on it where, and headed as, (start, seed) says."""
        game, config = self._game, self.config
        palettes = list(config.palettes.values())
        colours = palettes[draw("palette", seed) % len(palettes)]
        game.road_color, game.bg_color, game.grass_color = map(np.array, (colours.road, colours.field, colours.squares))
        game.reset(seed=draw("track", seed))
        way = 1 if draw("way", start, seed) % 2 else -1  # CarRacing's own tracks turn left on the whole
        self.track = np.array([tile[2:4] for tile in game.track])[::way]
        _, heading, x, y = game.track[draw("place", start, seed) % len(game.track)]
        game.car.destroy()
        game.car = self._make_car(game.world, heading if way > 0 else heading + np.pi, x, y)
        self._wheel = 0.0
        game.world.Step(1 / TICRATE, 180, 60)  # so that the wheels feel the road under them
        return self._frame()

    def step(self, action: Action) -> Frame:
        """frame_skip physics steps under the action. Raises EpisodeEnd where the field ends."""
        self.actions.check(action)
        held, config, car = action.buttons, self.config, self._game.car
        turn = float(np.clip(action.mouse[0], -config.mouse_degrees, config.mouse_degrees))
        turn += config.key_degrees * (("right" in held) - ("left" in held))
        limit = config.lock_degrees
        self._wheel = float(np.clip(self._wheel * (1 - config.centring) + turn, -limit, limit))
        for _ in range(config.frame_skip):
            car.steer(-self._wheel / limit * LOCK_RADIANS)
            car.gas(config.gas * ("gas" in held))
            car.brake(config.brake * ("brake" in held))
            car.step(1 / TICRATE)
            self._game.world.Step(1 / TICRATE, 180, 60)
        if max(abs(v) for v in car.hull.position) > FIELD:
            raise EpisodeEnd("the car has left the field")
        return self._frame()

    def drive(self) -> Drive:
        """Where the car is and how it moves."""
        hull = self._game.car.hull
        x, y = hull.position
        return Drive(x, y, hull.angle, float(np.hypot(*hull.linearVelocity)), self._wheel)

    def steer_to(self, degrees: float) -> float:
        """The mouse motion, in degrees, that brings the steering wheel to an angle in the next step."""
        return degrees - self._wheel * (1 - self.config.centring)

    def facts(self) -> dict[str, Any]:
        """What is noted beside a recorded step: [x, y, heading, speed]."""
        return {"drive": [round(v, 2) for v in self.drive()[:4]]}

    def close(self) -> None:
        """Nothing is held but memory."""
        self._game.close()

    def _frame(self) -> Frame:
        self._game.t = self.config.zoom  # CarRacing's clock is read by nothing but its opening zoom: stopped in it
        self._eye = tuple(self._game.car.hull.position)
        return np.ascontiguousarray(self._game._render("state_pixels"), np.uint8)

    def _draw_if_near(self, surface: Any, corners: Any, *look: Any, clip: bool = True) -> None:
        """CarRacing turns all 400 squares of the field into the view at every frame, which takes most of its time."""
        (x, y), reach = corners[0], SEEN / self.config.zoom
        if not clip or (abs(x - self._eye[0]) < reach and abs(y - self._eye[1]) < reach):
            self._draw(surface, corners, *look, clip=clip)


def _car_racing() -> Any:
    try:
        import gymnasium.envs.box2d.car_racing as racing
    except Exception as error:  # gymnasium has its own kinds of "not installed", and no type of them without it
        if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
            raise EnvError("driving needs gymnasium and Box2D: pip install -e .[games]") from error
        raise
    return racing
