"""play.py from the outside: exit codes, one line for each mistake, and the tour where there is no display."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_session import FakeEnv, PlainEnv

import play
import worldmodel
from worldmodel.action import Action, ActionSpace
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.data.video import load_image, read_video, save_image
from worldmodel.env import EnvError, EpisodeEnd
from worldmodel.ui.options import OptionError, check_options, crop_to, safe_name
from worldmodel.ui.tour import tour, tour_script
from worldmodel.ui.window import Window

INFO = {"game": "doom_garden", "licence": "CC0"}
WORLD = SimpleNamespace(name="fake", info=INFO, starts=["here", "there"], sha256="0" * 64)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run `python play.py ...` in this process, in an empty folder, with a fake world and no display."""
    monkeypatch.setattr(worldmodel, "load", lambda name: WORLD)
    monkeypatch.setattr(worldmodel, "Engine", lambda *args, threads, compile: FakeEnv(), raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["play.py", *arguments])
        try:
            code = play.run()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("wrld=doom", "Did you mean world="),
        ("+fly=1", "The options are world, env,"),
        ("doom", "not option=value"),
        ("steps=two", "steps"),
        ("steps=[", "input '['"),
        ("env=gym", "dream, real"),
        ("pace=warp", "realtime, uncapped, turn"),
        ("hud=loud", "off, min, full"),
        ("headless=perhaps", "auto"),
        ("seconds=0", "seconds > 0"),
        ("replay=nowhere", "nowhere"),
        ("start=nowhere.png", "nowhere.png"),
        ("headless=false", "headless=true"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_with_exit_code_2(command, argument, remedy):
    code, _, err = command(argument)
    assert code == 2
    assert len(err) == 1
    assert remedy in err[0]


def test_a_broken_world_and_a_missing_game_are_answered_in_one_line(command, monkeypatch):
    monkeypatch.setattr("worldmodel.games.open_game", raising(EnvError("pip install worldmodel[games]")))
    assert command("env=real")[::2] == (2, ["play.py: pip install worldmodel[games]"])
    monkeypatch.setitem(INFO, "game", "../chess")
    assert "chess.yaml" in command("env=real")[2][0]
    monkeypatch.setattr(worldmodel, "load", raising(ValueError("no world 'x'.\nThere is: doom")))
    assert command("world=x")[::2] == (2, ["play.py: no world 'x'. There is: doom"])


def test_a_bug_is_one_line_too_but_not_the_players_fault(command, monkeypatch):
    monkeypatch.setattr(worldmodel, "Engine", raising(RuntimeError("cuda fell over")))
    code, _, err = command()
    assert code == 1
    assert err == ["play.py: cuda fell over (RuntimeError; WORLDMODEL_TRACEBACK=1 shows where)"]


def test_without_a_display_the_tour_is_played_and_nothing_else_is_written(command, tmp_path):
    code, out, err = command("seconds=0.1")
    assert (code, err) == (0, [])
    assert out[0] == "no display: playing a tour of 0.1 s instead"
    assert [line.split(":")[0] for line in out[1:]] == ["fake (dream)", "first frame", "tour"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["out", "tour.gif", "tour.mp4", "tour.png"]


def test_a_recorded_tour_says_whose_dream_it_was(command, tmp_path):
    assert command("headless=true", "seconds=0.1", "record=true", "steps=1", "seed=5")[0] == 0
    meta = Replay(tmp_path / "recordings/fake/000000").episode.meta
    assert (meta.source, meta.game, meta.seed, meta.world_sha256) == ("dream", "doom_garden", 5, WORLD.sha256)


def test_a_recording_can_be_watched(command, tmp_path):
    recorder = Recorder(PlainEnv(), tmp_path / "tape", source="real", game="fake")
    recorder.start()
    recorder.reset()
    for _ in range(4):
        recorder.step(Action())
    recorder.close()
    assert command("replay=tape/000000", "headless=true", "seconds=0.01")[0] == 0


def test_the_window_is_opened_where_there_is_a_display(command, monkeypatch):
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, out, err = command("start=1", "fullscreen=true", "frames=5")
    assert (code, err) == (0, [])
    assert out[-1].startswith("5 frames")


def test_python_play_py_speaks_one_line():
    """Hydra prints errors of its own; only a real process shows that it was silenced."""
    path = Path(play.__file__)
    done = subprocess.run([sys.executable, path, "steps=two"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_options_of_hydra_and_known_ones_pass():
    check_options(["seed=3", "hydra.job.name=x", "--help", "+seed=4"], ["seed", "world"])
    with pytest.raises(OptionError, match="Did you mean seed="):
        check_options(["sed=3"], ["seed", "world"])


def test_a_worlds_name_cannot_leave_the_folder_of_recordings():
    assert safe_name("../../etc/x\x1b[2J") == "______etc_x__2J"
    assert safe_name("doom_garden-2") == "doom_garden-2"


def test_any_picture_can_be_a_start(tmp_path):
    """The left half red, the right half blue, cut from 5 : 1 to 4 : 3 around the middle."""
    image = np.zeros((30, 150, 3), np.uint8)
    image[:, :75], image[:, 75:] = (255, 0, 0), (0, 0, 255)
    save_image(tmp_path / "start.png", image)
    frame = crop_to(load_image(tmp_path / "start.png"), (6, 8))
    assert (frame.shape, frame.dtype) == ((6, 8, 3), np.uint8)
    assert frame[:, 0].tolist() == [[255, 0, 0]] * 6
    assert frame[:, -1].tolist() == [[0, 0, 255]] * 6
    np.testing.assert_array_equal(crop_to(frame, (12, 16)), frame.repeat(2, axis=0).repeat(2, axis=1))


def test_a_tour_uses_every_button_and_the_mouse():
    space = ActionSpace(("forward", "turn_left", "strafe_right", "attack", "dance"), (20.0, 0.0))
    script = tour_script(space, fps=10.0)
    actions = [script(step) for step in range(120)]
    assert set().union(*(action.buttons for action in actions)) == set(space.buttons)
    assert {np.sign(action.mouse[0]) for action in actions} == {-1, 0, 1}
    assert all(abs(action.mouse[0]) <= 20 and action.mouse[1] == 0 for action in actions)


def test_a_tour_writes_a_readable_film_and_measures_the_steps(tmp_path):
    env = PlainEnv()
    seen = tour(env, seconds=30 / env.fps, out=tmp_path / "new", seed=3)
    assert env.resets == [(0, 3)]
    assert len(env.taken) == seen.stats.num_frames == 30
    assert read_video(seen.video).shape == (30, 360, 480, 3)
    assert load_image(seen.sheet).shape[0] > 4 * 6
    assert seen.fps > 0 < seen.p99_ms


def test_a_tour_begins_again_when_the_episode_ends(tmp_path):
    def on_step(n):
        if n == 3:
            raise EpisodeEnd

    env = PlainEnv(on_step)
    assert tour(env, seconds=10 / env.fps, out=tmp_path).stats.num_frames == 10
    assert env.resets == [(0, 0), (0, 0)]
