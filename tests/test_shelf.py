"""What was played before is in the menu: watched, verified, or played on from any frame, by keys, mouse and pad."""

import os

import pygame
import pytest
from test_gamepad import button
from test_menu import DOWN, ENTER, choose, hit, window  # noqa: F401
from test_play import command  # noqa: F401
from test_recorder import Counter, RewindableCounter, press
from test_session import FakeEnv

import play
from worldmodel.action import Action
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.glimpse import look_into
from worldmodel.ui.control import Opening
from worldmodel.ui.events import pump
from worldmodel.ui.pages import Library
from worldmodel.ui.session import Session
from worldmodel.ui.shelf import Shelf
from worldmodel.ui.window import Window


def log(folder, steps, ended, *, env=None, **extra):
    """Leave the log of a run of so many steps, whose last was made at `ended`; gives its folder."""
    about = {"source": "dream", "game": "fake", "extra": {"pictures": False, "world": "fake", **extra}}
    run = Recorder(env or FakeEnv(), folder, **about)
    run.start()
    run.reset()
    path = run.episode_path
    for _ in range(steps):
        run.step(Action({"forward"}) if env is None else Action({"add"}))
    run.close()
    os.utime(path / "actions.jsonl", (ended, ended))
    return path


def menu_of(window, tmp_path, env=None, **options):  # noqa: F811
    library = Library(
        ("fake",), tmp_path / "rec", tmp_path / "keys.json", tmp_path / "s.json", plays=tmp_path / "plays"
    )
    session = Session(env or FakeEnv(), window, library=library, **options)
    session.runner._reset()
    return session


def test_runs_are_listed_newest_first_with_world_length_and_date(window, tmp_path):  # noqa: F811
    session = menu_of(window, tmp_path)
    choose(session, "Runs")
    assert [item.label for item in session.menu.items] == ["nothing here yet"]
    log(tmp_path / "plays/b", 500, 2000.0, world="worlds/b.world")
    log(tmp_path / "plays/a", 1000, 1000.0)
    session = menu_of(window, tmp_path)
    choose(session, "Runs")
    newest, oldest = session.menu.items
    assert newest.value.startswith("b.world, 1 s, 1970-01-01")
    assert oldest.value.startswith("fake, 2 s, 1970-01-01")


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (["watch"], {}),
        (["verify"], {"verify": True}),
        (["take over"], {"branch_at": 900}),
    ],
)
def test_a_run_is_watched_verified_or_taken_over_at_its_end(window, tmp_path, labels, wanted):  # noqa: F811
    path = log(tmp_path / "plays/fake", 900, 1000.0)
    session = menu_of(window, tmp_path)
    choose(session, "Runs", "000000", *labels)
    assert session.wanted == {"replay": str(path), "world": None, **wanted}
    assert session._is_quitting


def test_left_and_right_choose_the_frame_to_take_over_at(window, tmp_path):  # noqa: F811
    log(tmp_path / "plays/fake", 1200, 1000.0)
    session = menu_of(window, tmp_path)
    choose(session, "Runs", "000000")
    left, right = pygame.KSCAN_LEFT, pygame.KSCAN_RIGHT
    hit(session.menu, DOWN, DOWN, right, left, left, right)
    assert "frame 700 of 1200, 1.4 s" in session.menu.items[2].value
    hit(session.menu, left, left, left, left, ENTER)
    assert session.wanted["branch_at"] == 0


def test_a_recording_has_the_same_page(window, tmp_path):  # noqa: F811
    recording = Recorder(Counter(), tmp_path / "rec", source="real", game="counter")
    recording.start()
    recording.reset()
    press(recording, 5)
    recording.stop()
    session = menu_of(window, tmp_path)
    choose(session, "Recordings", "000000", "watch")
    assert session.wanted == {"replay": str(tmp_path / "rec/000000"), "world": None}


def test_a_gamepad_and_a_mouse_reach_a_run_as_keys_do(window, tmp_path):  # noqa: F811
    path = log(tmp_path / "plays/fake", 9, 1000.0)
    session = menu_of(window, tmp_path)
    choose(session, "Runs")
    window.pads.forget()
    button("A", is_down=True)
    pump(window, session.latch)
    session.menu.draw(window.surface)
    where = session.menu._places[1].center
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=where))
    pump(window, session.latch)
    assert session.wanted == {"replay": str(path), "world": None, "verify": True}


