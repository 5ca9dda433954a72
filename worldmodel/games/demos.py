"""Human play of Doom: demo files of the original game, and their pictures by another engine.

Demo, read_demo   the .lmp file: what every player pressed in every tic
Step, to_action   the commands of a step -> Action
Program, film     dsda-doom shows a player's view, one picture a tic
track, lives      where every player was in every tic, and the stretches without a death or a jump

A demo is only true with the levels (the WAD) it was played in; ZDoom, and so ViZDoom, cannot play it at all.
Not here: writing episodes (train/demos.py).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from worldmodel.action import Action
from worldmodel.env import EnvError, Frame

VERSION, END, HEADER = 109, 0x80, 13  # Doom 1.9; the byte after the last tic; bytes before the first
DEGREES = 360 / 256  # of a unit of turn; + is left
HELD = 12  # of 25 when walking and 50 when running: less is a mouse that slipped
ATTACK, USE, CHANGE = 1, 2, 4  # bits of a command's fourth byte; with CHANGE the weapon's slot in the three above
ALIVE = 6  # the last picture of a player's sprite that is not a dying one
JUMP = 64.0  # map units a tic: further is a teleport or a new life; the fastest move measured is 41
LOWER = 2  # rows: how much lower than ViZDoom's its view lies (measured on eight levels)
SETTINGS = {
    "uncapped_framerate": "0", "cap_fps": "35", "render_wipescreen": "0", "ansi_endoom": "0", "use_fullscreen": "0",
    "screenblocks": "11", "hud_displayed": "0", "show_messages": "0",  # the whole picture, nothing written on it
    "hudadd_secretarea": "0", "hudadd_demoprogressbar": "0", "hudadd_crosshair": "0",
    "palette_ondamage": "0", "palette_onbonus": "0", "palette_onpowers": "0",  # as games/doom.py: no flashes ...
    "dsda_strict_mode": "0", "dsda_viewbob": "0", "dsda_weaponbob": "0",  # ... and no bobbing
    "render_stretchsky": "0",
    "cap_soundcommand": '"cat > /dev/null"', "cap_muxcommand": '"true"', "cap_remove_tempfiles": "0",
}  # fmt: skip

QUIET = (
    "-nosound", "-nomouse", "-nojoy", "-noautoload", "-no_message_box", "-config", "settings", "-data", ".",
    "-save", ".",
)  # fmt: skip
NO_SCREEN = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}


@dataclass(frozen=True)
class Demo:
    """One demo. commands int8 (T, P, 4): forward, sideways (+ right), turn (+ left), buttons; of P players, T tics."""

    name: str
    data: bytes
    commands: np.ndarray

    @property
    def level(self) -> str:
        """Episode and map, as in the file."""
        return f"E{self.data[2]}M{self.data[3]}"


@dataclass(kw_only=True)
class Wad:
    """A file of levels. path: beside ViZDoom's package if it is relative; sha256: of the one the demos were made in."""

    path: str
    sha256: str


def read_demo(path: Path) -> Demo:
    """An .lmp or .lmp.gz of Doom 1.9. ValueError if it is none or is torn."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: a damaged gzip file ({error}). Restore it.") from error
    players = sum(data[9:HEADER])
    if len(data) < HEADER or data[0] != VERSION or not 1 <= players <= 4:
        raise ValueError(f"{path}: no demo of Doom 1.9 (its first byte is no {VERSION}, or it has no players)")
    end = HEADER
    while end < len(data) and data[end] != END:  # no player walks at -128; another engine's notes may follow
        end += 4 * players
    if end >= len(data):
        raise ValueError(f"{path}: the demo breaks off, its end mark is missing. Restore it.")
    commands = np.frombuffer(data[HEADER:end], np.int8).reshape(-1, players, 4)
    return Demo(path.name.split(".")[0], data, commands)


def to_action(commands: np.ndarray, most_degrees: float) -> tuple[Action, int | None]:
    """The action of a step of n tics, int8 (n, 4), and the weapon's slot (0 to 7) if it was changed in it.

    Legs are held from half of a walk on, on average; attack and use if they are in any tic. All turns, of keys and of
    the mouse alike, are the sum of what the game turned, as mouse, at most `most_degrees`.
    """
    forward, side, turn = commands[:, :3].astype(int).T
    bits = [int(b) for b in commands[:, 3].astype(np.uint8) if b < END]  # above: a pause or a saved game
    held = set()
    for value, names in ((forward.mean(), ("forward", "backward")), (side.mean(), ("strafe_right", "strafe_left"))):
        if abs(value) >= HELD:
            held.add(names[int(value < 0)])
    held |= {name for bit, name in ((ATTACK, "attack"), (USE, "use")) if any(b & bit for b in bits)}
    degrees = float(np.clip(-DEGREES * turn.sum(), -most_degrees, most_degrees))
    slots = [b >> 3 & 7 for b in bits if b & CHANGE]
    return Action(held, (round(degrees, 3) + 0.0, 0.0)), slots[-1] if slots else None


def find_wad(wad: Wad) -> Path:
    """Where it lies. EnvError with the remedy if it does not, or if it is another version's."""
    spec = find_spec("vizdoom")
    path = Path(spec.origin).parent / wad.path if spec and spec.origin else Path(wad.path)
    if not path.is_file():
        raise EnvError(f"{path}: not found. Install what has it: apt-get install freedoom freedm; pip install vizdoom")
    if hashlib.sha256(path.read_bytes()).hexdigest() != wad.sha256:
        raise EnvError(f"{path}: another version than the demos were played in; they would go through walls in it")
    return path


