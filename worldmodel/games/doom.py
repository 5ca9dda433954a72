"""Doom as an Env: ViZDoom with Freedoom's free art, on its own levels or on one drawn in the config.

DoomConfig   which levels, which size, what a button does
Doom         the Env; deterministic from (start, seed), which also choose the level
fit          a rendered picture -> a frame

Turning is done in exact degrees (TURN_LEFT_RIGHT_DELTA) for keys and mouse alike.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.env import EnvError, Frame
from worldmodel.games.doom_art import softened
from worldmodel.games.doom_map import Plan, write_wad
from worldmodel.games.doom_rooms import RoomsConfig, rooms
from worldmodel.games.players import PlayersConfig, Pose
from worldmodel.games.seeds import draw
from worldmodel.games.walk import Cell, WalkGrid

TICRATE = 35
BUTTONS = ("forward", "backward", "strafe_left", "strafe_right", "turn_left", "turn_right", "attack", "use")
ENGINE_BUTTONS = ("MOVE_FORWARD", "MOVE_BACKWARD", "MOVE_LEFT", "MOVE_RIGHT", "ATTACK", "USE", "TURN_LEFT_RIGHT_DELTA")
MONSTERS = {
    "Zombieman", "ShotgunGuy", "ChaingunGuy", "DoomImp", "Demon", "Spectre", "LostSoul", "Cacodemon", "HellKnight",
    "BaronOfHell", "Arachnotron", "PainElemental", "Revenant", "Fatso", "Archvile",
}  # fmt: skip
ROOM = 400  # cells of 16 units: what is smaller is a closet, where monsters wait for a door to open
STEP, HEADROOM = 24, 56  # map units: what a player walks up, and fits under
WARM_UP_TICS = 14  # the engine ignores exact turns in the first tics of a level
FORGET_TICS = 2**30  # an episode ends when its player says so


@dataclass(kw_only=True)
class DoomConfig:
    """iwad: freedoom1 or freedoom2; levels: names of its maps, of which a seed chooses one, or the name for a drawn
    plan; rooms: levels made from seeds, played beside those; render: a ViZDoom resolution whose width is a whole
    multiple of the frame's (rows that are too many are cut off above and below); turn_degrees: a turn key's turn in
    one step; mouse_degrees: the mouse's most; blur_texels: grain taken off walls and floors (doom_art; 0: none);
    skill: 1 (few monsters) to 5 (many, fast ones that return).
    """

    iwad: str
    levels: list[str]
    plan: Plan | None
    rooms: RoomsConfig | None
    render: str
    frame_skip: int
    turn_degrees: float
    mouse_degrees: float
    blur_texels: float
    skill: int
    commands: list[str]
    players: PlayersConfig

    def __post_init__(self) -> None:
        if not 1 <= self.skill <= 5:
            raise ValueError(f"doom.skill must be 1 to 5, got {self.skill}")
        if not self.levels or (self.plan and (len(self.levels) > 1 or self.rooms)):
            raise ValueError(f"doom: name one level or more, and one only, no rooms, for a plan; got {self.levels}")

    @property
    def actions(self) -> ActionSpace:
        """Buttons and mouse, and how far each turns the view."""
        signs = [(name == "turn_right") - (name == "turn_left") for name in BUTTONS]
        turns = [*(self.turn_degrees * sign for sign in signs), self.mouse_degrees]
        return ActionSpace(BUTTONS, (self.mouse_degrees, 0.0), tuple(turns))

    def level(self, seed: int) -> str:
        """The level of an episode."""
        if self.rooms and draw("rooms", seed) % 1000 < 1000 * self.rooms.share:
            return f"ROOM{draw('room', seed) % self.rooms.count}"
        return self.levels[draw("level", seed) % len(self.levels)]

    def plans(self) -> dict[str, Plan]:
        """The levels that are not the game's own."""
        made = {self.levels[0]: self.plan} if self.plan else {}
        if self.rooms:
            size = self.rooms.columns, self.rooms.rows
            made |= {f"ROOM{k}": rooms(self.rooms.first + k, *size) for k in range(self.rooms.count)}
        return made


