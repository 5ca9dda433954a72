"""What stands in the menu: the pages of one session.

Library      what else could be played: names of worlds, the folder of this world's recordings
pages        title -> items

Not here: how a menu works (menu.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from worldmodel.action import ActionError
from worldmodel.data.episode import EpisodeError, list_episodes, read_json
from worldmodel.data.states import NUM_SLOTS
from worldmodel.ui.hud import Hud
from worldmodel.ui.keymap import Command, Latch, button_rows, code_label, code_of
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.runner import Runner
from worldmodel.ui.window import Window

MOST_RECORDINGS = 40  # the newest


@dataclass(frozen=True)
class Library:
    """worlds: what play.py's option world takes; recordings: a folder of episodes; keys: the file of bindings."""

    worlds: tuple[str, ...] = ()
    recordings: Path = Path("recordings")
    keys: Path = Path("keys.json")


class Table(Protocol):
    """What the pages need of a Session."""

    runner: Runner
    window: Window
    hud: Hud
    latch: Latch
    menu: Menu
    library: Library

    def leave_for(self, **options: Any) -> None:
        """End the session, and play something else."""
        ...

    def bind(self, button: str, code: int) -> None:
        """Give a button another key."""
        ...


def pages(table: Table) -> Mapping[str, Callable[[], list[Item]]]:
    """The pages, each asked for anew when it is drawn."""
    return {
        "Starts": lambda: _starts(table.runner),
        "Save": lambda: _slots(table.runner, Command.SAVE),
        "Load": lambda: _slots(table.runner, Command.LOAD),
        "Recordings": lambda: _recordings(table),
        "Worlds": lambda: [
            Item(name, partial(table.leave_for, world=name, replay=None)) for name in table.library.worlds
        ],
        "Controls": lambda: _controls(table),
        "Display": lambda: _display(table),
    }


def _worlds(table: Table) -> list[Item]:
    return [Item(name, partial(table.leave_for, world=name, replay=None)) for name in table.library.worlds]


def _starts(runner: Runner) -> list[Item]:
    return [
        Item(f"start {n}", partial(runner.send, Command.NEXT_START, n + 1), "here" if n == runner.start else "")
        for n in range(runner.num_starts)
    ]


def _slots(runner: Runner, command: Command) -> list[Item]:
    """Every slot to save to, or the full ones to load."""
    items = []
    for n in range(NUM_SLOTS if runner.slots else 0):
        assert runner.slots is not None
        save = runner.slots.peek(n)
        if save or command is Command.SAVE:
            facts = f"{save.saved_at}, frame {save.frame_index}" if save else "empty"

            def act(n: int = n) -> None:
                runner.send(Command.NEXT_SLOT, n + 1)
                runner.send(command)

            items.append(Item(f"slot {n}", act, facts, save.frame if save else None))
    return items


def _recordings(table: Table) -> list[Item]:
    try:
        paths = list_episodes(table.library.recordings)[::-1][:MOST_RECORDINGS]
    except EpisodeError:
        return []
    return [Item(path.name, partial(table.leave_for, replay=str(path)), _facts(path)) for path in paths]


def _facts(path: Path) -> str:
    try:
        meta = read_json(path / "meta.json")
        return f"{meta['num_steps'] / meta['fps']:.0f} s, {meta['source']}"
    except (EpisodeError, KeyError, TypeError, ZeroDivisionError):
        return "not finished"


def _controls(table: Table) -> list[Item]:
    items = []
    rows = button_rows(table.latch.space, table.latch.bindings)
    for name, (keys, meaning) in zip(table.latch.space.buttons, rows, strict=False):

        def ask(name: str = name) -> None:
            table.menu.awaits = partial(table.bind, name)

        items.append(Item(meaning, ask, keys, stays=True))
    return items


def _display(table: Table) -> list[Item]:
    window, hud = table.window, table.hud
    return [
        Item("meters", hud.next_level, hud.level, stays=True),
        Item("scale", window.next_scale, window.scale, stays=True),
        Item("filter", window.next_filter, window.filter, stays=True),
        Item("full screen", window.toggle_fullscreen, "F11", stays=True),
    ]


def rebound(bindings: Mapping[int, str], button: str, code: int) -> dict[int, str]:
    """Bindings in which a button has the one key `code`. ActionError for a key of the window, or without a name."""
    if code_label(code).startswith("key "):
        raise ActionError("that key has no name and cannot be bound")
    code_of(code_label(code))  # refuses keys of the window
    return {c: b for c, b in bindings.items() if b != button and c != code} | {code: button}
