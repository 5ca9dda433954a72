"""What a player has set in the menu and wants to find again: a small JSON file beside conf/play.yaml.

KEPT            the options of play.py that it may hold; a command line comes before it
load_settings   read and check it
keep_settings   change some of it

Not here: the keys of a world's buttons, which have a file of their own (bindings.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEPT: dict[str, type | tuple[type, ...]] = {
    "degrees_per_pixel": (int, float), "stick_degrees": (int, float), "dead_zone": (int, float), "invert_y": bool,
    "toggle": bool, "pace": str, "hud": str, "scale": str, "filter": str, "redraw": str,
}  # fmt: skip
SIZES = "sizes"  # beside them: what was played -> width and height of its window
MOST_PIXELS = 32768


class SettingsError(ValueError):
    """A file of settings that cannot be used; one line that names it."""


def load_settings(path: Path) -> dict[str, Any]:
    """The options in the file, and SIZES; SIZES alone, and empty, if there is no file. SettingsError if it is wrong."""
    try:
        read = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(read, dict):
            raise ValueError('expected {"dead_zone": 0.2, ...}')
        sizes = read.setdefault(SIZES, {})
        for key, value in read.items():
            if key != SIZES and (key not in KEPT or not _is(value, KEPT[key])):
                raise ValueError(f"{key} = {value!r} is not one of the settings {', '.join(KEPT)}")
        if not isinstance(sizes, dict) or not all(_is_size(size) for size in sizes.values()):
            raise ValueError(f'{SIZES} must be {{"name": [width, height]}}')
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}. Correct it, or delete it for the usual settings.") from error
    return read


def keep_settings(path: Path, changes: Mapping[str, Any]) -> None:
    """Change these options in the file, or add them; SIZES is merged. OSError or SettingsError if that cannot be."""
    settings = load_settings(path)
    sizes = settings[SIZES] | changes.get(SIZES, {})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps({**settings, **changes, SIZES: sizes}, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(_is(n, int) and 0 < n <= MOST_PIXELS for n in size)
