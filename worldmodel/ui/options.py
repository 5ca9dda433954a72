"""What a player typed: checked, and answered in one line.

check_options         options that do not exist, with the nearest that does
check_choices         values that do not exist, with those that do
load_start            a start by number, or any picture as a frame
key_table             the keys, for --help
parse_script          "forward*8,left*4,fire" -> actions
attempt               any work -> an exit code, and one line about what went wrong

Not here: types and values (play.py, conf/play.yaml).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from worldmodel.action import Action, ActionSpace
from worldmodel.data.video import load_image
from worldmodel.ui.beat import REDRAWS
from worldmodel.ui.bindings import default_bindings, key_rows
from worldmodel.ui.crop import crop_to
from worldmodel.ui.hud import LEVELS
from worldmodel.ui.keyfile import load_keys, load_shortcuts
from worldmodel.ui.keymap import Command
from worldmodel.ui.pace import PACES
from worldmodel.ui.shortcuts import key_of
from worldmodel.ui.window import FILTERS, SCALES

CHOICES: dict[str, tuple[object, ...]] = {
    "env": ("dream", "real", "both"),
    "pace": PACES,
    "hud": LEVELS,
    "scale": SCALES,
    "filter": FILTERS,
    "redraw": REDRAWS,
    "headless": ("auto", True, False),
    "control": ("human", "script", "tour"),
}
ALIASES: dict[str, tuple[str, ...]] = {
    "left": ("turn_left",), "right": ("turn_right",), "up": ("forward",), "down": ("backward",),
    "fire": ("attack",), "shoot": ("attack", "fire"), "attack": ("fire",),
}  # fmt: skip
MOST_SCRIPT = 1_000_000  # steps


class OptionError(ValueError):
    """An option or value that does not exist; the message names those that do."""


def check_options(arguments: Sequence[str], known: Sequence[str]) -> None:
    """OptionError for an argument that is not known=value; those beginning with - or hydra are left to others."""
    for argument in arguments:
        key, equals, _ = argument.lstrip("+~").partition("=")
        if argument.startswith("-") or key.startswith("hydra") or (equals and key in known):
            continue
        near = get_close_matches(key, known, 1)
        hint = f"Did you mean {near[0]}=...?" if near else f"The options are {', '.join(known)}."
        raise OptionError(f"no option {key!r}. {hint}" if equals else f"{argument!r} is not option=value. {hint}")


def check_choices(values: Mapping[str, Any]) -> None:
    """OptionError for a value that is none of its option's CHOICES, for a number of threads below one, or for a
    headroom that is no share.
    """
    if values["threads"] is not None and values["threads"] < 1:
        raise OptionError(f"threads must be at least 1; got {values['threads']}")
    if not 0 <= values["headroom"] < 1:
        raise OptionError(f"headroom must be at least 0 and below 1; got {values['headroom']:g}")
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            listed = ", ".join(str(choice).lower() for choice in choices)
            raise OptionError(f"{key} is one of {listed}; got {values[key]!r}")


def key_table(space: ActionSpace, path: Path) -> str:
    """The keys of a world and of the window, a line each, with the player's own from a file of keys: what F1 has too.
    ActionError if the file is wrong.
    """
    shortcuts = load_shortcuts(path)
    chosen = load_keys(path, space.buttons, shortcuts)
    rows = key_rows(space, default_bindings(space.buttons, chosen, shortcuts=shortcuts), shortcuts)
    width = max(len(keys) for keys, _ in rows)
    return "\n".join(
        [
            f"Keys (also in the window: {key_of(shortcuts, Command.HELP)}):",
            "",
            *(f"  {keys:{width}}  {does}" for keys, does in rows),
        ]
    )


def parse_script(text: str, space: ActionSpace) -> list[Action]:
    """Actions of a script: items with commas between, each buttons joined by + and, with *N, held for N steps.

    "wait" does nothing; "look:DX" or "look:DX:DY" turns by degrees a step; ALIASES are understood. OptionError, with
    what there is, for anything else.
    """
    actions: list[Action] = []
    for item in text.replace(" ", "").split(","):
        names, star, count = item.partition("*")
        if not names or (star and not count.isdecimal()) or (star and not 0 < int(count) <= MOST_SCRIPT):
            raise OptionError(f"script: {item!r} is not NAME, NAME+NAME or NAME*STEPS, as in forward*8,left*4,fire")
        held, mouse = set(), (0.0, 0.0)
        for name in names.split("+"):
            if name.startswith("look:"):
                mouse = _degrees(name, item)
            elif name != "wait":
                held.add(_button(name, space))
        actions += [Action(held, mouse)] * (int(count) if star else 1)
        if len(actions) > MOST_SCRIPT:
            raise OptionError(f"script: more than {MOST_SCRIPT} steps")
    return actions


def _button(name: str, space: ActionSpace) -> str:
    for candidate in (name, *ALIASES.get(name, ())):
        if candidate in space.buttons:
            return candidate
    raise OptionError(
        f"script: no button {name!r} in this world; there are {', '.join(space.buttons)}, wait and look:DX"
    )


def _degrees(name: str, item: str) -> tuple[float, float]:
    try:
        dx, dy = map(float, [*name.split(":")[1:], "0"][:2])
    except ValueError as error:
        raise OptionError(f"script: {item!r}: look takes degrees, as in look:3 or look:3:-1") from error
    if not (math.isfinite(dx) and math.isfinite(dy)):
        raise OptionError(f"script: {item!r}: look takes degrees, as in look:3 or look:3:-1")
    return dx, dy


def load_start(start: Any, size_hw: tuple[int, int], say: Callable[[str], None]) -> Any:
    """The number of a start as it is; a picture's path as a frame of size_hw. VideoError if it cannot be read."""
    if isinstance(start, int):
        return start
    image = load_image(str(start))
    say(f"start {start}: the middle of {image.shape[1]} x {image.shape[0]}, resized to {size_hw[1]} x {size_hw[0]}")
    return crop_to(image, size_hw)


def attempt(work: Callable[[], object], user_errors: tuple[type[Exception], ...]) -> int:
    """Do the work; 0, 2 for user_errors (the player can put them right), 1 for any other, 130 for Ctrl+C.

    An error becomes one line on stderr; with WORLDMODEL_TRACEBACK set it is raised on.
    """
    try:
        work()
        return 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads what we say has seen enough, as in play.py --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the rest goes
        return 0
    except Exception as error:  # the last door of a program
        if os.environ.get("WORLDMODEL_TRACEBACK"):
            raise
        line, is_theirs = " ".join(str(error).split()), isinstance(error, user_errors)
        more = "" if is_theirs else f" ({type(error).__name__}; WORLDMODEL_TRACEBACK=1 shows where)"
        sys.stderr.write(f"{os.path.basename(sys.argv[0])}: {line}{more}\n")
        return 2 if is_theirs else 1