class Doom:
    """One running game. Env; frames uint8 (H, W, 3), world time 35 / frame_skip steps a second."""

    def __init__(self, config: DoomConfig, size_hw: tuple[int, int], *, watch: bool = False) -> None:
        """Start the engine. watch: also report monsters in view (slower; players need it to fight).

        Raises EnvError if ViZDoom is not installed or does not start.
        """
        self.config = config
        self.actions = config.actions
        self.fps = TICRATE / config.frame_skip
        self.size_hw = size_hw
        self._watch = watch
        self._scratch = tempfile.TemporaryDirectory(prefix="worldmodel-doom-")
        self._vizdoom = _vizdoom()
        self._where = [getattr(self._vizdoom.GameVariable, name) for name in ("POSITION_X", "POSITION_Y", "ANGLE")]
        self._game = self._open()
        self._level = config.levels[0]
        self._start = self._seed = self._exits = 0
        self._grids: dict[str, tuple[WalkGrid, np.ndarray]] = {}  # of a level: its grid, and places to start from
        self._state: Any = None  # the engine's account of this moment, once it was asked for

    def _open(self) -> Any:
        vzd, config = self._vizdoom, self.config
        game = vzd.DoomGame()
        iwad = Path(vzd.__file__).parent / f"{config.iwad}.wad"
        game.set_doom_game_path(str(iwad))
        if config.blur_texels:
            game.add_game_args(f"-file {softened(iwad, config.blur_texels)}")
        if plans := config.plans():
            wad = Path(self._scratch.name) / "plans.wad"
            write_wad(wad, plans)
            game.set_doom_scenario_path(str(wad))
        game.set_doom_map(config.levels[0])
        game.set_doom_skill(config.skill)
        game.set_doom_config_path(str(Path(self._scratch.name) / "engine.ini"))
        game.set_screen_resolution(getattr(vzd.ScreenResolution, config.render))
        game.set_screen_format(vzd.ScreenFormat.RGB24)
        game.set_available_buttons([getattr(vzd.Button, name) for name in ENGINE_BUTTONS])
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
        game.add_game_args("+sv_cheats 1 +movebob 0.0 -noautoload +cl_showsecretmessage 0 +r_drawfuzz 0")
        try:
            Path("_vizdoom").mkdir(exist_ok=True)  # the engine's own: two that start at once would race to make it
            game.init()
        except Exception as error:
            raise EnvError(f"Doom did not start ({error}). Is {config.iwad} / {config.levels[0]} a level?") from error
        return game

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """A new episode: seed chooses the level, (start, seed) place and view; everything in the level is as new."""
        self._start, self._seed, self._exits = start, seed, 0
        return self._begin()

    def step(self, action: Action) -> Frame:
        """frame_skip tics under the action. Who leaves the level by its exit finds itself in it again, elsewhere."""
        frame = self._act(action, is_seen=True)
        return self._frame() if frame is None else frame

    def skip(self, action: Action) -> None:
        """The same without drawing the frame."""
        self._act(action, is_seen=False)

    def _act(self, action: Action, *, is_seen: bool) -> Frame | None:
        """Gives the first frame of the level where the action has led out of it."""
        self.actions.check(action)
        held = action.buttons
        turn = action.mouse[0] + self.config.turn_degrees * (("turn_right" in held) - ("turn_left" in held))
        turn = float(np.clip(turn, -self.config.mouse_degrees, self.config.mouse_degrees))
        pressed = [float(name in held) for name in BUTTONS if not name.startswith("turn")]
        self._state = None
        self._game.set_action([*pressed, turn / self.config.frame_skip])
        self._game.advance_action(self.config.frame_skip, is_seen)
        if self._game.is_episode_finished():
            self._exits += 1
            return self._begin()
        return None

    def pose(self) -> Pose:
        """Where the player stands now."""
        return Pose(*(float(self._game.get_game_variable(variable)) for variable in self._where))

    def facts(self) -> dict[str, Any]:
        """What is noted beside a recorded step: [x, y, angle]."""
        return {"pose": [round(v, 2) for v in self.pose()]}

    @property
    def grid(self) -> WalkGrid:
        """Where one can walk in the level of this episode; begins one if there is none yet."""
        if self._level not in self._grids:
            self.reset()
        return self._grids[self._level][0]

    def target(self) -> float | None:
        """Degrees to the right of the view's middle at which the nearest monster in view stands; None without one."""
        labels = [label for label in self._now().labels or [] if label.object_name in MONSTERS]
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

    def _begin(self) -> Frame:
        start, seed = self._start, self._seed
        exits = [self._exits] if self._exits else []
        self._level = self.config.level(seed)
        self._game.set_doom_map(self._level)
        self._game.set_seed(draw("engine", start, seed, *exits))
        self._game.new_episode()
        self._state = None
        if self._level not in self._grids:
            self._grids[self._level] = self._explore(self._now())
        _, places = self._grids[self._level]
        rng = np.random.default_rng(draw("start", start, seed, *exits))
        for command in self.config.commands:
            self._game.send_game_command(command)
        self._advance([0.0] * len(ENGINE_BUTTONS), WARM_UP_TICS)
        x, y = places[rng.integers(len(places))]
        self._game.send_game_command(f"warp {x:.0f} {y:.0f}")
        turn = [0.0] * (len(ENGINE_BUTTONS) - 1) + [float(rng.uniform(0, 360))]
        self._advance(turn, 1)
        self._advance([0.0] * len(ENGINE_BUTTONS), 2)
        return self._frame()

    def _explore(self, state: Any) -> tuple[WalkGrid, np.ndarray]:
        """The walk grid of the running level, and the places (N, 2) that something stands at or can walk to."""
        walls = _walls(state)
        if self.config.plan:
            grid = WalkGrid(walls)
            return grid, grid.largest_room()
        grid = WalkGrid(walls, cell=16.0, radius=17.0)  # doors are 64 wide: coarser cells would miss some
        cells: set[Cell] = set()
        for thing in state.objects:
            home = grid.at(thing.position_x, thing.position_y)
            if home not in cells and grid.has(home):
                room = grid.reachable(home).keys()
                if len(room) >= ROOM and not grid.is_outside(room):
                    cells |= room
        return grid, np.asarray([grid.middle(cell) for cell in sorted(cells)])

    def _advance(self, values: list[float], tics: int) -> None:
        self._state = None
        self._game.make_action(values, tics)

    def _now(self) -> Any:
        """The engine's account of this moment, asked for once: it lists every wall of the level."""
        if self._state is None:
            self._state = self._game.get_state()
        return self._state

    def _frame(self) -> Frame:
        return fit(self._now().screen_buffer, self.size_hw)


