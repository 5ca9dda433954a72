"""Codes of keys, mouse and gamepad, and the usual keys of the window itself.

Command, KEYS         what the window's keys ask for: reset, pause, record ...
chords, plain         the codes of a pressed key, with and without Shift or Ctrl
code_label, code_of   a code <-> what is printed on the key cap; is_pad: of a gamepad

A code is a physical key (a scancode, pygame.KSCAN_*: the same place on every keyboard layout), plus SHIFT or CTRL where
one of them is held with it; or, below zero, a mouse button (MOUSE_LEFT = -1) or a part of a gamepad (PAD_A = -11).
Not here: the buttons of a world (bindings.py), the player's own keys of the window (shortcuts.py), events and capture
(events.py), what is held (latch.py).
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
SHIFT, CTRL = 1 << 10, 1 << 11  # beyond all scancodes, which end at 511


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
    TAKE_OVER = "play on from here, in what is shown of before"
    DROP = "open what was dropped on the window"


# The one source of the window's usual keys: events, F1, the README (tested). A label may begin with Shift+ or Ctrl+.
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
    pygame.KSCAN_MINUS: "-",
    pygame.KSCAN_EQUALS: "=",
    pygame.KSCAN_SEMICOLON: ";",
    pygame.KSCAN_APOSTROPHE: "'",
    pygame.KSCAN_GRAVE: "`",
    pygame.KSCAN_SLASH: "/",
    pygame.KSCAN_BACKSLASH: "\\",
    pygame.KSCAN_HOME: "Home",
    pygame.KSCAN_END: "End",
    pygame.KSCAN_INSERT: "Insert",
    pygame.KSCAN_DELETE: "Delete",
    pygame.KSCAN_RSHIFT: "Right Shift",
    pygame.KSCAN_RCTRL: "Right Ctrl",
    pygame.KSCAN_RALT: "Right Alt",
    **{pygame.KSCAN_KP_1 + i: f"Num {digit}" for i, digit in enumerate("1234567890")},
    MOUSE_LEFT: "Mouse left",
    MOUSE_MIDDLE: "Mouse middle",
    MOUSE_RIGHT: "Mouse right",
    **{PAD_A - i: f"Pad {name}" for i, name in enumerate(PADS)},
}
BESIDE = {"": 0, "shift": SHIFT, "ctrl": CTRL}
OTHERS = ("F1", "Up", "Space", "Enter", "Tab", "PgUp", "Home", "Shift", "Ctrl+S", "Mouse left", "Pad A")  # examples
MODIFIERS = frozenset(
    (pygame.KSCAN_LSHIFT, pygame.KSCAN_RSHIFT, pygame.KSCAN_LCTRL, pygame.KSCAN_RCTRL, pygame.KSCAN_LALT,
     pygame.KSCAN_RALT)
)  # fmt: skip


def chords(scancode: int, key: int, modifiers: int) -> list[int]:
    """The codes that a pressed key can be meant as, the most special first: with Shift, with Ctrl, alone.

    With Ctrl a letter is the one that is printed on the key (Ctrl+Q is where Q is); all others go by their place.
    """
    is_letter = pygame.K_a <= key <= pygame.K_z
    letter = pygame.KSCAN_A + key - pygame.K_a if is_letter else scancode
    with_shift = [SHIFT + scancode] if modifiers & pygame.KMOD_SHIFT and scancode not in MODIFIERS else []
    with_ctrl = [CTRL + letter] if modifiers & pygame.KMOD_CTRL and scancode not in MODIFIERS else []
    return [*with_shift, *with_ctrl, scancode]


def plain(code: int) -> int:
    """The key itself, without Shift or Ctrl."""
    return code if code < 0 else code % SHIFT


def is_pad(code: int) -> bool:
    """True for the parts of a gamepad."""
    return code <= PAD_A


def code_label(code: int) -> str:
    """What to print on the key cap, named by its place on a US keyboard."""
    beside = "" if code < SHIFT else "Ctrl+" if code >= CTRL else "Shift+"
    return beside + LABELS.get(plain(code), f"key {plain(code)}")


def code_of(label: str) -> int:
    """The inverse of code_label, in any case; ActionError for a key that does not exist or cannot be bound."""
    codes = {text.lower(): code for code, text in LABELS.items() if code != pygame.KSCAN_ESCAPE}
    beside, _, name = label.lower().rpartition("+")
    if name in codes and beside in BESIDE and (not beside or codes[name] > 0):
        return BESIDE[beside] + codes[name]
    near = [LABELS[codes[text]] for text in get_close_matches(label.lower(), codes, 3)]
    there = f"did you mean {' or '.join(near)}?" if near else f"there are letters, digits, {', '.join(OTHERS)} ..."
    raise ActionError(f"no key {label!r} to bind; {there}")
