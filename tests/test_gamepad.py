"""Gamepads by the events SDL would post: sticks and buttons as play, as menu keys and as commands; hot plug."""

from types import SimpleNamespace

import numpy as np
import pygame
import pytest
from test_menu import choose, table
from test_window import post

from worldmodel.action import Action, ActionSpace
from worldmodel.ui.bindings import default_bindings, pad_rows
from worldmodel.ui.crop import Crop
from worldmodel.ui.events import pump
from worldmodel.ui.gamepad import CODES
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Feel, Latch
from worldmodel.ui.window import Window

DOOM = ActionSpace(("forward", "backward", "strafe_left", "strafe_right", "turn_left", "attack", "use"), (20.0, 0.0))
AXES = {
    "left": (pygame.CONTROLLER_AXIS_LEFTX, pygame.CONTROLLER_AXIS_LEFTY),
    "right": (pygame.CONTROLLER_AXIS_RIGHTX, pygame.CONTROLLER_AXIS_RIGHTY),
}
RT = pygame.CONTROLLER_AXIS_TRIGGERRIGHT


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = Window("test", (6, 8), allow_headless=True)
    pygame.event.clear()
    yield opened
    opened.close()


def latch(space=DOOM, **feel):
    return Latch(space, default_bindings(space.buttons), Feel(**feel), 10.0)


def axis(number, value):
    post(pygame.CONTROLLERAXISMOTION, instance_id=0, axis=number, value=round(value * 32767))


def stick(side, x, y):
    axis(AXES[side][0], x)
    axis(AXES[side][1], y)


def button(name, *, is_down=True):
    number = getattr(pygame, f"CONTROLLER_BUTTON_{name}")
    post(pygame.CONTROLLERBUTTONDOWN if is_down else pygame.CONTROLLERBUTTONUP, instance_id=0, button=number)


def played(window, keys):
    pump(window, keys)
    keys.forget_pending()
    return keys.take()


@pytest.mark.parametrize(
    ("x", "y", "buttons"),
    [
        (0, -1, {"forward"}), (0, 1, {"backward"}), (0.7, -0.7, {"forward", "strafe_right"}),
        (-1, 0.2, {"strafe_left"}), (0.2, 0.2, set()),
    ],
)  # fmt: skip
def test_the_left_stick_walks_in_eight_directions(window, x, y, buttons):
    keys = latch()
    stick("left", x, y)
    assert played(window, keys) == Action(buttons)
    stick("left", 0, 0)
    assert played(window, keys) == Action()


def test_the_right_stick_looks_for_as_long_as_it_is_tilted(window):
    keys = latch(stick_degrees=90.0, dead_zone=0.2)
    stick("right", 1, 1)
    assert [played(window, keys), keys.take()] == [Action((), (6.364, 0.0))] * 2  # 9 degrees a step, at 45 degrees
    stick("right", 0.1, 0.1)  # within the dead zone
    assert played(window, keys) == Action()


def test_the_look_grows_with_the_tilt_from_the_dead_zone_on(window):
    keys, turns = latch(dead_zone=0.3), []
    for tilt in (0.0, 0.29, 0.31, 0.6, 0.8, 1.0):
        stick("right", tilt, 0)
        turns.append(played(window, keys).mouse[0])
    assert turns[:2] == [0, 0]
    assert turns == sorted(turns)
    assert turns[-1] == 18.0


def test_up_is_down_for_who_wants_it():
    space = ActionSpace(("forward",), (20.0, 20.0))
    keys = latch(space, invert_y=True, degrees_per_pixel=1.0)
    keys.move(3, 4)
    assert keys.take().mouse == (3.0, -4.0)


def test_in_a_world_without_a_mouse_the_right_stick_turns_by_buttons(window):
    keys = latch(ActionSpace(("forward", "turn_left", "turn_right")))
    stick("right", -1, 0)
    assert played(window, keys) == Action({"turn_left"})


def test_a_trigger_is_a_button_that_does_not_flutter(window):
    keys, seen = latch(), []
    for way in (0.1, 0.25, 0.5, 0.25, 0.1):
        axis(RT, way)
        seen.append("attack" in played(window, keys).buttons)
    assert seen == [False, False, True, True, False]


def test_a_tap_of_a_pad_shorter_than_a_step_counts_for_one(window):
    keys = latch()
    button("X")
    button("X", is_down=False)
    pump(window, keys)
    assert [keys.take(), keys.take()] == [Action({"use"}), Action()]


