"""Which key presses which button of a world.

default_bindings      codes -> buttons of a world, for both hands or for one of HANDS
button_rows, pad_rows the key table; key_rows: with the window's keys

Not here: what a code is (keymap.py), the keys of the window (shortcuts.py), the player's own keys (rebinding.py,
keyfile.py), what a button does (games/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from worldmodel.action import ActionError, ActionSpace
from worldmodel.ui.keymap import Command, code_label, code_of, is_pad, plain
from worldmodel.ui.shortcuts import USUAL, shortcut_rows

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


def key_rows(
    space: ActionSpace, bindings: Mapping[int, str], shortcuts: Mapping[int, Command] = USUAL
) -> list[tuple[str, str]]:
    """(keys, meaning) of each button of a world, then of each command of the window."""
    return [*button_rows(space, bindings), *shortcut_rows(shortcuts)]


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
    buttons: Iterable[str], chosen: Mapping[str, Iterable[str]] | None = None, hand: str = "both hands",
    shortcuts: Mapping[int, Command] = USUAL,
) -> dict[int, str]:  # fmt: skip
    """Code -> button, for every button: chosen keys first, then what it wishes, then spare letters and digits; then
    the same for a gamepad.

    chosen  button -> labels of its keys ("W", "Space", "Mouse left", "Pad A"); they replace that button's wishes
    hand    one of HANDS
    shortcuts: the window's keys, which no button gets
    A code has one button, a button may have several codes; buttons beyond the spare keys stay without.
    Raises ActionError for an unknown label or button, a key of the window, or a key chosen twice.
    """
    names, keys, pads = list(buttons), dict[int, str](), dict[int, str]()
    for name, labels in (chosen or {}).items():
        if name not in names:
            raise ActionError(f"keys are chosen for {name!r}, but the world's buttons are {names}")
        for code in map(code_of, labels):
            if code in shortcuts or code != plain(code):
                whose = shortcuts[code].value if code in shortcuts else "with Shift or Ctrl, keys are the window's"
                raise ActionError(f"key {code_label(code)} cannot be chosen for {name!r}: {whose}")
            if (pads if is_pad(code) else keys).setdefault(code, name) != name:
                raise ActionError(f"key {code_label(code)} is chosen for two buttons, {name!r} is the second")
    wishes, spare = HANDS[hand]
    pad_wishes = {name: tuple(f"Pad {part}" for part in parts) for name, parts in PAD_WISHES.items()}
    own = _given(names, keys, wishes, spare, shortcuts)
    return own | _given(names, pads, pad_wishes, [f"Pad {part}" for part in SPARE_PADS], {})


def _given(
    names: list[str], bindings: dict[int, str], wishes: Mapping[str, tuple[str, ...]], spare: Iterable[str],
    shortcuts: Mapping[int, Command],
) -> dict[int, str]:  # fmt: skip
    """Bindings, and keys for the names that have none in them: a code goes to the name that likes it most."""
    bindings = dict(bindings)
    open_names = [name for name in names if name not in bindings.values()]
    for rank in range(max(map(len, wishes.values()))):
        for name in open_names:
            for label in wishes.get(name, ())[rank : rank + 1]:
                if code_of(label) not in shortcuts:
                    bindings.setdefault(code_of(label), name)
    left = [code_of(key) for key in spare if code_of(key) not in {*bindings, *shortcuts}]
    unbound = [name for name in open_names if name not in bindings.values()]
    return bindings | dict(zip(left, unbound, strict=False))
