"""Procgen's CoinRun as an Env: a platformer whose levels are drawn from numbers.

CoinRunConfig, Landscape   which levels there are and what they are made of
CoinRun                    the Env; its levels are a function of (start, seed)
Place                      where the alien is, for the players that play it

A level ends in a coin or in a death, after seconds. The episode goes on, so that it may be as long as anybody likes: a
death leads back to the beginning of the same level, to the very same picture; a coin leads into the next level of
(start, seed). Neither is hidden: `facts` notes at every step which level it is and what began it. The step that
touches the coin or the danger already shows the beginning, as Procgen itself does; Procgen's own third end, a clock of
1000 steps that nobody sees, is stopped.

The library is opened through gym3, without the Python of `procgen`, which needs an old numpy. Two things that have no
option are written into its state where a level begins: the clock and the landscape (Procgen draws one of 62 pictures
as background). The layout of a state is Procgen's Game::serialize and its overrides.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.env import EnvError, Frame
from worldmodel.games.runners import RunnersConfig
from worldmodel.games.seeds import draw

BUTTONS = ("left", "right", "jump", "down")  # down lets the alien fall through the crate it stands on
MODES = {"easy": 0, "hard": 1}
GROUNDS = ("dirt", "grass", "planet", "sand", "snow", "stone")  # in Procgen's order, as the two below
ALIENS = ("beige", "blue", "green", "pink", "yellow")
LANDS = ("desert", "grass", "land", "shroom")
BACKGROUNDS = {
    name: 14 + i for i, name in enumerate([f"{sky}_{land}" for sky in ("blue", "colored") for land in LANDS])
}
DEADLY, LAVA = (2, 5), (17, 18)  # saw and monster among the entities; in the grid
SIDE = 64  # tiles of a level
RENDERED = 512  # pixels of a side of Procgen's large picture, which shows 13 tiles
MAX_STATE = 1 << 20  # bytes
NEVER = 2**31 - 1  # steps
INSTALL = "CoinRun needs Procgen: pip install cffi && pip install --no-deps procgen-mirror==0.10.7 gym3==0.3.3"


@dataclass(kw_only=True)
class Landscape:
    """What a level is made of; names from GROUNDS, BACKGROUNDS and ALIENS."""

    ground: str
    background: str
    alien: str

    def __post_init__(self) -> None:
        for name, known in ((self.ground, GROUNDS), (self.background, BACKGROUNDS), (self.alien, ALIENS)):
            if name not in known:
                raise ValueError(f"coinrun: a landscape has no {name!r}; choose one of {', '.join(known)}")


@dataclass(kw_only=True)
class CoinRunConfig:
    """fps: Procgen has no clock, so this only says how fast it is played; distribution_mode: easy or hard, where
    monsters walk about on firm ground too; landscapes: a level has one of them.
    """

    fps: float
    distribution_mode: str
    landscapes: dict[str, Landscape]
    players: RunnersConfig

    def __post_init__(self) -> None:
        if self.distribution_mode not in MODES or self.fps <= 0 or not self.landscapes:
            raise ValueError(
                f"coinrun: distribution_mode must be one of {', '.join(MODES)}, fps > 0 and landscapes not empty, got "
                f"{self.distribution_mode}, {self.fps} and {len(self.landscapes)}"
            )


class Place(NamedTuple):
    """The alien's middle and its speed: tiles from the lower left corner of a level of 64 x 64, and tiles a step."""

    x: float
    y: float
    vx: float
    vy: float


class CoinRun:
    """One running level after another. Env; frames uint8 (H, W, 3), the alien in the middle."""

    def __init__(self, config: CoinRunConfig, size_hw: tuple[int, int]) -> None:
        """Raises EnvError if Procgen is not installed, ValueError for a size that it cannot be shrunk to."""
        if not 32 <= max(size_hw) <= RENDERED:
            raise ValueError(f"coinrun: the longer side of size_hw must be 32 to {RENDERED} pixels, got {size_hw}")
        self.config, self.size_hw = config, size_hw
        self.actions, self.fps = ActionSpace(BUTTONS), config.fps
        self._open, self._state = _procgen(MODES[config.distribution_mode])
        self._world: tuple[Any, int] = (0, 0)  # start, seed
        self._nth = 0  # level of the world
        self._ended = ""
        self._enter()

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """The first level of (start, seed), from its beginning."""
        self._game.close()
        self._world, self._nth, self._ended = (start, seed), 0, ""
        self._enter()
        return self._frame()

    def step(self, action: Action) -> Frame:
        """One step of Procgen under the action; where it ends the level, the first frame of what follows."""
        self.actions.check(action)
        self._act(action)
        self._ended = ""
        if self._is_over[0]:
            self._ended = "coin" if self._reward[0] else "death"
            if self._ended == "coin":
                self._game.close()
                self._nth += 1
                self._enter()
            else:
                self._game.call_c_func("set_state", 0, self._beginning, len(self._beginning))
        return self._frame()

    def place(self) -> Place:
        """Where the alien is and how it moves."""
        state = self._state(self._game)
        return Place(*struct.unpack_from("<4f", state, _layout(state).alien))

    def dangers(self) -> np.ndarray:
        """Middles of all that kills, in tiles (N, 2): saws and monsters, wherever they are now, and lava."""
        state = self._state(self._game)
        at = _layout(state)
        things = np.frombuffer(state, "<f4", at.num_entities * 31, at.alien).reshape(at.num_entities, 31)
        kinds = things[:, 6].view("<i4")
        grid = np.frombuffer(state, "<i4", SIDE * SIDE, at.ground - 4 - 4 * SIDE * SIDE).reshape(SIDE, SIDE)
        lava = np.argwhere(np.isin(grid, LAVA))[:, ::-1] + 0.5
        return np.concatenate([things[np.isin(kinds, DEADLY), :2], lava])

    def survives(self, plan: Iterable[Action]) -> bool:
        """Whether the alien would live through these steps; the game stays as it is."""
        now = self._state(self._game)
        is_over = False
        for action in plan:
            self._act(action)
            is_over = bool(self._is_over[0])
            if is_over:
                break
        is_dead = is_over and not self._reward[0]
        self._game.call_c_func("set_state", 0, now, len(now))
        return not is_dead

    def facts(self) -> dict[str, Any]:
        """What is noted beside a recorded step: the place, the level, and what ended the one before ("": nothing)."""
        return {"place": [round(v, 3) for v in self.place()], "level": self._level, "ended": self._ended}

    def close(self) -> None:
        """Give back the level's memory."""
        self._game.close()

    def _act(self, action: Action) -> None:
        self._game.act({"action": np.array([_combo(action.buttons)], np.int32)})

    def _enter(self) -> None:
        """Open the nth level of the world and dress it."""
        self._level = draw("level", *self._world, self._nth) % 2**30  # Procgen adds one to it, in 32 bits
        self._game = self._open(self._level)
        self._reward, _, self._is_over = self._game.observe()  # arrays (1,) that every later step writes into
        lands = list(self.config.landscapes.values())
        self._beginning = _dressed(self._state(self._game), lands[draw("landscape", self._level) % len(lands)])
        self._game.call_c_func("set_state", 0, self._beginning, len(self._beginning))

    def _frame(self) -> Frame:
        return _shrunk(self._game.get_info()[0]["rgb"], self.size_hw)


