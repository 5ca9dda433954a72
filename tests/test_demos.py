"""Human play: the demo files hold what they promise, and a command becomes the action that does the same."""

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.demos import alignment
from worldmodel.action import Action, ActionSpace
from worldmodel.config import load_yaml
from worldmodel.data.episode import Meta
from worldmodel.data.recorder import EpisodeWriter
from worldmodel.env import EnvError
from worldmodel.games import demos
from worldmodel.games.demos import Wad, find_wad, lives, read_demo, to_action, track

FOLDER = Path(__file__).parent.parent / "assets/demos"


def demo_bytes(*commands, players=(1, 0, 0, 0)):
    """A demo of E2M3; each command four bytes, + left."""
    header = bytes([109, 3, 2, 3, 0, 0, 0, 0, 0, *players])
    return header + b"".join(bytes(np.asarray(c, np.int8)) for c in commands) + b"\x80 a note of another engine"


def command(forward=0, side=0, turn=0, buttons=0):
    return (forward, side, turn, buttons)


def test_the_demos_of_the_project_are_all_here():
    found = [read_demo(path) for path in sorted(FOLDER.glob("*.lmp.gz"))]
    players = [demo.commands.shape[1] for demo in found]
    assert (len(found), sum(players), max(players)) == (20, 37, 4)
    assert sum(demo.commands.shape[0] * demo.commands.shape[1] for demo in found) == 155_413
    assert {demo.name.rpartition("_")[0] for demo in found} == set(load_yaml("conf/demos.yaml").wads)
    assert set(load_yaml("conf/demos.yaml").heldout) < {demo.name for demo in found}


def test_a_demo_is_read_up_to_its_end_mark(tmp_path):
    path = tmp_path / "some_DEMO1.lmp.gz"
    path.write_bytes(gzip.compress(demo_bytes(*[command(50, 0, -3), command(0, -40)] * 3, players=(1, 1, 0, 0))))
    demo = read_demo(path)
    assert (demo.name, demo.level, demo.commands.shape) == ("some_DEMO1", "E2M3", (3, 2, 4))
    assert demo.commands[2].tolist() == [[50, 0, -3, 0], [0, -40, 0, 0]]


@pytest.mark.parametrize("data", [b"", b"IWAD" * 9, demo_bytes(command())[:15], demo_bytes(players=(0, 0, 0, 0))])
def test_what_is_no_whole_demo_is_refused(tmp_path, data):
    path = tmp_path / "x.lmp"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.lmp"):
        read_demo(path)


@pytest.mark.parametrize(
    ("commands", "buttons", "degrees"),
    [
        ([command(50), command(50)], {"forward"}, 0),
        ([command(25), command(25)], {"forward"}, 0),
        ([command(-50), command(0)], {"backward"}, 0),
        ([command(9), command(-4)], set(), 0),
        ([command(0, 40), command(0, 24)], {"strafe_right"}, 0),
        ([command(50, -40), command(50, -40)], {"forward", "strafe_left"}, 0),
        ([command(0, 0, 4), command(0, 0, 1)], set(), -7.031),  # + is left in a demo and right here
        ([command(0, 0, -100), command(0, 0, -100)], set(), 30),
        ([command(0, 0, 0, 1), command(0, 0, 0, 2)], {"attack", "use"}, 0),
        ([command(0, 0, 0, -127)], set(), 0),  # a pause
    ],
)
def test_a_command_becomes_the_action_that_does_the_same(commands, buttons, degrees):
    assert to_action(np.asarray(commands, np.int8), 30.0) == (Action(buttons, (degrees, 0.0)), None)


def test_a_change_of_weapon_is_told():
    assert to_action(np.asarray([command(0, 0, 0, 4 | 2 << 3 | 1)], np.int8), 30.0) == (Action({"attack"}), 2)


def test_a_life_ends_with_death_a_jump_or_a_level():
    walk = np.zeros((40, 5))
    walk[:, 0] = np.arange(40) * 20  # x
    walk[10:15, 3] = [7, 8, 9, 10, 11]  # dying
    walk[24:, 1] = 500  # a teleport between 23 and 24
    walk[37:, 4] = 2  # the next level
    assert lives(walk, 5) == [(1, 9), (15, 23), (24, 36)]


def test_other_levels_than_the_demos_were_played_in_are_refused(tmp_path):
    (tmp_path / "a.wad").write_bytes(b"PWAD")
    with pytest.raises(EnvError, match="another version"):
        find_wad(Wad(path=str(tmp_path / "a.wad"), sha256="0" * 64))
    with pytest.raises(EnvError, match="apt-get install"):
        find_wad(Wad(path=str(tmp_path / "b.wad"), sha256="0" * 64))


def test_without_the_program_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(demos.shutil, "which", lambda *_, **__: None)
    with pytest.raises(EnvError, match="apt-get install dsda-doom"):
        track(read_demo(next(FOLDER.glob("*.gz"))), tmp_path / "a.wad")


def film_of_turns(path, late):
    """An episode in a world that is a wide picture, turned to by one pixel a degree, `late` steps after the action."""
    rng = np.random.default_rng(3)
    scene = rng.integers(0, 255, (8, 900, 1), np.uint8).repeat(3, -1).repeat(4, 0)
    turns = rng.integers(-8, 9, 40)
    meta = Meta(source="real", game="x", fps=17.5, size_hw=(32, 48), action_space=ActionSpace(("a",), (30.0, 0.0)))
    writer = EpisodeWriter(path, meta)
    places = 450 + np.cumsum(np.r_[np.zeros(1 + late, int), turns])
    for t in range(len(turns) + 1):
        frame = scene[:, places[t] : places[t] + 48]
        writer.first(frame) if t == 0 else writer.add(Action((), (float(turns[t - 1]), 0.0)), frame)
    writer.close()


@pytest.mark.parametrize("late", [0, 1])
def test_frames_that_do_not_follow_their_actions_are_noticed(tmp_path, late):
    film_of_turns(tmp_path / "e", late)
    if late:
        with pytest.raises(RuntimeError, match="do not follow"):
            alignment([tmp_path / "e"])
    else:
        assert "+0: 1.00" in alignment([tmp_path / "e"])


@pytest.mark.game
@pytest.mark.skipif(not shutil.which("dsda-doom", path="/usr/games:/usr/bin"), reason="needs the program dsda-doom")
def test_the_program_turns_as_the_commands_say():
    wads = load_yaml("conf/demos.yaml").wads
    demo = read_demo(FOLDER / "freedoom2_012_DEMO3.lmp.gz")
    try:
        wad = find_wad(Wad(**wads.freedoom2_012))
    except EnvError as error:
        pytest.skip(str(error))
    way = track(demo, wad)[:, 0]
    ((first, last),) = lives(way, 70)  # the player dies at the end, and is turned to look at who did it
    turned = (np.diff(way[first : last + 1, 2]) + 180) % 360 - 180
    assert last > 2500
    assert np.abs(turned - demo.commands[first + 1 : last + 1, 0, 2] * demos.DEGREES).max() < 1e-6


def test_missing_levels_are_told_before_any_work(tmp_path):
    lost = [f"wads.{name}.path=nowhere.wad" for name in ("freedoom1_013", "freedoom2_013")]
    command = [sys.executable, "-m", "train.demos", "only=freedoom", f"out={tmp_path}/data", *lost]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "not found. Install what has it" in done.stderr
    assert not (tmp_path / "data").exists()
