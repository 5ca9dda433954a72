"""The menu: reachable by keys alone, a click is Enter, and Esc never quits."""

import json
import threading

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_session import FakeEnv, idle
from test_window import key, post

from worldmodel.action import Action, ActionError, ActionSpace
from worldmodel.data.recorder import Recorder
from worldmodel.data.states import Slots
from worldmodel.data.video import read_video, save_image
from worldmodel.ui.crop import crop_to
from worldmodel.ui.events import pump
from worldmodel.ui.keyfile import load_keys, save_keys
from worldmodel.ui.keymap import Command, code_of
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.pages import Library
from worldmodel.ui.paint import LIT, fitted
from worldmodel.ui.pictures import Pictures
from worldmodel.ui.session import Session
from worldmodel.ui.settings import load_settings
from worldmodel.ui.window import Window

UNIT = 22  # of a menu in the window of these tests, 816 x 612
UP, DOWN, ENTER, ESC = pygame.KSCAN_UP, pygame.KSCAN_DOWN, pygame.KSCAN_RETURN, pygame.KSCAN_ESCAPE


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = Window("test", FakeEnv.size_hw, allow_headless=True)
    pygame.event.clear()
    yield opened
    opened.close()


def hit(menu, *codes):
    for code in codes:
        menu.handle(pygame.event.Event(pygame.KEYDOWN, scancode=code, key=0, mod=0))


def small():
    done = []
    pages = {
        "A": lambda: [Item("a1", lambda: done.append("a1")), Item("a2", stays=True, act=lambda: done.append("a2"))]
    }
    pages["Empty"] = lambda: []
    menu = Menu(pages, [Item("go on", lambda: done.append("go on"))], [Item("quit", lambda: done.append("quit"))])
    menu.open()
    return menu, done


def test_keys_walk_through_pages_and_act():
    menu, done = small()
    hit(menu, DOWN, ENTER, DOWN, ENTER)
    assert (done, menu.is_open) == (["a2"], True)
    hit(menu, UP, ENTER)
    assert (done, menu.is_open) == (["a2", "a1"], False)
    menu.open()
    hit(menu, UP, ENTER)
    assert done[-1] == "quit"


def test_escape_goes_back_and_then_closes():
    menu, done = small()
    hit(menu, DOWN, DOWN, ENTER, ENTER, ESC)
    assert menu.is_open
    assert [item.label for item in menu.items] == ["go on", "A ...", "Empty ...", "quit"]
    hit(menu, ESC)
    assert not menu.is_open
    assert done == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from([UP, DOWN, ENTER, ESC, pygame.KSCAN_W]), max_size=30))
def test_no_sequence_of_keys_breaks_it(codes):
    menu, _ = small()
    surface = pygame.Surface((200, 120))
    for code in codes:
        if not menu.is_open:
            menu.open()
        hit(menu, code)
        menu.draw(surface)


def test_the_pace_is_chosen_in_the_menu_and_kept(window, tmp_path):
    """Who has a slow machine had to know an option for it."""
    session = table(window, tmp_path, pace="realtime")
    choose(session, "Display")
    hit(session.menu, pygame.KSCAN_RIGHT, pygame.KSCAN_RIGHT)
    assert session.runner.pace == "turn"
    assert load_settings(tmp_path / "settings.json")["pace"] == "turn"


@pytest.mark.parametrize(
    ("label", "value"), [("short", "a value " * 9), ("a label " * 9, "short"), ("long " * 9, "long " * 9)]
)
def test_label_and_value_of_an_item_keep_apart(monkeypatch, label, value):
    drawn = []
    monkeypatch.setattr(
        "worldmodel.ui.menu.fitted", lambda text, *how: (drawn.append(fitted(text, *how)), drawn[-1])[1]
    )
    menu = Menu({}, [Item(label, value=value)], [])
    menu.draw(pygame.Surface((320, 240)))
    _, label_drawn, value_drawn = drawn
    assert label_drawn.get_width() + value_drawn.get_width() < 320 * 3 // 5
    assert min(label_drawn.get_width(), value_drawn.get_width()) > 8


def test_a_click_does_what_enter_does():
    menu, done = small()
    menu.draw(pygame.Surface((640, 480)))
    where = menu._places[3].center
    menu.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=where))
    menu.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=where, button=1))
    assert done == ["quit"]


def table(window, tmp_path, **options):
    library = Library(("first", "second"), tmp_path / "rec", tmp_path / "keys.json", tmp_path / "settings.json")
    slots = Slots(tmp_path / "saves", "fake", "here")
    session = Session(FakeEnv(), window, library=library, slots=slots, num_starts=3, **options)
    session.runner._reset()
    return session


