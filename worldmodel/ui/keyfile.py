"""The player's own keys in a file: {"forward": ["W", "Up"], ..., "window": {"save": ["F5"], ...}}.

load_shortcuts   the keys of the window
load_keys        those of a world's buttons
save_keys        both

One file for all worlds. Not here: which keys there are (keymap.py), what is usual (bindings.py, shortcuts.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from worldmodel.action import ActionError
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.keymap import Command, code_label
from worldmodel.ui.shortcuts import NAMES, USUAL, chosen_shortcuts, labels_of

WINDOW = "window"  # in the file, beside the names of buttons; a button of this name has its usual keys


def load_shortcuts(path: Path) -> dict[int, Command]:
    """The keys of the window; the usual ones if there is no file, or nothing about them in it.

    ActionError, naming the file, if it is wrong: one line.
    """
    try:
        return chosen_shortcuts({name: _labels(keys) for name, keys in dict(_read(path).get(WINDOW, {})).items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _wrong(path, error) from error


def load_keys(path: Path, buttons: Iterable[str], shortcuts: Mapping[int, Command] = USUAL) -> dict[str, list[str]]:
    """button -> labels, for the buttons that this world has; nothing if there is no file. ActionError as above, also
    for a key of the window.
    """
    try:
        keys = _read(path)
        chosen = {name: _labels(keys[name]) for name in buttons if name in keys and name != WINDOW}
        default_bindings(chosen, chosen, shortcuts=shortcuts)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _wrong(path, error) from error
    return chosen


def save_keys(path: Path, bindings: Mapping[int, str], shortcuts: Mapping[int, Command] = USUAL) -> None:
    """The inverse of both. Buttons of other worlds that are in the file stay in it, but for keys that are the window's
    now; of the window only what is not usual is written. OSError if it cannot be written.
    """
    mine: dict[str, list[str]] = {}
    for code, name in bindings.items():
        if name != WINDOW:
            mine.setdefault(name, []).append(code_label(code))
    taken = set(map(code_label, shortcuts))
    kept: dict[str, Any] = {}
    for name, labels in _read(path).items():
        if name != WINDOW and (left := [label for label in _labels(labels) if label not in taken]):
            kept[name] = left
    own = {name: labels_of(shortcuts, command) for name, command in NAMES.items()}
    changed = {name: labels for name, labels in own.items() if labels != labels_of(USUAL, NAMES[name])}
    temporary = path.with_name(f".{path.name}.tmp")
    window = {WINDOW: changed} if changed else {}
    temporary.write_text(json.dumps(kept | mine | window, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    keys = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not isinstance(keys, dict):
        raise ActionError('expected {"forward": ["W", "Up"], ...}')
    return keys


def _labels(keys: Any) -> list[str]:
    if not isinstance(keys, list):
        raise ActionError(f'keys are a list, as in ["W", "Up"]; got {keys!r}')
    return [str(label) for label in keys]


def _wrong(path: Path, error: Exception) -> ActionError:
    return ActionError(f"{path}: {' '.join(str(error).split())}. Correct it, or delete it for the usual keys.")