def test_commands_of_a_pad(window, monkeypatch):
    clock = iter([10.0, 10.1, 20.0, 20.6])
    monkeypatch.setattr("worldmodel.ui.gamepad.time.perf_counter", lambda: next(clock))
    for name in ("START", "LEFTSHOULDER", "BACK", "BACK"):  # the first press of Back is too short for a reset
        button(name)
        button(name, is_down=False)
    assert pump(window, latch()) == [Command.ESCAPE, Command.REWIND, Command.STOP_REWIND, Command.RESET]


def test_losing_the_focus_lets_a_pad_go_and_its_next_motion_counts_again(window):
    keys = latch()
    stick("left", 0, -1)
    stick("right", 1, 0)
    pump(window, keys)
    post(pygame.WINDOWFOCUSLOST)
    assert played(window, keys) == Action()
    stick("left", 0, -0.9)
    assert played(window, keys) == Action({"forward"})


def test_pads_come_and_go(window, monkeypatch):
    pad = SimpleNamespace(name="Pad 9", as_joystick=lambda: SimpleNamespace(get_instance_id=lambda: 7))
    monkeypatch.setattr("worldmodel.ui.gamepad.controller.Controller", lambda number: pad)
    keys = latch()
    post(pygame.CONTROLLERDEVICEADDED, device_index=0, guid="")
    stick("left", 0, -1)
    assert played(window, keys) == Action({"forward"})
    assert window.pads.is_there
    post(pygame.CONTROLLERDEVICEREMOVED, instance_id=7)
    assert pump(window, keys) == [Command.HOLD]
    assert keys.is_idle
    assert window.pads.news == ["gamepad: Pad 9", "gamepad unplugged"]
    assert not window.pads.is_there


def test_the_menu_is_driven_by_a_pad_alone(window, tmp_path):
    session = table(window, tmp_path)
    button("START")
    session._turn(listens=True)
    assert session.menu.is_open
    for name in ("DPAD_DOWN", "DPAD_DOWN", "A", "DPAD_DOWN", "A"):  # the second start
        button(name)
        button(name, is_down=False)
    session._turn(listens=True)
    session.runner._obey()
    assert session.runner.env.resets[-1] == (1, 0)
    assert session.latch.is_idle
    for is_open in (True, False):
        button("START")
        session._turn(listens=True)
        assert session.menu.is_open is is_open


def test_a_pad_sizes_the_box_of_a_picture_and_takes_it(window):
    taken = []
    window.menu = Crop(np.zeros((60, 90, 3), np.uint8), (6, 8), lambda frame: frame, taken.append)
    largest, keys = window.menu.box, latch()
    for value in (1, 0):
        axis(RT, value)
        played(window, keys)
    assert window.menu.box[2] < largest[2]
    button("A")
    assert played(window, keys) == Action()
    assert [frame.shape for frame in taken] == [(6, 8, 3)]


def test_a_part_of_a_pad_is_bound_in_the_menu_and_the_keys_stay(window, tmp_path):
    session = table(window, tmp_path)
    choose(session, "Controls", "forward")
    button("Y")
    session._turn(listens=True)
    codes = [code for code, name in session.latch.bindings.items() if name == "forward"]
    assert codes == [pygame.KSCAN_W, pygame.KSCAN_UP, CODES["Y"]]


def test_a_press_holds_until_the_next_and_the_opposite_ends_it():
    keys = latch(toggle=True)
    w, s = pygame.KSCAN_W, pygame.KSCAN_S
    seen = []
    for code in (w, s, s):
        keys.press(code)
        keys.release(code)
        seen += [keys.take().buttons, keys.take().buttons]
    assert seen == [{"forward"}, {"forward"}, {"backward"}, {"backward"}, set(), set()]
    keys.press(w)
    keys.hold_again([w])  # the window lost the focus in between
    assert keys.take() == Action()


@pytest.mark.parametrize("names", [DOOM.buttons, ("gas", "brake", "left", "right"), tuple(f"b{i}" for i in range(9))])
def test_every_button_of_a_world_has_a_part_of_the_pad(names):
    rows = pad_rows(ActionSpace(names), default_bindings(names))
    assert {name.replace("_", " ") for name in names} <= {meaning for _, meaning in rows}


@pytest.mark.parametrize("hand", ["left hand", "right hand"])
@pytest.mark.parametrize("names", [DOOM.buttons, ("gas", "brake", "left", "right")])
def test_one_hand_reaches_every_button_without_a_mouse(hand, names):
    bindings = default_bindings(names, hand=hand)
    codes = [code for code in bindings if code >= 0]
    assert {bindings[code] for code in codes} == set(names)
    assert len(codes) == len(names)
