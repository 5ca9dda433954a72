"""Other keys, while one plays: asked for in the menu, used at once and kept in the file.

Keys, holder, has   who has which key: buttons of the world and commands of the window
given               the same after one of them got a key; who had it gets the key that became free
Rebinding           the menu's questions about it

Not here: the menu's lines (pages.py), the file (keyfile.py), what is usual (bindings.py, shortcuts.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pygame

from worldmodel.action import ActionError
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.hud import Hud
from worldmodel.ui.keyfile import save_keys
from worldmodel.ui.keymap import LABELS, MODIFIERS, Command, code_label, is_pad, plain
from worldmodel.ui.latch import Latch
from worldmodel.ui.menu import Menu
from worldmodel.ui.shortcuts import USUAL, check_shortcut
from worldmodel.ui.window import Window

WHICH = "a key, a mouse button or a part of the gamepad, or Esc"
WHICH_KEY = "a key, alone or with Shift or Ctrl, or Esc"


@dataclass(frozen=True)
class Keys:
    """code -> button of the world, and code -> command of the window; no code is in both."""

    bindings: Mapping[int, str]
    shortcuts: Mapping[int, Command]


def holder(keys: Keys, code: int) -> str | Command | None:
    """Who has a key now."""
    return keys.shortcuts.get(code) or keys.bindings.get(code)


def has(keys: Keys, target: str | Command, code: int) -> bool:
    """True if a key is this one's; a button may have the name that a command has as a text."""
    return (keys.shortcuts if isinstance(target, Command) else keys.bindings).get(code) == target


def given(keys: Keys, target: str | Command, code: int) -> Keys:
    """Keys in which a button or command has the one key `code`, or the one part of a gamepad, and keeps what it has on
    the other of the two; who had that code has what became free instead. ActionError, saying why, where that cannot be.
    """
    _check(target, code)
    other, mine = holder(keys, code), keys.shortcuts if isinstance(target, Command) else keys.bindings
    free = [c for c, owner in mine.items() if owner == target and is_pad(c) == is_pad(code)]
    instead = None
    if other is not None and not has(keys, target, code):
        instead = next((c for c in free if _may_have(other, c)), None)
        if free and instead is None:
            raise ActionError(f"{_name(other)} cannot have {code_label(free[0])} instead: give it another key first")

    def rest(table: Mapping[int, str]) -> dict[int, str]:
        left = {c: owner for c, owner in table.items() if c not in free and (c != code or instead is not None)}
        return {(instead if c == code and instead is not None else c): owner for c, owner in left.items()}

    bindings, shortcuts = rest(keys.bindings), rest(keys.shortcuts)
    (shortcuts if isinstance(target, Command) else bindings)[code] = target
    return Keys(bindings, {c: Command(command) for c, command in shortcuts.items()})


def _check(target: str | Command, code: int) -> None:
    if isinstance(target, Command):
        check_shortcut(code)
    elif code not in LABELS:
        raise ActionError("that key has no name and cannot be bound")
    elif code == pygame.KSCAN_ESCAPE:
        raise ActionError("Esc is the menu's")


def _may_have(owner: str | Command, code: int) -> bool:
    try:
        _check(owner, code)
    except ActionError:
        return False
    return True


def _name(owner: str | Command) -> str:
    """As the menu has it."""
    return owner.value if isinstance(owner, Command) else owner.replace("_", " ")


class Rebinding:
    """path: the file of keys; tell: gets a line for the player when something cannot be done."""

    def __init__(
        self, window: Window, latch: Latch, hud: Hud, menu: Menu, path: Path, tell: Callable[[str], None]
    ) -> None:
        self._window, self._latch, self._hud, self._menu = window, latch, hud, menu
        self._path, self._tell = path, tell

    def ask(self, target: str | Command) -> None:
        """Let the player press another key for a button of the world or a command of the window."""
        self._menu.ask(WHICH_KEY if isinstance(target, Command) else WHICH, partial(self._take, target, None))

    def use_hand(self, hand: str) -> None:
        """Give all buttons the keys of one of HANDS."""
        shortcuts = self._window.shortcuts
        self._use(Keys(default_bindings(self._latch.space.buttons, hand=hand, shortcuts=shortcuts), shortcuts))

    def use_usual(self) -> None:
        """Give the window its usual keys; a button that had one of them gets another."""
        kept: dict[str, list[str]] = {}
        for code, button in self._latch.bindings.items():
            if code not in USUAL:
                kept.setdefault(button, []).append(code_label(code))
        self._use(Keys(default_bindings(self._latch.space.buttons, kept), USUAL))

    def _take(self, target: str | Command, agreed: int | None, code: int) -> None:
        """A key was pressed; where it is somebody's, the same once more (`agreed`) swaps."""
        if isinstance(target, Command) and code in MODIFIERS:
            self._menu.ask(WHICH_KEY, partial(self._take, target, agreed))  # the key beside it is still to come
            return
        code = code if isinstance(target, Command) else plain(code)
        keys = Keys(self._latch.bindings, self._window.shortcuts)
        try:
            changed, other = given(keys, target, code), holder(keys, code)
        except ActionError as error:
            self._tell(str(error))
            return
        if other is None or has(keys, target, code) or code == agreed:
            self._use(changed)
            return
        question = f"{code_label(code)} is: {_name(other)}. Once more: swap  \u00b7  another key  \u00b7  Esc"
        self._menu.ask(question, partial(self._take, target, code))

    def _use(self, keys: Keys) -> None:
        self._window.shortcuts = dict(keys.shortcuts)
        self._latch.bind(keys.bindings)
        self._hud.bind(self._latch.space, keys.bindings, keys.shortcuts)
        try:
            save_keys(self._path, keys.bindings, keys.shortcuts)
        except (OSError, ValueError) as error:
            self._tell(f"not kept: {error}")
