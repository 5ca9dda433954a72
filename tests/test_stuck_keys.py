"""No key is ever stuck: a thousand random stories of keys, focus and menu, against a plain account of what is held."""

import os

import pygame
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from test_gamepad import axis, button, latch
from test_window import key, post

from worldmodel.ui import events
from worldmodel.ui.focus import Focus
from worldmodel.ui.keymap import Command
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.window import Window

KEYS = {pygame.KSCAN_W: "forward", pygame.KSCAN_A: "strafe_left", pygame.KSCAN_LEFT: "turn_left"}
codes = st.sampled_from(list(KEYS))


class Stories(RuleBasedStateMachine):
    """down: keys that a finger is on; held: those of them that the world must feel; pad: the same of the button X."""

    window: Window

    def __init__(self):
        super().__init__()
        pygame.event.clear()
        self.latch, self.menu = latch(), Menu({}, [Item("on")], [])
        self.window.menu, self.window.focus = self.menu, Focus()
        self.window.pads.forget()
        self.down, self.held, self.pad, self.has_focus = set(), set(), False, True

    @rule(code=codes)
    def press(self, code):
        if self.has_focus and code not in self.down:
            key(pygame.KEYDOWN, code)
            self.held |= set() if self.menu.is_open else {KEYS[code]}
        self.down.add(code)

    @rule(code=codes)
    def let_go(self, code):
        if self.has_focus and code in self.down:
            key(pygame.KEYUP, code)
            self.held -= {KEYS[code]}
        self.down.discard(code)

    @rule(is_down=st.booleans())
    def press_pad(self, is_down):
        if self.has_focus:
            button("X", is_down=is_down)
            self.pad = is_down and (self.pad or not self.menu.is_open)
            events.pump(self.window, self.latch)

    @rule(x=st.sampled_from([0.0, 1.0]))
    def look(self, x):
        if self.has_focus and not self.menu.is_open:
            axis(pygame.CONTROLLER_AXIS_RIGHTX, x)

    @rule(kind=st.sampled_from([pygame.WINDOWFOCUSLOST, pygame.WINDOWMINIMIZED]))
    def lose_focus(self, kind):
        post(kind)
        assert Command.HOLD in events.pump(self.window, self.latch)
        assert self.latch.is_idle
        self.held, self.pad, self.has_focus = set(), False, False

    @rule()
    def regain_focus(self):
        if not self.has_focus:
            post(pygame.WINDOWFOCUSGAINED)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(events, "grasp", lambda: list(self.down))
                events.pump(self.window, self.latch)
            self.held, self.has_focus = {KEYS[code] for code in self.down}, True

    @rule()
    def open_or_close_the_menu(self):
        events.pump(self.window, self.latch)
        (self.menu.close if self.menu.is_open else self.menu.open)()

    @rule()
    def step(self):
        events.pump(self.window, self.latch)
        self.latch.forget_pending()  # taps have a test of their own
        assert self.latch.take().buttons == self.held | ({"use"} if self.pad else set())


def test_no_key_is_stuck_over_any_story(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", os.environ.get("SDL_VIDEODRIVER", "dummy"))
    Stories.window = Window("test", (6, 8), allow_headless=True)
    rules = settings(
        max_examples=1000, stateful_step_count=10, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Stories, settings=rules)
    Stories.window.close()