class _Layout(NamedTuple):
    """Bytes from the beginning of a state at which these fields stand. The grid stands before the ground."""

    timeout: int
    num_entities: int  # not a place, but the number itself
    alien: int  # the first of the entities, 31 fields of 4 bytes each
    background: int
    ground: int


def _layout(state: bytes) -> _Layout:
    def number(at: int) -> int:
        return struct.unpack_from("<i", state, at)[0]

    at = 4  # version
    at += 4 + number(at)  # name of the game
    at += 4 * 17  # options
    for _ in range(2):  # random generators: is_seeded, and a text
        at += 8 + number(at + 4)
    timeout = at + 4 * 4
    entities = timeout + 4 * 12
    count = number(entities)
    return _Layout(timeout, count, entities + 4, entities + 4 + 4 * 31 * count + 4, len(state) - 28)


def _dressed(state: bytes, landscape: Landscape) -> bytes:
    """The beginning of a level in another landscape, with its clock stopped."""
    at, dressed = _layout(state), bytearray(state)
    for place, value in (
        (at.timeout, NEVER),
        (at.alien + 4 * 8, ALIENS.index(landscape.alien)),
        (at.background, BACKGROUNDS[landscape.background]),
        (at.ground, GROUNDS.index(landscape.ground)),
    ):
        struct.pack_into("<i", dressed, place, value)
    return bytes(dressed)


def _combo(held: frozenset[str]) -> int:
    """Held buttons -> Procgen's action 0..8; what undoes each other is as if not held."""
    across = ("right" in held) - ("left" in held)
    up = ("jump" in held) - ("down" in held)
    return 3 * (across + 1) + up + 1


def _shrunk(picture: np.ndarray, size_hw: tuple[int, int]) -> Frame:
    """The middle of a picture (512, 512, 3) by the mean of squares: the largest that fit."""
    n = RENDERED // max(size_hw)
    (height, width), (top, left) = size_hw, ((RENDERED - n * side) // 2 for side in size_hw)
    rows = picture[top : top + n * height, left : left + n * width].reshape(height, n, width * n * 3)
    sums = rows.sum(1, dtype=np.uint16).reshape(height, width, n, 3).sum(2, dtype=np.uint16)
    return ((sums + n * n // 2) // (n * n)).astype(np.uint8)


def _procgen(mode: int) -> tuple[Callable[[int], Any], Callable[[Any], bytes]]:
    """Two functions: open a level by its number; the state of an open level. Raises EnvError."""
    try:
        from cffi import FFI
        from gym3.libenv import CEnv
    except ImportError as error:
        raise EnvError(INSTALL) from error
    found = find_spec("procgen")  # found, not imported: that would need gym
    if found is None or found.origin is None:
        raise EnvError(INSTALL)
    data = Path(found.origin).parent / "data"

    def opened(level: int) -> Any:
        options = {
            "env_name": "coinrun", "num_levels": 1, "start_level": level, "distribution_mode": mode, "rand_seed": 0,
            "num_actions": 15, "num_threads": 0, "render_human": True, "resource_root": f"{data / 'assets'}/",
            "use_backgrounds": True, "restrict_themes": False, "center_agent": True, "use_sequential_levels": False,
            "use_generated_assets": False, "use_monochrome_assets": False, "paint_vel_info": False, "debug_mode": 0,
        }  # fmt: skip
        functions = [
            "int get_state(libenv_env *, int, char *, int);",
            "void set_state(libenv_env *, int, char *, int);",
        ]
        return CEnv(1, str(data / "prebuilt"), c_func_defs=functions, options=options, reuse_arrays=True)

    ffi = FFI()
    buffer = ffi.new("char[]", MAX_STATE)
    return opened, lambda game: bytes(ffi.buffer(buffer, game.call_c_func("get_state", 0, buffer, MAX_STATE)))
