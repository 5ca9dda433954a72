"""play.py from the outside: exit codes, one line for each mistake, and the tour where there is no display."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pygame
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_session import FakeEnv, PlainEnv

import play
import worldmodel
from worldmodel.action import Action, ActionSpace
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.data.video import load_image, read_video, save_image
from worldmodel.env import EnvError, EpisodeEnd
from worldmodel.glimpse import buttons_of
from worldmodel.ui.bindings import default_bindings, key_rows
from worldmodel.ui.crop import crop_to
from worldmodel.ui.film import export
from worldmodel.ui.options import OptionError, check_options, parse_script
from worldmodel.ui.tour import tour, tour_script
from worldmodel.ui.window import Window
from worldmodel.venue import safe_name

INFO = {"game": "doom_garden", "licence": "CC0"}
FRAMES = torch.zeros(2, 5, *FakeEnv.size_hw, 3, dtype=torch.uint8)
WORLD = SimpleNamespace(
    name="fake",
    info=INFO,
    starts=["here", "there"],
    start_frames=FRAMES,
    tokenizer=None,
    sha256="0" * 64,
    tier="default",
    tiers={"default": 7},
)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run `python play.py ...` in this process, in an empty folder, with a fake world and no display."""
    monkeypatch.setattr(worldmodel, "load", lambda name, tier: WORLD)
    monkeypatch.setattr(worldmodel, "offer", lambda name: SimpleNamespace(tiers=["default"]))
    monkeypatch.setattr(worldmodel, "Engine", lambda *args, threads, backend: FakeEnv(), raising=False)
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
        ("env=gym", "dream, real, both"),
        ("pace=warp", "realtime, uncapped, turn"),
        ("hud=loud", "off, min, full"),
        ("headless=perhaps", "auto"),
        ("seconds=0", "seconds > 0"),
        ("threads=-1", "at least 1"),
        ("headroom=1", "below 1"),
        ("replay=nowhere", "nowhere"),
        ("start=nowhere.png", "nowhere.png"),
        ("headless=false", "headless=true"),
        ("verify=true", "replay=FOLDER"),
        ("branch_at=3", "replay=FOLDER"),
        ("control=script", "belong together"),
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
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tour.gif", "tour.mp4", "tour.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "plays"]


def test_a_recorded_tour_says_whose_dream_it_was(command, tmp_path):
    assert command("headless=true", "seconds=0.1", "record=true", "steps=1", "seed=5")[0] == 0
    meta = Replay(tmp_path / "recordings/fake/000000").episode.meta
    assert (meta.source, meta.game, meta.seed, meta.world_sha256) == ("dream", "doom_garden", 5, WORLD.sha256)


def recording(folder, env=None, **about):
    recorder = Recorder(env or PlainEnv(), folder, **{"source": "real", "game": "fake", **about})
    recorder.start()
    recorder.reset()
    for _ in range(4):
        recorder.step(Action({"forward"}))
    recorder.close()


@pytest.mark.parametrize("ending", [".mp4", ".gif", ".png"])
def test_a_recording_is_filmed_with_its_keys(command, tmp_path, ending):
    recording(tmp_path / "tape")
    code, out, err = command("replay=tape/000000", "headless=true", f"out=films/a{ending}")
    assert (code, err, out[-1]) == (0, [], f"5 frames; wrote films/a{ending}")
    assert [path.name for path in (tmp_path / "films").iterdir()] == [f"a{ending}"]


def test_the_window_is_opened_where_there_is_a_display(command, monkeypatch):
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, out, err = command("start=1", "fullscreen=true", "frames=5")
    assert (code, err) == (0, [])
    assert out[-2].startswith("5 frames")
    assert out[-1] == "this run again: python play.py replay=plays/fake/000000"