def test_a_killed_run_is_counted_and_what_cannot_be_read_offers_nothing(window, tmp_path):  # noqa: F811
    path = log(tmp_path / "plays/fake", 7, 2000.0)
    (path / "meta.json").rename(path / "meta.open.json")
    broken = log(tmp_path / "plays/fake", 7, 1000.0)
    (broken / "meta.json").write_text("{")
    killed, unread = Shelf(lambda: [tmp_path / "plays/fake"])()
    assert (killed.num_steps, killed.facts, unread.facts) == (7, "not finished", "cannot be read")
    session = menu_of(window, tmp_path)
    choose(session, "Runs", "000001")
    assert session.menu.items[0].label == "000000"  # still the list


def test_the_list_is_looked_at_again_only_after_a_while(tmp_path, monkeypatch):
    log(tmp_path, 1, 1000.0)
    shelf = Shelf(lambda: [tmp_path])
    assert len(shelf()) == 1
    log(tmp_path, 1, 2000.0)
    assert len(shelf()) == 1
    monkeypatch.setattr("worldmodel.ui.shelf.LOOK_S", 0.0)
    assert [played.path.name for played in shelf()] == ["000001", "000000"]


def test_a_run_that_is_shown_again_is_taken_over_where_it_stands(window, tmp_path):  # noqa: F811
    opening = Opening([(Action({"attack"}), None)] * 9, lambda env: env.reset(start=1))
    session = menu_of(window, tmp_path, opening=opening)
    for _ in range(4):
        session.runner._step()
    choose(session, "Runs", "take over here")
    session.runner._obey()
    assert session.runner.control.is_players
    assert not session.runner.is_paused
    assert "frame 4: yours from here" in [session.runner.messages.get() for _ in range(session.runner.messages.qsize())]
    choose(session, "Runs")
    assert [item.label for item in session.menu.items] == ["nothing here yet"]


def test_a_recording_that_is_watched_is_taken_over_at_its_frame(window, tmp_path):  # noqa: F811
    recording = Recorder(FakeEnv(), tmp_path / "rec", source="real", game="fake")
    recording.start()
    recording.reset()
    for _ in range(9):
        recording.step(Action())
    recording.stop()
    session = menu_of(window, tmp_path, Replay(tmp_path / "rec/000000"), start=2)
    for _ in range(3):
        session.runner._step()
    choose(session, "Runs", "take over here")
    assert session.wanted == {"replay": str(tmp_path / "rec/000000"), "world": None, "branch_at": 5}


def test_the_picture_of_a_run_is_its_worlds_start_or_the_frame_it_began_at(tmp_path):
    path = log(tmp_path / "plays", 2, 1000.0, world="doom_garden")
    assert look_into(str(path)).shape[2] == 3
    assert look_into(str(log(tmp_path / "plays", 2, 1000.0))) is None
    run = Recorder(RewindableCounter(), tmp_path / "real", source="real", game="c", extra={"pictures": False})
    run.start()
    run.reset()
    press(run, 3)
    run.rewind(2)
    press(run, 1)
    run.close()
    assert (look_into(str(tmp_path / "real/000001")) == 3).all()


@pytest.fixture
def menu_choices(command, monkeypatch):  # noqa: F811
    """play.py in a headless window, in which the menu's choices were made before: gives (choices, notices)."""
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    choices, notices = [], []
    chosen = lambda *args: (notices.append(args[3]), choices.pop(0))[1]  # noqa: E731
    monkeypatch.setattr(play, "play_session", chosen)
    return choices, notices


def test_a_run_is_verified_in_the_window_and_told_in_the_next(command, menu_choices, tmp_path, monkeypatch):  # noqa: F811
    assert command("headless=true", "frames=12")[0] == 0
    choices, notices = menu_choices
    verify = {"replay": "plays/fake/000000", "world": None, "verify": True}
    choices += [verify, verify, {}]
    frame_of = FakeEnv.frame_of
    code, _, err = command()
    assert (code, err) == (0, [])
    assert notices == ["", *["plays/fake/000000: all 13 frames made again, byte by byte"] * 2]
    choices += [verify, {}]
    monkeypatch.setattr(FakeEnv, "frame_of", staticmethod(lambda t: frame_of(t) + (t == 7)))
    assert command()[0] == 0
    assert "frame 7 (0.0 s) is the first that differs" in notices[-1]


def test_who_closes_the_window_while_a_run_is_verified_ends_the_program(command, menu_choices, monkeypatch):  # noqa: F811
    assert command("headless=true", "frames=12")[0] == 0
    choices, notices = menu_choices
    choices += [{"replay": "plays/fake/000000", "world": None, "verify": True}]
    closes = lambda tell: pygame.event.post(pygame.event.Event(pygame.QUIT))  # noqa: E731
    monkeypatch.setattr(play, "verify", lambda replay, env, tell: [closes(tell), *iter(lambda: tell("more"), 0)])
    assert command()[0] == 0
    assert notices == [""]
