"""A pad that SDL itself makes: from its joystick to the world's buttons, through all of SDL's own code."""

import contextlib
import ctypes
import re
from pathlib import Path

import pygame
import pytest
from test_gamepad import latch, window  # noqa: F401
from test_menu import table

from worldmodel.action import Action
from worldmodel.ui.events import pump
from worldmodel.ui.keymap import Command
from worldmodel.ui.window import Window

MAPS = Path("/proc/self/maps")
PAD, AXES, BUTTONS, HATS = 1, 6, 15, 0
LEFT_Y, RIGHT_X, RIGHT_TRIGGER = 1, 2, 5
CROSS_DOWN, START, A, X = pygame.CONTROLLER_BUTTON_DPAD_DOWN, pygame.CONTROLLER_BUTTON_START, 0, 2


class Pad:
    """Plugged in when made. The functions of SDL's virtual joysticks, in the library that pygame has loaded."""

    def __init__(self, sdl):
        self.sdl, self.number = sdl, sdl.SDL_JoystickAttachVirtual(PAD, AXES, BUTTONS, HATS)
        sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self.joystick = ctypes.c_void_p(sdl.SDL_JoystickOpen(self.number))

    def tilt(self, axis, share):
        self.sdl.SDL_JoystickSetVirtualAxis(self.joystick, axis, round(32767 * share))

    def press(self, button, *, is_down=True):
        self.sdl.SDL_JoystickSetVirtualButton(self.joystick, button, int(is_down))

    def unplug(self):
        self.sdl.SDL_JoystickDetachVirtual(self.number)


@pytest.fixture
def pad(window):  # noqa: F811
    found = re.findall(r"/\S*libSDL2-2\S*", MAPS.read_text()) if MAPS.exists() else []
    if not found or not hasattr(ctypes.CDLL(found[0]), "SDL_JoystickAttachVirtual"):
        pytest.skip("pygame's SDL has no virtual joysticks that can be reached here")
    plugged = Pad(ctypes.CDLL(found[0]))
    yield plugged
    plugged.unplug()


def test_a_pad_plays(window, pad):  # noqa: F811
    """No real pad ever did: the window had blocked the events that SDL makes those of controllers from."""
    keys = latch()
    pump(window, keys)
    assert window.pads.news == ["gamepad: Virtual Controller"]
    pad.tilt(LEFT_Y, -1)
    pad.tilt(RIGHT_X, 1)
    pad.press(X)
    pump(window, keys)
    assert keys.take() == Action({"forward", "use"}, (18.0, 0.0))
    pad.tilt(LEFT_Y, 0)
    pad.tilt(RIGHT_X, 0)
    pad.press(X, is_down=False)
    pad.tilt(RIGHT_TRIGGER, 1)
    pump(window, keys)
    assert keys.take() == Action({"attack"})
    pad.unplug()
    assert pump(window, keys) == [Command.HOLD]
    assert keys.is_idle


def test_a_pad_drives_the_menu(window, pad, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    session._turn(listens=True)
    for button in (START, CROSS_DOWN, CROSS_DOWN, A, CROSS_DOWN, A):  # the second start
        pad.press(button)
        session._turn(listens=True)
        pad.press(button, is_down=False)
        session._turn(listens=True)
    session.runner._obey()
    assert session.runner.env.resets[-1] == (1, 0)


def test_a_pad_is_still_there_in_the_next_window(window, pad):  # noqa: F811
    """Choosing another world in the menu lost it, because SDL tells of a pad once."""
    pump(window, latch())
    window.close()
    with contextlib.closing(Window("next", (6, 8), allow_headless=True)) as following:
        assert following.pads.is_there
        pump(following, latch())
        assert following.pads.news == ["gamepad: Virtual Controller"]
