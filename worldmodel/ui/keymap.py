"""Codes of keys, mouse and gamepad, and the keys of the window itself.

Command, KEYS         what the window's keys ask for: reset, pause, record ...
command_of, command_rows   which one an event is; their table
code_label, code_of   a code <-> what is printed on the key cap; is_pad: of a gamepad

A code is a physical key (a scancode, pygame.KSCAN_*: the same place on every keyboard layout) or, below zero, a
mouse button (MOUSE_LEFT = -1) or a part of a gamepad (PAD_A = -11). Not here: the buttons of a world (bindings.py),
events and capture (events.py), what is held (latch.py).
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum

import pygame

from worldmodel.action import ActionError

MOUSE_LEFT, MOUSE_MIDDLE, MOUSE_RIGHT = -1, -2, -3
PADS = (
    "A", "B", "X", "Y", "LB", "RB", "LT", "RT", "L3", "R3", "up", "down", "left", "right",
    "stick up", "stick down", "stick left", "stick right", "look up", "look down", "look left", "look right",
)  # fmt: skip
PAD_A = -11  # the first of PADS; the others follow downwards


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
    CHOOSE = "take the picture that is meant: by a click, its number, or the arrows and Enter"
    GO = "go to a frame of a branch"
    STOP_REWIND = "go on, because the key of time was let go"
    DROP = "open what was dropped on the window"


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
    **{PAD_A - i: f"Pad {name}" for i, name in enumerate(PADS)},
}


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


def is_pad(code: int) -> bool:
    """True for the parts of a gamepad."""
    return code <= PAD_A


def code_label(code: int) -> str:
    """What to print on the key cap, named by its place on a US keyboard."""
    return LABELS.get(code, f"key {code}")


def code_of(label: str) -> int:
    """The inverse of code_label, in any case; ActionError for a key that cannot be bound."""
    codes = {text.lower(): code for code, text in LABELS.items() if code not in COMMAND_CODES}
    if label.lower() not in codes:
        near = [LABELS[codes[text]] for text in get_close_matches(label.lower(), codes, 3)]
        others = [LABELS[code] for code in codes.values() if len(LABELS[code]) > 1 and not is_pad(code)]
        there = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"there are letters, digits, {', '.join(others)}, Pad A ..."
        )
        raise ActionError(f"no key {label!r} to bind; {there}")
    return codes[label.lower()]