def test_what_is_chosen_in_the_menu_is_played_next(command, monkeypatch, tmp_path):
    recorder = Recorder(PlainEnv(), tmp_path / "tape", source="real", game="fake")
    recorder.start()
    recorder.reset()
    recorder.step(Action())
    recorder.close()
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    played, choices = [], [{"replay": "tape/000000"}, {"world": "other", "replay": None}, {}]
    monkeypatch.setattr(
        play, "play_session", lambda cfg, *rest: (played.append((cfg.world, cfg.start)), choices.pop(0))[1]
    )
    code, out, err = command("start=1")
    assert (code, err) == (0, [])
    assert played == [(None, 1), (None, 0), ("other", 0)]
    stages = [line.split(":")[0] for line in out]
    assert stages == ["reading doom_garden", "waking the network", "reading other", "waking the network"]


def test_a_wrong_file_of_keys_is_answered_in_one_line(command, monkeypatch, tmp_path):
    (tmp_path / "keys.json").write_text('{"forward": ["Hyper"]}')
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, _, err = command("frames=3")
    assert code == 2
    assert "keys.json: no key 'Hyper'" in err[0]


def test_python_play_py_speaks_one_line():
    """Hydra prints errors of its own; only a real process shows that it was silenced."""
    path = Path(play.__file__)
    done = subprocess.run([sys.executable, path, "steps=two"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("world", ["doom_garden", "racer"])
def test_help_shows_the_key_table_of_the_program(command, world):
    """It only told of F1."""
    code, out, err = command("--help", f"world={world}")
    space = buttons_of([f"world={world}"])
    rows = [" ".join((keys + " " + does).split()) for keys, does in key_rows(space, default_bindings(space.buttons))]
    assert (code, err) == (0, [])
    assert [" ".join(line.split()) for line in out[-len(rows) :]] == rows


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_help_of_which_only_the_beginning_is_read_is_no_error():
    words = [sys.executable, "play.py", "--help"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(play.__file__).parent
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 0


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
    seen = tour(env, 30, tmp_path / "new", seed=3)
    assert env.resets == [(0, 3)]
    assert len(env.taken) == seen.stats.num_frames == 30
    video, gif, sheet = seen.files
    assert read_video(video).shape == (31, 360, 480, 3)
    assert gif.stat().st_size > 100
    assert load_image(sheet).shape[0] > 4 * 6
    assert seen.fps > 0 < seen.p99_ms


def test_a_tour_begins_again_when_the_episode_ends(tmp_path):
    def on_step(n):
        if n == 3:
            raise EpisodeEnd

    env = PlainEnv(on_step)
    assert tour(env, 10, tmp_path).stats.num_frames == 10
    assert env.resets == [(0, 0), (0, 0)]


def test_a_film_shows_the_pressed_keys(tmp_path):
    grey = [np.full((60, 80, 3), 90, np.uint8)] * 3
    for name, action in (("idle", Action()), ("held", Action({"forward"}))):
        export([tmp_path / f"{name}.png"], grey, [action] * 2, PlainEnv.actions, 10.0)
    idle, held = (load_image(tmp_path / f"{name}.png") for name in ("idle", "held"))
    assert (idle[:, :80] == held[:, :80]).all()  # no action has led to the first frame
    assert (idle != held).any()
    with pytest.raises(ValueError, match=r"\.mp4, \.gif or \.png"):
        export([tmp_path / "a.avi"], grey, [Action()] * 2, PlainEnv.actions, 10.0)


SPACE = ActionSpace(("forward", "turn_left", "attack"), (20.0, 0.0))


def test_a_script_is_what_it_says():
    assert parse_script("forward*2, left+fire, wait, look:3:-1*2", SPACE) == [
        *[Action({"forward"})] * 2, Action({"turn_left", "attack"}), Action(), *[Action((), (3.0, -1.0))] * 2,
    ]  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from(SPACE.buttons), min_size=1), st.integers(1, 9)), min_size=1))
def test_any_script_comes_back(items):
    text = ",".join(f"{'+'.join(names)}*{count}" for names, count in items)
    assert parse_script(text, SPACE) == [Action(names) for names, count in items for _ in range(count)]


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet="forwadlk*+,:0123 -eé", max_size=20))
def test_no_text_breaks_the_parser(text):
    try:
        assert all(isinstance(action, Action) for action in parse_script(text, SPACE))
    except OptionError:
        return