def fit(image: np.ndarray, size_hw: tuple[int, int]) -> Frame:
    """A rendered picture as a frame: its middle rows, each pixel the mean of a square. EnvError if it is too small."""
    (h, w), (height, width) = size_hw, image.shape[:2]
    scale = width // w
    if width % w or h * scale > height:
        raise EnvError(f"Doom renders {width}x{height}, too small for {w}x{h}, or no multiple: choose another `render`")
    top = (height - h * scale) // 2
    rows = image[top : top + h * scale]
    squares = (rows[i::scale, j::scale] for i in range(scale) for j in range(scale))
    total = sum(square.astype(np.uint32) for square in squares)
    return (total / scale**2).round().astype(np.uint8)


def _vizdoom() -> Any:
    try:
        import vizdoom
    except ImportError as error:
        raise EnvError("the real game needs ViZDoom: pip install -e .[games]") from error
    return vizdoom


def _walls(state: Any) -> np.ndarray:
    """What stops a player, float (N, 4): x1, y1, x2, y2 in map units. Closed doors do not: it can open them."""
    sides = defaultdict(list)
    blocks = set()
    for sector in state.sectors:
        for line in sector.lines:
            ends = (line.x1, line.y1, line.x2, line.y2)
            sides[ends].append((sector.floor_height, sector.ceiling_height))
            if line.is_blocking:
                blocks.add(ends)
    for ends, heights in sides.items():
        floors, ceilings = zip(*heights)
        is_door = any(floor == ceiling for floor, ceiling in heights)
        if max(floors) - min(floors) > STEP or (min(ceilings) - max(floors) < HEADROOM and not is_door):
            blocks.add(ends)
    walls = [list(line) for line in sorted(blocks)]
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
