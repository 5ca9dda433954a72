"""Which key presses which button of a world, and what a player did between two steps.

Command, KEYS         keys of the window itself: reset, pause, record ...; command_of: which one an event is
command_rows, button_rows   the key table
default_bindings      codes -> buttons of a world
code_label, code_of   a code <-> what is printed on the key cap
Latch                 key and mouse events in, one Action a step out

A code is a physical key (a scancode, pygame.KSCAN_*: the same place on every keyboard layout) or, below zero, a
mouse button (MOUSE_LEFT = -1). Not here: events and capture (window.py), what a button does (games/).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import pygame

from worldmodel.action import Action, ActionError, ActionSpace, cancel_opposites

MOUSE_LEFT, MOUSE_MIDDLE, MOUSE_RIGHT = -1, -2, -3


class Command(StrEnum):
    """What the player asks of the window or of the session; the value is its line in the key table."""

    HELP = "this table"
    HUD = "meters: off, min, full"
    RESET = "back to the start"
    NEXT_START = "next start"
    SAVE = "save to the slot"
    LOAD = "load the slot"
    NEXT_SLOT = "next slot of ten"
    REWIND = "time runs backwards while held, then goes on from there"
    PAUSE = "pause"
    STEP_BACK = "one step back (paused)"
    SINGLE_STEP = "one step (paused)"
    WHAT_IF = "what if: the next second under each key (paused)"
    RECORD = "record on, off"
    KEEP_LAST = "keep the last 30 s: episode, mp4, gif, picture"
    RESYNC = "dream on from the real game (env=both)"
    FEWER_STEPS = "fewer sampling steps"
    MORE_STEPS = "more sampling steps"
    FULLSCREEN = "full screen"
    SCREENSHOT = "save a picture"
    ESCAPE = "menu: starts, saves, recordings, worlds, keys; frees the mouse"
    QUIT = "quit"
    HOLD = "pause, because the window lost the focus"
    RESUME = "play, because the window was clicked"
    CHOOSE = "take the picture that was clicked, or whose number was pressed"
    STOP_REWIND = "go on, because the key of time was let go"


# The one source of the window's keys: events, F1, the README (tested). A label may begin with Shift+ or Ctrl+.
KEYS: tuple[tuple[str, Command], ...] = (
    ("Esc", Command.ESCAPE),
    ("F1", Command.HELP),
    ("F2", Command.HUD),
    ("F4", Command.RESET),
    ("Shift+F4", Command.NEXT_START),
    ("F5", Command.SAVE),
    ("F9", Command.LOAD),
    ("F6", Command.NEXT_SLOT),
    ("Backspace", Command.REWIND),
    ("P", Command.PAUSE),
    ("Pause", Command.PAUSE),
    (",", Command.STEP_BACK),
    (".", Command.SINGLE_STEP),
    ("Tab", Command.WHAT_IF),
    ("F8", Command.RECORD),
    ("Ctrl+F8", Command.KEEP_LAST),
    ("F10", Command.RESYNC),
    ("[", Command.FEWER_STEPS),
    ("]", Command.MORE_STEPS),
    ("F11", Command.FULLSCREEN),
    ("F12", Command.SCREENSHOT),
    ("Ctrl+Q", Command.QUIT),
)

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
    pygame.KSCAN_COMMA: ",",
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


def _command_keys() -> dict[tuple[int, int], Command]:
    """(scancode, modifier) -> command, from KEYS; Ctrl+Q is not in it: it goes by its letter."""
    codes = {label: code for code, label in LABELS.items()}
    modifiers = {"Shift": pygame.KMOD_SHIFT, "Ctrl": pygame.KMOD_CTRL}
    keys: dict[tuple[int, int], Command] = {}
    for label, command in KEYS:
        modifier, _, name = label.rpartition("+")
        if command is not Command.QUIT:
            keys[codes[name], modifiers.get(modifier, 0)] = command
    return keys


COMMAND_KEYS = _command_keys()
COMMAND_CODES = frozenset(code for code, _ in COMMAND_KEYS)


def command_of(scancode: int, key: int, modifiers: int) -> Command | None:
    """The command of a pressed key, if it is one; Ctrl+Q goes by the letter, all others by their place."""
    if key == pygame.K_q and modifiers & pygame.KMOD_CTRL:
        return Command.QUIT
    for modifier in (pygame.KMOD_SHIFT, pygame.KMOD_CTRL):
        if modifiers & modifier and (scancode, modifier) in COMMAND_KEYS:
            return COMMAND_KEYS[scancode, modifier]
    return COMMAND_KEYS.get((scancode, 0))


def command_rows() -> list[tuple[str, str]]:
    """(keys, meaning) of each command that has a key, in the order of KEYS."""
    rows: dict[Command, list[str]] = {}
    for label, command in KEYS:
        rows.setdefault(command, []).append(label)
    return [(", ".join(labels), command.value) for command, labels in rows.items()]


def button_rows(space: ActionSpace, bindings: Mapping[int, str]) -> list[tuple[str, str]]:
    """(keys, meaning) of each button of a world, and of its mouse."""
    rows = []
    for name in space.buttons:
        keys = [code_label(code) for code, bound in bindings.items() if bound == name]
        rows.append((", ".join(keys) or "(no key left)", name.replace("_", " ")))
    return rows + ([("Mouse", "look (click first)")] if any(space.mouse) else [])


def code_label(code: int) -> str:
    """What to print on the key cap, named by its place on a US keyboard."""
    return LABELS.get(code, f"key {code}")


def code_of(label: str) -> int:
    """The inverse of code_label, in any case; ActionError for a key that cannot be bound."""
    codes = {text.lower(): code for code, text in LABELS.items() if code not in COMMAND_CODES}
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


def load_keys(path: Path, buttons: Iterable[str]) -> dict[str, list[str]]:
    """button -> labels from a file of keys, for the buttons that this world has; nothing if there is no file.

    ActionError, naming the file, if it is not {"forward": ["W", "Up"], ...} or names a key that does not exist.
    """
    if not path.exists():
        return {}
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(keys, dict):
            raise ActionError('expected {"forward": ["W", "Up"], ...}')
        chosen = {name: list(keys[name]) for name in buttons if name in keys}
        default_bindings(chosen, chosen)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ActionError(f"{path}: {error}. Correct it, or delete it for the usual keys.") from error
    return chosen


def save_keys(path: Path, bindings: Mapping[int, str]) -> None:
    """The inverse; buttons of other worlds that are in the file stay in it. OSError if it cannot be written."""
    keys = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    mine: dict[str, list[str]] = {}
    for code, name in bindings.items():
        mine.setdefault(name, []).append(code_label(code))
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(keys | mine, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


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

    def bind(self, bindings: Mapping[int, str]) -> None:
        """Other keys from now on; what is held is forgotten. ActionError for a button that the space lacks."""
        self.space.check(Action(bindings.values()))
        self.release_all()
        with self._lock:
            self.bindings = dict(bindings)

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