def choose(session, *labels):
    """Open the menu and go through these items, by keys."""
    session._obey(Command.ESCAPE)
    for label in labels:
        names = [item.label.removesuffix(" ...") for item in session.menu.items]
        hit(session.menu, *[DOWN] * names.index(label), ENTER)
        session.menu.draw(session.window.surface)


def test_everything_is_reached_by_keys_alone(window, tmp_path):
    session = table(window, tmp_path)
    choose(session, "Starts", "start 2")
    session.runner._obey()
    assert session.runner.env.resets[-1] == (2, 0)
    choose(session, "Save", "slot 3")
    session.runner._obey()
    assert session.runner.saving.slots.peek(3).frame_index == 0
    choose(session, "Load", "slot 3")
    session.runner._obey()
    assert session.runner.messages.get() == f"saved to slot 3: {session.runner.saving.slots.path(3)}"
    assert session.runner.messages.get() == "loaded slot 3"
    choose(session, "Display", "meters")
    assert session.hud.level == "full"
    choose(session, "Recordings")
    assert [item.label for item in session.menu.items] == ["nothing here yet"]
    session.menu.close()
    choose(session, "Worlds", "second")
    assert session.wanted == {"world": "second", "replay": None}
    assert session._is_quitting


def test_the_worlds_page_opens_at_once_and_its_pictures_come_when_they_are_found(window, tmp_path):
    frame, found, asked = np.full((6, 8, 3), 200, np.uint8), threading.Event(), []

    def look(name):
        asked.append(name)
        found.wait(20)
        return frame if name == "second" else None

    library = Library(("first", "second"), here="first", picture=Pictures(look))
    session = Session(FakeEnv(), window, library=library)
    session._obey(Command.ESCAPE)
    assert asked == []
    session.menu.close()
    choose(session, "Worlds")  # drawn while they are looked for
    assert [item.frame for item in session.menu.items] == [None, None]
    found.set()
    library.picture._lookers.shutdown()
    assert asked == ["first", "second"]
    assert [item.value for item in session.menu.items] == ["(here)", ""]
    assert session.menu.items[1].frame is frame
    hit(session.menu, DOWN)
    session.menu.draw(window.surface)
    width, height = window.surface.get_size()
    assert window.surface.get_at((width * 3 // 4, height // 4))[:3] == (200, 200, 200)


def test_meters_lie_below_the_timeline_and_never_under_the_menu(window, tmp_path, monkeypatch):
    session, tops = table(window, tmp_path), []
    monkeypatch.setattr(session.hud, "draw", lambda surface, picture, readings, top=0: tops.append(top))
    for _ in range(3):
        session.runner.control.script = lambda step: Action()
        session.runner._step()
    session._turn(listens=True)
    session.runner.is_paused, session.beat.drawn_at = True, 0.0
    session._turn(listens=True)
    assert tops[0] == 0
    assert tops[1] > max(place.bottom for place in window.focus.places)
    session._obey(Command.ESCAPE)
    session.beat.drawn_at = 0.0
    session._turn(listens=True)
    assert len(tops) == 2


def test_a_page_that_is_longer_than_the_window_says_so(window):
    menu = Menu({}, [Item(str(n)) for n in range(40)], [])
    menu.open()
    marks = []
    for _ in range(40):
        menu.draw(window.surface)
        places = menu._places[0], menu._places[-1]
        marks.append([window.surface.get_at((p.right + UNIT, p.top + UNIT))[:3] == LIT[:3] for p in places])
        hit(menu, DOWN)
    assert marks[0] == [False, True]
    assert marks[20] == [True, True]
    assert marks[-1] == [True, False]


def test_escape_opens_the_menu_pauses_frees_the_mouse_and_never_quits(window, tmp_path):
    session = table(window, tmp_path)
    window.capture()
    key(pygame.KEYDOWN, ESC)
    session._turn(listens=True)
    session.runner._obey()
    assert session.menu.is_open
    assert session.runner.is_paused
    assert not window.is_captured
    for _ in range(5):
        key(pygame.KEYDOWN, ESC)
        session._turn(listens=True)
    assert not session._is_quitting


def test_keys_in_the_menu_do_not_reach_the_world_and_ctrl_q_quits(window, tmp_path):
    session = table(window, tmp_path)
    session._obey(Command.ESCAPE)
    key(pygame.KEYDOWN, pygame.KSCAN_W)
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(0, 0))
    assert pump(window, session.latch) == []
    assert session.latch.is_idle
    key(pygame.KEYDOWN, pygame.KSCAN_A, pygame.K_q, pygame.KMOD_LCTRL)
    assert pump(window, session.latch) == [Command.QUIT]


def test_a_key_is_bound_in_the_menu_and_kept_in_a_file(window, tmp_path):
    session = table(window, tmp_path)
    choose(session, "Controls", "forward")
    hit(session.menu, pygame.KSCAN_I)
    session.latch.press(pygame.KSCAN_I)
    assert session.latch.take().buttons == {"forward"}
    assert load_keys(tmp_path / "keys.json", FakeEnv.actions.buttons)["forward"] == ["Pad stick up", "Pad up", "I"]
    hit(session.menu, ENTER, pygame.KSCAN_F5, ESC)  # a key of the window
    hit(session.menu, ENTER, ESC)  # thought better of it
    assert load_keys(tmp_path / "keys.json", FakeEnv.actions.buttons)["forward"] == ["Pad stick up", "Pad up", "I"]
    assert session.menu.is_open


def test_the_file_of_keys_keeps_the_buttons_of_other_worlds(tmp_path):
    path = tmp_path / "keys.json"
    assert load_keys(path, ("forward",)) == {}
    path.write_text(json.dumps({"honk": ["H"], "forward": ["I"]}))
    save_keys(path, {code_of("O"): "forward", code_of("Mouse left"): "attack"})
    assert json.loads(path.read_text()) == {"honk": ["H"], "forward": ["O"], "attack": ["Mouse left"]}
    assert load_keys(path, ("attack",)) == {"attack": ["Mouse left"]}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"forward": ["Hyper"]}', '{"forward": 3}', '{"forward": ["F5"]}'])
