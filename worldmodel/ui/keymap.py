"""Which key presses which button of a world, and what a player did between two steps.

Command, command_of   keys of the window itself: reset, pause, record ...
default_bindings      codes -> buttons of a world
code_label, code_of   a code <-> what is printed on the key cap
Latch                 key and mouse events in, one Action a step out

A code is a physical key (a scancode, pygame.KSCAN_*: the same place on every keyboard layout) or, below zero, a
mouse button (MOUSE_LEFT = -1). Not here: events and capture (window.py), what a button does (games/).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum

import pygame

from worldmodel.action import Action, ActionError, ActionSpace, cancel_opposites

MOUSE_LEFT, MOUSE_MIDDLE, MOUSE_RIGHT = -1, -2, -3


class Command(StrEnum):
    """What the player asks of the window or of the session; the value is its line in the key table."""

    HELP = "this table"
    HUD = "meters: off, min, full"
    RESET = "back to the start"
    NEXT_START = "next start"
    PAUSE = "pause"
    SINGLE_STEP = "one step (paused)"
    REWIND = "go back 20 frames"
    RECORD = "record on, off"
    FEWER_STEPS = "fewer sampling steps"
    MORE_STEPS = "more sampling steps"
    FULLSCREEN = "full screen"
    SCREENSHOT = "save a picture"
    ESCAPE = "free the mouse, pause"
    QUIT = "quit"
    HOLD = "pause, because the window lost the focus"
    RESUME = "play, because the window was clicked"


COMMAND_KEYS: dict[int, Command] = {
    pygame.KSCAN_F1: Command.HELP,
    pygame.KSCAN_F2: Command.HUD,
    pygame.KSCAN_F4: Command.RESET,
    pygame.KSCAN_P: Command.PAUSE,
    pygame.KSCAN_PAUSE: Command.PAUSE,
    pygame.KSCAN_PERIOD: Command.SINGLE_STEP,
    pygame.KSCAN_BACKSPACE: Command.REWIND,
    pygame.KSCAN_F8: Command.RECORD,
    pygame.KSCAN_LEFTBRACKET: Command.FEWER_STEPS,
    pygame.KSCAN_RIGHTBRACKET: Command.MORE_STEPS,
    pygame.KSCAN_F11: Command.FULLSCREEN,
    pygame.KSCAN_F12: Command.SCREENSHOT,
    pygame.KSCAN_ESCAPE: Command.ESCAPE,
}

LABELS: dict[int, str] = {
    **{pygame.KSCAN_A + i: letter for i, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")},
    **{pygame.KSCAN_1 + i: digit for i, digit in enumerate("1234567890")},
    **{pygame.KSCAN_F1 + i: f"F{i + 1}" for i in range(12)},
    pygame.KSCAN_UP: "Up",
    pygame.KSCAN_DOWN: "Down",
    pygame.KSCAN_LEFT: "Left",
    pygame.KSCAN_RIGHT: "Right",
    pygame.KSCAN_SPACE: "Space",
    pygame.KSCAN_RETURN: "Enter",
    pygame.KSCAN_TAB: "Tab",
    pygame.KSCAN_LSHIFT: "Shift",
    pygame.KSCAN_LCTRL: "Ctrl",
    pygame.KSCAN_LALT: "Alt",
    pygame.KSCAN_PAGEUP: "PgUp",
    pygame.KSCAN_PAGEDOWN: "PgDn",
    pygame.KSCAN_BACKSPACE: "Backspace",
    pygame.KSCAN_ESCAPE: "Esc",
    pygame.KSCAN_PAUSE: "Pause",
    pygame.KSCAN_PERIOD: ".",
    pygame.KSCAN_LEFTBRACKET: "[",
    pygame.KSCAN_RIGHTBRACKET: "]",
    MOUSE_LEFT: "Mouse left",
    MOUSE_MIDDLE: "Mouse middle",
    MOUSE_RIGHT: "Mouse right",
}

# What each button would like, best first; a code goes to the button that likes it most.
WISHES: dict[str, tuple[str, ...]] = {
    "forward": ("W", "Up"),
    "backward": ("S", "Down"),
    "strafe_left": ("A", "Left"),
    "strafe_right": ("D", "Right"),
    "turn_left": ("Left", "A"),
    "turn_right": ("Right", "D"),
    "gas": ("Up", "W"),
    "brake": ("Down", "S"),
    "up": ("Up", "W"),
    "down": ("Down", "S"),
    "left": ("Left", "A"),
    "right": ("Right", "D"),
    "look_up": ("PgUp",),
    "look_down": ("PgDn",),
    "attack": ("Mouse left", "Space"),
    "fire": ("Mouse left", "Space"),
    "alt_attack": ("Mouse right", "Q"),
    "jump": ("Space",),
    "use": ("E",),
    "reload": ("R",),
    "run": ("Shift",),
    "sprint": ("Shift",),
    "crouch": ("Ctrl", "C"),
}
SPARE_KEYS = "RFQCXZVGTBYHNJUMIKOL1234567890"  # for buttons nobody has heard of, in this order


def command_of(scancode: int, key: int, modifiers: int) -> Command | None:
    """The command of a pressed key, if it is one; Ctrl+Q goes by the letter, all others by their place."""
    if key == pygame.K_q and modifiers & pygame.KMOD_CTRL:
        return Command.QUIT
    command = COMMAND_KEYS.get(scancode)
    return Command.NEXT_START if command is Command.RESET and modifiers & pygame.KMOD_SHIFT else command


def code_label(code: int) -> str:
    """What to print on the key cap, named by its place on a US keyboard."""
    return LABELS.get(code, f"key {code}")


def code_of(label: str) -> int:
    """The inverse of code_label, in any case; ActionError for a key that cannot be bound."""
    codes = {text.lower(): code for code, text in LABELS.items() if code not in COMMAND_KEYS}
    if label.lower() not in codes:
        raise ActionError(f"no key {label!r} to bind; the keys are {', '.join(LABELS[c] for c in codes.values())}")
    return codes[label.lower()]


def default_bindings(buttons: Iterable[str], chosen: Mapping[str, Iterable[str]] | None = None) -> dict[int, str]:
    """Code -> button, for every button: chosen keys first, then WISHES, then spare letters and digits.

    chosen  button -> labels of its keys ("W", "Space", "Mouse left"); it replaces that button's wishes.
    A code has one button, a button may have several codes; buttons beyond the spare keys stay without.
    Raises ActionError for an unknown label or button, or a key chosen twice.
    """
    names = list(buttons)
    bindings: dict[int, str] = {}
    for name, labels in (chosen or {}).items():
        if name not in names:
            raise ActionError(f"keys are chosen for {name!r}, but the world's buttons are {names}")
        for code in map(code_of, labels):
            if bindings.setdefault(code, name) != name:
                raise ActionError(f"key {code_label(code)} is chosen for both {bindings[code]!r} and {name!r}")
    open_names = [name for name in names if name not in bindings.values()]
    for rank in range(max(len(wishes) for wishes in WISHES.values())):
        for name in open_names:
            for label in WISHES.get(name, ())[rank : rank + 1]:
                bindings.setdefault(code_of(label), name)
    spare = [code_of(key) for key in SPARE_KEYS if code_of(key) not in bindings]
    unbound = [name for name in open_names if name not in bindings.values()]
    return bindings | dict(zip(spare, unbound, strict=False))


class Latch:
    """What the player did since the last step: written by the window's thread, taken by the model's.

    Held codes count while held; a tap shorter than a step counts for one step; mouse motion is summed, turned into
    degrees and clamped to the space's range, the rest is dropped. Raises ActionError if a binding names a button
    that the space does not have.
    """

    def __init__(self, space: ActionSpace, bindings: Mapping[int, str], degrees_per_pixel: float) -> None:
        space.check(Action(bindings.values()))
        self.space, self.bindings = space, dict(bindings)
        self.input_time: float | None = None  # of the oldest event in the Action taken last, time.perf_counter()
        self._degrees_per_pixel = degrees_per_pixel
        self._lock = threading.Lock()
        self._down: set[int] = set()
        self._tapped: set[str] = set()
        self._pixels = [0.0, 0.0]
        self._first_event: float | None = None

    def press(self, code: int) -> None:
        """A key or mouse button went down; codes without a button are ignored."""
        if code in self.bindings:
            with self._lock:
                self._note_event()
                self._down.add(code)
                self._tapped.add(self.bindings[code])

    def release(self, code: int) -> None:
        """A key or mouse button went up."""
        with self._lock:
            if code in self._down:
                self._note_event()
                self._down.discard(code)

    def move(self, dx: float, dy: float) -> None:
        """The mouse moved by pixels, +x right, +y down; ignored on axes that the space does not have."""
        with self._lock:
            if (dx and self.space.mouse[0]) or (dy and self.space.mouse[1]):
                self._note_event()
                self._pixels[0] += dx
                self._pixels[1] += dy

    def release_all(self) -> None:
        """Forget everything: held codes, taps and motion (the window lost the focus)."""
        with self._lock:
            self._down.clear()
        self.forget_pending()

    def forget_pending(self) -> None:
        """Forget taps and motion, keep what is held (play goes on after a pause)."""
        with self._lock:
            self._tapped.clear()
            self._pixels = [0.0, 0.0]
            self._first_event = None

    def take(self) -> Action:
        """The Action of the step that begins now; taps and motion start over."""
        with self._lock:
            buttons = cancel_opposites({self.bindings[code] for code in self._down} | self._tapped)
            dx, dy = (self._degrees(pixels, axis) for axis, pixels in enumerate(self._pixels))
            self.input_time, self._first_event = self._first_event, None
            self._tapped.clear()
            self._pixels = [0.0, 0.0]
        return Action(buttons, (dx, dy))

    @property
    def is_idle(self) -> bool:
        """True if take() would give an Action in which nothing was done."""
        with self._lock:
            return not (self._down or self._tapped or any(self._pixels))

    def _degrees(self, pixels: float, axis: int) -> float:
        limit = self.space.mouse[axis]
        return min(max(round(pixels * self._degrees_per_pixel, 3), -limit), limit) + 0.0  # never -0.0

    def _note_event(self) -> None:
        if self._first_event is None:
            self._first_event = time.perf_counter()
