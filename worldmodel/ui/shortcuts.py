"""The keys of the window: which one asks it for what.

USUAL               code -> command, from KEYS; NAMES: of the commands in the file of keys
command_of          the command of a pressed key; stops_rewind: of a key that is let go
chosen_shortcuts    USUAL with the player's own keys
check_shortcut      which keys cannot be the window's
shortcut_rows       the key table; key_of: one key, for a hint

Esc is always the menu's. Not here: the file (keyfile.py), how a key is changed (rebinding.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import pygame

from worldmodel.action import ActionError
from worldmodel.ui.focus import ARROWS, TAKES
from worldmodel.ui.keymap import KEYS, LABELS, MODIFIERS, Command, chords, code_label, code_of, plain

NO_KEY = "(no key)"
NAMES = {command.name.lower(): command for _, command in KEYS if command is not Command.ESCAPE}
NUMBER_KEYS = tuple(pygame.KSCAN_1 + i for i in range(9))  # take a picture


def _usual() -> dict[int, Command]:
    codes = {label: code_of(label) for label, command in KEYS if command is not Command.ESCAPE}
    return {pygame.KSCAN_ESCAPE: Command.ESCAPE} | {codes[label]: command for label, command in KEYS if label in codes}


USUAL: Mapping[int, Command] = _usual()


def command_of(shortcuts: Mapping[int, Command], scancode: int, key: int, modifiers: int) -> Command | None:
    """The command of a pressed key, if it is one; see chords."""
    return next((shortcuts[code] for code in chords(scancode, key, modifiers) if code in shortcuts), None)


def stops_rewind(shortcuts: Mapping[int, Command], scancode: int, key: int) -> bool:
    """True if time runs no longer backwards when this key goes up, whether Shift or Ctrl is still held or not."""
    held = {plain(code) for code in chords(scancode, key, pygame.KMOD_SHIFT | pygame.KMOD_CTRL)}
    return any(command is Command.REWIND and plain(code) in held for code, command in shortcuts.items())


def chosen_shortcuts(chosen: Mapping[str, Iterable[str]]) -> dict[int, Command]:
    """USUAL, in which the commands named in `chosen` have these keys and no others; a usual key that is chosen for
    another command is that one's. ActionError for a name, key or combination that cannot be, or a key chosen twice.
    """
    own: dict[int, Command] = {}
    for name, labels in chosen.items():
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NAMES)}"
            raise ActionError(f"the window has no command {name!r}; {hint}")
        for code in map(code_of, labels):
            check_shortcut(code)
            if own.setdefault(code, NAMES[name]) is not NAMES[name]:
                raise ActionError(f"key {code_label(code)} is chosen for two commands, {name!r} is the second")
    rest = {code: command for code, command in USUAL.items() if command.name.lower() not in chosen and code not in own}
    return rest | own


def check_shortcut(code: int) -> None:
    """ActionError, saying why, for a code that cannot be a key of the window."""
    key, label = plain(code), code_label(code)
    if key not in LABELS:
        raise ActionError("that key has no name and cannot be bound")
    if key < 0:
        raise ActionError(f"{label}: only a key of the keyboard can be the window's")
    if key == pygame.KSCAN_ESCAPE or key in MODIFIERS:
        raise ActionError(f"{label} cannot be bound for the window")
    if key in (*ARROWS, *TAKES, *NUMBER_KEYS):
        raise ActionError(f"{label} cannot be the window's: it chooses pictures while the world stands still")


def shortcut_rows(shortcuts: Mapping[int, Command]) -> list[tuple[str, str]]:
    """(keys, meaning) of each command that can have a key, in the order of KEYS."""
    commands = dict.fromkeys(command for _, command in KEYS)
    return [(", ".join(labels_of(shortcuts, command)) or NO_KEY, command.value) for command in commands]


def key_of(shortcuts: Mapping[int, Command], command: Command) -> str:
    """What to press for a command."""
    return next(iter(labels_of(shortcuts, command)), NO_KEY)


def labels_of(shortcuts: Mapping[int, Command], command: Command) -> list[str]:
    """All keys of a command."""
    return [code_label(code) for code, asked in shortcuts.items() if asked is command]