def test_a_wrong_file_of_keys_is_named_in_one_line(tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ActionError, match=r"keys\.json.*delete it") as caught:
        load_keys(tmp_path / "keys.json", ("forward",))
    assert "\n" not in str(caught.value)


def test_a_space_without_a_button_of_the_file_is_played(window, tmp_path):
    keys = load_keys(tmp_path / "none.json", ActionSpace(("forward",)).buttons)
    session = Session(FakeEnv(), window, keys=keys, pace="uncapped")
    assert session.run(3, idle).num_frames == 3


class Looks:
    """An eye that sees everything inverted."""

    def seen(self, frame):
        return 255 - frame

    def drift(self, frame):
        return 1.0


def drop(session, path):
    post(pygame.DROPFILE, file=str(path))
    session._turn(listens=True)


def test_a_dropped_picture_is_cropped_and_then_begun_at(window, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    save_image(tmp_path / "own.png", picture)
    session = table(window, tmp_path, eye=Looks())
    drop(session, tmp_path / "own.png")
    assert window.menu is not session.menu
    session.beat.drawn_at = 0.0
    key(pygame.KEYDOWN, ENTER)
    session._turn(listens=True)
    session.runner._obey()
    np.testing.assert_array_equal(session.runner.env.resets[-1][0], crop_to(picture, FakeEnv.size_hw))
    assert not session.runner.is_paused
    session._obey(Command.ESCAPE)
    assert window.menu is session.menu


def test_a_dropped_world_or_recording_is_played_next(window, tmp_path):
    session = table(window, tmp_path)
    drop(session, "a.world")
    assert session.wanted == {"world": "a.world", "replay": None}


def test_what_is_dropped_and_is_nothing_is_told_and_play_goes_on(window, tmp_path):
    session = table(window, tmp_path, eye=Looks())
    (tmp_path / "notes.txt").write_text("hello")
    drop(session, tmp_path / "notes.txt")
    assert "notes.txt" in session.hud._toast
    assert not session._is_quitting
    save_image(tmp_path / "own.png", np.zeros((9, 9, 3), np.uint8))
    real = table(window, tmp_path)
    drop(real, tmp_path / "own.png")
    assert real.hud._toast == "only a dreamed world begins at a picture"


def test_a_recording_is_exported_from_the_menu_with_the_keys_on_it(window, tmp_path):
    env = Recorder(FakeEnv(), tmp_path / "rec", source="real", game="fake")
    env.start()
    env.reset()
    for _ in range(7):
        env.step(Action({"forward"}))
    env.stop()
    session = table(window, tmp_path, out=tmp_path / "films")
    choose(session, "Export", "000000")
    session.runner.taping.close()
    names = [f"rec-000000{ending}" for ending in (".gif", ".mp4", ".png")]
    assert sorted(path.name for path in (tmp_path / "films").iterdir()) == names
    assert session.runner.messages.get().startswith("exported ")
    assert len(read_video(tmp_path / "films" / names[1])) == 8


def test_what_cannot_be_exported_is_told(window, tmp_path):
    session = table(window, tmp_path, out=tmp_path / "films")
    session.export(tmp_path / "gone")
    session.runner.taping.close()
    assert session.runner.messages.get().startswith("not exported: ")
