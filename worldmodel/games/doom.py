"""Doom as an Env: ViZDoom with Freedoom's free art, on a bundled level or on one drawn in the config.

DoomConfig   which level, which size, what a button does
Doom         the Env; deterministic from (level, start, seed)
Pose         where the player stands, for the players that walk it

Turning is done in exact degrees (TURN_LEFT_RIGHT_DELTA) for keys and mouse alike.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.env import EnvError, Frame
from worldmodel.games.doom_map import Plan, write_wad
from worldmodel.games.players import PlayersConfig
from worldmodel.games.walk import WalkGrid

TICRATE = 35
BUTTONS = ("forward", "backward", "strafe_left", "strafe_right", "turn_left", "turn_right", "attack", "use")
ENGINE_BUTTONS = ("MOVE_FORWARD", "MOVE_BACKWARD", "MOVE_LEFT", "MOVE_RIGHT", "ATTACK", "USE", "TURN_LEFT_RIGHT_DELTA")
MONSTERS = {"Zombieman", "ShotgunGuy", "DoomImp", "Demon", "Spectre", "LostSoul", "Cacodemon", "HellKnight"}
WARM_UP_TICS = 14  # the engine ignores exact turns in the first tics of a level
FORGET_TICS = 2**30  # an episode ends when its player says so


@dataclass(kw_only=True)
class DoomConfig:
    """iwad: freedoom1 or freedoom2; level: its map's name, unless a plan is drawn; render: a ViZDoom resolution
    that is a whole multiple of the frame's size; turn_degrees: a turn key's turn in one step; mouse_degrees: the
    mouse's most.
    """

    iwad: str
    level: str
    plan: Plan | None
    render: str
    frame_skip: int
    turn_degrees: float
    mouse_degrees: float
    commands: list[str]
    players: PlayersConfig


class Pose(NamedTuple):
    """x, y in map units (+x east, +y north); angle in degrees, counter-clockwise from east."""

    x: float
    y: float
    angle: float


class Doom:
    """One running game. Env; frames uint8 (H, W, 3), world time 35 / frame_skip steps a second."""

    def __init__(self, config: DoomConfig, size_hw: tuple[int, int], *, watch: bool = False) -> None:
        """Start the engine. watch: also report monsters in view (slower; players need it to fight).

        Raises EnvError if ViZDoom is not installed or does not start.
        """
        self.config = config
        self.actions = ActionSpace(BUTTONS, (config.mouse_degrees, 0.0))
        self.fps = TICRATE / config.frame_skip
        self.size_hw = size_hw
        self._watch = watch
        self._scratch = tempfile.TemporaryDirectory(prefix="worldmodel-doom-")
        self._vizdoom = _vizdoom()
        self._game = self._open()
        self._geometry: np.ndarray | None = None

    def _open(self) -> Any:
        vzd, config = self._vizdoom, self.config
        game = vzd.DoomGame()
        game.set_doom_game_path(os.path.join(os.path.dirname(vzd.__file__), f"{config.iwad}.wad"))
        if config.plan:
            wad = Path(self._scratch.name) / "plan.wad"
            write_wad(wad, config.plan, config.level)
            game.set_doom_scenario_path(str(wad))
        game.set_doom_map(config.level)
        game.set_doom_config_path(str(Path(self._scratch.name) / "engine.ini"))
        game.set_screen_resolution(getattr(vzd.ScreenResolution, config.render))
        game.set_screen_format(vzd.ScreenFormat.RGB24)
        game.set_available_buttons([getattr(vzd.Button, name) for name in ENGINE_BUTTONS])
        names = ("POSITION_X", "POSITION_Y", "ANGLE")
        game.set_available_game_variables([getattr(vzd.GameVariable, name) for name in names])
        game.set_sectors_info_enabled(True)
        game.set_objects_info_enabled(True)
        game.set_labels_buffer_enabled(self._watch)
        for off in ("hud", "crosshair", "decals", "particles", "messages", "screen_flashes"):
            getattr(game, f"set_render_{off}")(False)
        game.set_render_weapon(True)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_mode(vzd.Mode.PLAYER)
        game.set_episode_start_time(1)
        game.set_episode_timeout(FORGET_TICS)
        game.add_game_args("+sv_cheats 1 +movebob 0.0 -noautoload")
        try:
            game.init()
        except Exception as error:
            raise EnvError(f"Doom did not start ({error}). Is {config.iwad} / {config.level} a level?") from error
        return game

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """A new episode at a place and view drawn from (start, seed), everything in the level as new."""
        self._game.set_seed(_hash("engine", start, seed))
        self._game.new_episode()
        state = self._game.get_state()
        if self._geometry is None:
            self._geometry = _walls(state)
            self._open_cells = WalkGrid(self._geometry).largest_room()
        rng = np.random.default_rng(_hash("start", start, seed))
        for command in self.config.commands:
            self._game.send_game_command(command)
        self._advance([0.0] * len(ENGINE_BUTTONS), WARM_UP_TICS)
        if self.config.plan:
            x, y = self._open_cells[rng.integers(len(self._open_cells))]
            self._game.send_game_command(f"warp {x:.0f} {y:.0f}")
        turn = [0.0] * (len(ENGINE_BUTTONS) - 1) + [float(rng.uniform(0, 360))]
        self._advance(turn, 1)
        self._advance([0.0] * len(ENGINE_BUTTONS), 2)
        return self._frame()

    def step(self, action: Action) -> Frame:
        """frame_skip tics under the action."""
        self.actions.check(action)
        held = action.buttons
        turn = action.mouse[0] + self.config.turn_degrees * (("turn_right" in held) - ("turn_left" in held))
        turn = float(np.clip(turn, -self.config.mouse_degrees, self.config.mouse_degrees))
        pressed = [float(name in held) for name in BUTTONS if not name.startswith("turn")]
        self._advance([*pressed, turn / self.config.frame_skip], self.config.frame_skip)
        return self._frame()

    def pose(self) -> Pose:
        """Where the player stands now."""
        return Pose(*(float(v) for v in self._game.get_state().game_variables[:3]))

    def facts(self) -> dict[str, Any]:
        """What is noted beside a recorded step: [x, y, angle]."""
        return {"pose": [round(v, 2) for v in self.pose()]}

    def geometry(self) -> np.ndarray:
        """Walls that stop a player, float (N, 4): x1, y1, x2, y2 in map units, as the engine reports them."""
        if self._geometry is None:
            self.reset()
        assert self._geometry is not None
        return self._geometry

    def target(self) -> float | None:
        """Degrees to the right of the view's middle at which the nearest monster in view stands; None without one."""
        labels = [label for label in self._game.get_state().labels or [] if label.object_name in MONSTERS]
        if not labels:
            return None
        near = max(labels, key=lambda label: label.width * label.height)
        width = self._game.get_screen_width()
        offset = (near.x + near.width / 2 - width / 2) / (width / 2)
        return float(np.degrees(np.arctan(offset)))

    def close(self) -> None:
        """Stop the engine and remove its scratch files."""
        self._game.close()  # writes its settings into the scratch folder: keep this order
        self._scratch.cleanup()

    def _advance(self, values: list[float], tics: int) -> None:
        self._game.make_action(values, tics)

    def _frame(self) -> Frame:
        image = self._game.get_state().screen_buffer
        (h, w), (height, width) = self.size_hw, image.shape[:2]
        if height % h or width % w:
            raise EnvError(f"Doom renders {width}x{height}, which is no multiple of {w}x{h}: choose another `render`")
        boxes = image.reshape(h, height // h, w, width // w, 3)
        return boxes.mean(axis=(1, 3)).round().astype(np.uint8)


def _vizdoom() -> Any:
    try:
        import vizdoom
    except ImportError as error:
        raise EnvError("the real game needs ViZDoom: pip install -e .[games]") from error
    return vizdoom


def _hash(*parts: object) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


def _walls(state: Any) -> np.ndarray:
    lines = {(line.x1, line.y1, line.x2, line.y2) for s in state.sectors for line in s.lines if line.is_blocking}
    walls = [list(line) for line in sorted(lines)]
    for thing in state.objects:  # trees and columns stop a player too: a small square round each
        if thing.name in SOLID:
            x, y, r = thing.position_x, thing.position_y, 14.0
            walls += [[x - r, y - r, x + r, y + r], [x - r, y + r, x + r, y - r]]
    return np.asarray(walls, dtype=np.float64)


SOLID = {
    "BigTree", "TorchTree", "Column", "TallGreenColumn", "TallRedColumn", "ShortGreenColumn", "ShortRedColumn",
    "TechLamp", "TechLamp2", "Candelabra", "GreenTorch", "BlueTorch", "RedTorch", "ShortRedTorch", "ShortBlueTorch",
    "ShortGreenTorch", "HeartColumn", "EvilEye", "FloatingSkull", "TechPillar", "Stalagtite", "ExplosiveBarrel",
}  # fmt: skip