@pytest.mark.parametrize(
    "text", ["", "forward*", "forward*0", "fly", "forward,,left", "look:x", "look:nan", "wait*9999999"]
)
def test_a_wrong_script_says_what_there_is(text):
    with pytest.raises(OptionError, match="script"):
        parse_script(text, SPACE)


def test_a_script_is_filmed_to_one_file(command, tmp_path):
    code, out, err = command(
        "headless=true", "control=script", "script=forward*8,left*4,fire", "frames=20", "out=films/a.mp4"
    )
    assert (code, err) == (0, [])
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["a.mp4"]
    assert len(read_video(tmp_path / "films/a.mp4")) == 21
    assert out[-1].startswith("tour: 20 frames")


def recorded(command, tmp_path):
    assert command("headless=true", "frames=12", "record=true")[0] == 0
    return "replay=recordings/fake/000000"


def test_a_recording_is_made_again_and_the_first_difference_is_named(command, tmp_path, monkeypatch):
    replay = recorded(command, tmp_path)
    assert command(replay, "verify=true")[1][-1].endswith("all 13 frames made again, byte by byte")
    frame_of = FakeEnv.frame_of
    monkeypatch.setattr(FakeEnv, "frame_of", staticmethod(lambda t: frame_of(t) + (t == 7)))
    code, _, err = command(replay, "verify=true")
    assert code == 2
    assert "frame 7 (0.0 s) is the first that differs" in err[0]


def test_a_recording_of_another_world_is_not_made_again(command, tmp_path, monkeypatch):
    replay = recorded(command, tmp_path)
    monkeypatch.setattr(WORLD, "sha256", "1" * 64)
    code, _, err = command(replay, "verify=true")
    assert code == 2
    assert "another world" in err[0]


def test_a_player_takes_over_at_a_frame_of_a_recording(command, tmp_path, monkeypatch):
    replay = recorded(command, tmp_path)
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, out, err = command(replay, "branch_at=9", "frames=12")
    assert (code, err) == (0, [])
    assert "frame 9: yours from here" in out
    assert "frames 0 to 12" in command(replay, "branch_at=13")[2][0]


def test_settings_stand_between_the_conf_and_the_command_line(command, monkeypatch, tmp_path):
    seen = []
    kept = lambda cfg, notice: (seen.append((cfg.scale, cfg.dead_zone, cfg.hud)), (None, None))[1]  # noqa: E731
    monkeypatch.setattr(play, "play", kept)
    (tmp_path / "settings.json").write_text('{"scale": "fit", "dead_zone": 0.3}')
    assert command("dead_zone=0.1")[0] == 0
    assert seen == [("fit", 0.1, "min")]


@pytest.mark.parametrize("text", ["{", '{"scale": "huge"}', '{"dead_zone": 2}'])
def test_a_wrong_file_of_settings_is_answered_in_one_line(command, tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    code, _, err = command("headless=true")
    assert code == 2
    assert len(err) == 1
    assert "settings.json" in err[0]


def test_what_cannot_be_opened_from_the_menu_is_said_and_play_goes_on(command, monkeypatch, tmp_path):
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    played, choices = [], [{"replay": "gone", "world": None}, {}]
    monkeypatch.setattr(
        play, "play_session", lambda cfg, venue, window, notice: (played.append(notice), choices.pop(0))[1]
    )
    code, out, err = command()
    assert (code, err) == (0, [])
    assert played[0] == ""
    assert played[1].startswith("gone")
    assert played[1] in out


def test_the_size_of_the_window_is_found_again(command, monkeypatch, tmp_path):
    monkeypatch.setattr(play, "has_display", lambda: True)
    sizes = []
    monkeypatch.setattr(play, "Window", lambda *args: (sizes.append(args[4]), Window(*args, allow_headless=True))[1])
    resized = lambda *args: (pygame.display.set_mode((333, 222), pygame.RESIZABLE), {})[1]  # noqa: E731
    monkeypatch.setattr(play, "play_session", resized)
    assert [command()[0], command()[0]] == [0, 0]
    assert sizes == [None, [333, 222]]
