"""Which key presses which button of a world.

default_bindings      codes -> buttons of a world, for both hands or for one of HANDS
rebound               the same with one more key
button_rows, pad_rows the key table
load_keys, save_keys  the player's own keys, in a file

Not here: what a code is, the keys of the window (keymap.py), what a button does (games/).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from worldmodel.action import ActionError, ActionSpace
from worldmodel.ui.keymap import Command, code_label, code_of, command_rows, is_pad

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
PAD_WISHES: dict[str, tuple[str, ...]] = {
    "forward": ("stick up", "up"),
    "backward": ("stick down", "down"),
    "strafe_left": ("stick left", "left"),
    "strafe_right": ("stick right", "right"),
    "turn_left": ("look left",),
    "turn_right": ("look right",),
    "gas": ("RT",),
    "brake": ("LT",),
    "up": ("stick up", "up"),
    "down": ("stick down", "down"),
    "left": ("stick left", "left"),
    "right": ("stick right", "right"),
    "look_up": ("look up",),
    "look_down": ("look down",),
    "attack": ("RT",),
    "fire": ("RT",),
    "alt_attack": ("LT",),
    "jump": ("A",),
    "use": ("X", "A"),
    "reload": ("Y",),
    "run": ("L3",),
    "sprint": ("L3",),
    "crouch": ("B",),
}
SPARE_PADS = ("A", "B", "X", "Y", "RB", "LT", "R3", "L3", "RT", "up", "down", "left", "right")  # LB turns back time
_LEFT = {"forward": "W", "backward": "S", "turn_left": "A", "turn_right": "D", "strafe_left": "Q", "strafe_right": "E"}
_RIGHT = {"forward": "I", "backward": "K", "turn_left": "J", "turn_right": "L", "strafe_left": "U", "strafe_right": "O"}
_SAME = {"gas": "forward", "up": "forward", "brake": "backward", "down": "backward", "left": "turn_left",
         "right": "turn_right"}  # fmt: skip
# Presets: what a button wishes, and spare keys. One hand needs no mouse: turning lies where the other hand is not.
HANDS: dict[str, tuple[dict[str, tuple[str, ...]], str]] = {"both hands": (WISHES, SPARE_KEYS)} | {
    hand: ({**{name: (key,) for name, key in keys.items()}, **{name: (keys[like],) for name, like in _SAME.items()},
            "attack": ("Space",), "fire": ("Space",), "jump": ("Space",), "use": (use,)}, use + spare)
    for hand, keys, use, spare in (("left hand", _LEFT, "F", "RGCXZVTB12345"), ("right hand", _RIGHT, "H", "YNMB7890"))
}  # fmt: skip


def key_rows(space: ActionSpace, bindings: Mapping[int, str]) -> list[tuple[str, str]]:
    """(keys, meaning) of each button of a world, then of each command of the window."""
    return [*button_rows(space, bindings), *command_rows()]


def button_rows(space: ActionSpace, bindings: Mapping[int, str]) -> list[tuple[str, str]]:
    """(keys, meaning) of each button of a world, and of its mouse."""
    rows = [(_keys(bindings, name, of_pad=False) or "(no key left)", name.replace("_", " ")) for name in space.buttons]
    return rows + ([("Mouse", "look (click first)")] if any(space.mouse) else [])


def pad_rows(space: ActionSpace, bindings: Mapping[int, str]) -> list[tuple[str, str]]:
    """The same for a gamepad, and what its other parts do; buttons without a part are left out."""
    rows = [(_keys(bindings, name, of_pad=True), name.replace("_", " ")) for name in space.buttons]
    look = [("Right stick", "look")] if any(space.mouse) else []
    fixed = [("Start", "menu"), ("LB", "time runs backwards"), ("Back, half a second", Command.RESET.value)]
    paused = [("Cross and A", "paused: choose a picture"), ("Y, B", "paused: what if, go on")]
    return [row for row in rows if row[0]] + look + fixed + paused


def _keys(bindings: Mapping[int, str], button: str, *, of_pad: bool) -> str:
    labels = [code_label(code) for code, bound in bindings.items() if bound == button and is_pad(code) == of_pad]
    return ", ".join(label.removeprefix("Pad ") for label in labels)


def default_bindings(
    buttons: Iterable[str], chosen: Mapping[str, Iterable[str]] | None = None, hand: str = "both hands"
) -> dict[int, str]:
    """Code -> button, for every button: chosen keys first, then what it wishes, then spare letters and digits; then
    the same for a gamepad.

    chosen  button -> labels of its keys ("W", "Space", "Mouse left", "Pad A"); they replace that button's wishes
    hand    one of HANDS
    A code has one button, a button may have several codes; buttons beyond the spare keys stay without.
    Raises ActionError for an unknown label or button, or a key chosen twice.
    """
    names, keys, pads = list(buttons), dict[int, str](), dict[int, str]()
    for name, labels in (chosen or {}).items():
        if name not in names:
            raise ActionError(f"keys are chosen for {name!r}, but the world's buttons are {names}")
        for code in map(code_of, labels):
            if (pads if is_pad(code) else keys).setdefault(code, name) != name:
                raise ActionError(f"key {code_label(code)} is chosen for two buttons, {name!r} is the second")
    wishes, spare = HANDS[hand]
    pad_wishes = {name: tuple(f"Pad {part}" for part in parts) for name, parts in PAD_WISHES.items()}
    return _given(names, keys, wishes, spare) | _given(names, pads, pad_wishes, [f"Pad {part}" for part in SPARE_PADS])


def _given(
    names: list[str], bindings: dict[int, str], wishes: Mapping[str, tuple[str, ...]], spare: Iterable[str]
) -> dict[int, str]:
    """Bindings, and keys for the names that have none in them: a code goes to the name that likes it most."""
    bindings = dict(bindings)
    open_names = [name for name in names if name not in bindings.values()]
    for rank in range(max(map(len, wishes.values()))):
        for name in open_names:
            for label in wishes.get(name, ())[rank : rank + 1]:
                bindings.setdefault(code_of(label), name)
    left = [code_of(key) for key in spare if code_of(key) not in bindings]
    unbound = [name for name in open_names if name not in bindings.values()]
    return bindings | dict(zip(left, unbound, strict=False))


def rebound(bindings: Mapping[int, str], button: str, code: int) -> dict[int, str]:
    """Bindings in which a button has the one key `code`, or the one part of a gamepad, and keeps what it has on the
    other of the two. ActionError for a key of the window, or without a name.
    """
    if code_label(code).startswith("key "):
        raise ActionError("that key has no name and cannot be bound")
    code_of(code_label(code))  # refuses keys of the window
    replaced = {c for c, b in bindings.items() if b == button and is_pad(c) == is_pad(code)}
    return {c: b for c, b in bindings.items() if c not in replaced and c != code} | {code: button}


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