def track(demo: Demo, wad: Path) -> np.ndarray:
    """Where the players were after tic t: float (T - 1, P, 5): x, y in map units, degrees, picture of the sprite, map.

    EnvError if dsda-doom is missing or fails.
    """
    with _running(demo, wad, ["-nodraw", "-export_ghost", "track.gst"]) as (pictures, folder):
        pictures.read()  # none; it ends with the program
        data = (folder / "track.gst").read_bytes() if (folder / "track.gst").exists() else b""
    tics, players = len(demo.commands) - 1, demo.commands.shape[1]
    if len(data) != 8 + tics * players * 36:
        raise EnvError(f"dsda-doom did not play {demo.name} to its end ({len(data)} bytes of track). Is it 0.25.6?")
    raw = np.frombuffer(data, "<i4", offset=8).reshape(tics, players, 9)  # after a version and the players' number
    angle = raw[..., 3].astype(np.int64) % 2**32 * 360 / 2**32
    return np.stack([raw[..., 0] / 65536, raw[..., 1] / 65536, angle, raw[..., 5] & 0x7FFF, raw[..., 6]], -1)


def lives(track: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Stretches of one player's track (T, 5) without death, jump or new level: (first, last) frame of each.

    Those of less than `shortest` tics are left out, and frame 0 too: nothing is drawn yet.
    """
    ends = (track[1:, 3] > ALIVE) | (track[:-1, 3] > ALIVE) | (track[1:, 4] != track[:-1, 4])
    ends |= np.hypot(*np.diff(track[:, :2], axis=0).T) > JUMP
    borders = [0, *(np.flatnonzero(ends[1:]) + 1), len(track) - 1]  # ends[i] lies between frames i and i + 1
    return [(int(a) + 1, int(b)) for a, b in pairwise(borders) if b - a - 1 >= shortest]


def film(demo: Demo, wad: Path, player: int, size_hw: tuple[int, int], art: Path | None = None) -> Iterator[Frame]:
    """What a player saw after each tic, uint8 (H, W, 3), one by one: frame t + 1 follows frame t by commands[t + 1].

    size_hw: of the engine's picture, as ViZDoom renders it; art: a WAD whose pictures stand for the level's own.
    EnvError as track.
    """
    height, width = size_hw
    count = 0
    options = ["-geom", f"{width}x{height + LOWER}w", "-viddump", "film", "-consoleplayer", str(player)]
    options += ["-file", str(art)] if art else []
    with _running(demo, wad, options) as (pictures, _):
        words = pictures.readline().split()
        shown = (int(words[1]), int(words[0]), 3) if len(words) == 2 else (0, 0, 3)
        scale = shown[1] // width  # small pictures are shown enlarged, each pixel as a square
        while scale and len(data := pictures.read(int(np.prod(shown)))) == np.prod(shown):
            yield np.frombuffer(data, np.uint8).reshape(shown)[LOWER * scale :: scale, ::scale]
            count += 1
    if count != len(demo.commands):
        raise EnvError(f"dsda-doom showed {count} of {len(demo.commands)} pictures of {demo.name}. Is it 0.25.6?")


@contextmanager
def _running(demo: Demo, wad: Path, options: list[str]) -> Iterator[tuple[BinaryIO, Path]]:
    """dsda-doom playing a demo as fast as it can: the stream of its pictures, and the folder it works in."""
    import fcntl  # Linux, as the rest of this

    program = shutil.which("dsda-doom", path=os.environ.get("PATH", "") + ":/usr/games")
    if not program:
        raise EnvError("human demos need the program dsda-doom: apt-get install dsda-doom freedoom freedm")
    out, pipe = os.pipe()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)  # a picture at a time, not a sixteenth
    with tempfile.TemporaryDirectory(prefix="worldmodel-demo-") as name, open(out, "rb") as pictures:
        folder = Path(name)
        (folder / "demo.lmp").write_bytes(demo.data)
        settings = SETTINGS | {"cap_videocommand": f'"(echo %w %h; cat) > /dev/fd/{pipe}"'}
        (folder / "settings").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        process = subprocess.Popen(
            [program, "-iwad", str(wad), "-timedemo", "demo.lmp", *QUIET, *options], cwd=folder, pass_fds=[pipe],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": name, "XDG_RUNTIME_DIR": name} | NO_SCREEN,
        )  # fmt: skip
        os.close(pipe)
        try:
            yield pictures, folder
        finally:
            process.kill()
            process.wait()
