"""What stands in the menu: the pages of one session.

Library      what else could be played: names of worlds, the folder of this world's recordings
pages        title -> items

Not here: how a menu works (menu.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from worldmodel.data.replay import Replay
from worldmodel.data.states import NUM_SLOTS
from worldmodel.env import Frame
from worldmodel.ui.arrivals import clipboard
from worldmodel.ui.beat import REDRAWS, Beat
from worldmodel.ui.bindings import HANDS, button_rows, pad_rows
from worldmodel.ui.hud import LEVELS, Hud
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Latch
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.pace import PACES
from worldmodel.ui.rebinding import Rebinding
from worldmodel.ui.runner import Runner
from worldmodel.ui.shelf import Played, Shelf
from worldmodel.ui.shortcuts import NAMES, key_of, shortcut_rows
from worldmodel.ui.window import FILTERS, SCALES, Window

AUTO = "auto"  # of the option tier
MOST_TURNS = 40  # from one end of a run to the other
MOUSE = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)  # degrees a pixel
STICK = tuple(float(degrees) for degrees in range(40, 401, 20))  # degrees a second
ZONES = tuple(percent / 100 for percent in range(0, 55, 5))


@dataclass(frozen=True)
class Library:
    """worlds: what play.py's option world takes; recordings: a folder of episodes; keys, settings: files of the player
    that the menu writes; starts: (title, frame) of each; here: the one of worlds that is played, None if it is a
    recording; tiers: (name, facts) of each, where it has several; picture, recorded: of a world by name, of a recording
    by path, None as long as there is none; plays: the folder of what every run leaves, worlds in it.
    """

    worlds: tuple[str, ...] = ()
    recordings: Path = Path("recordings")
    keys: Path = Path("keys.json")
    settings: Path = Path("settings.json")
    starts: Sequence[tuple[str, Frame]] = ()
    here: str | None = None
    tiers: Sequence[tuple[str, str]] = ()
    picture: Callable[[str], Frame | None] = lambda name: None
    recorded: Callable[[str], Frame | None] = lambda path: None
    plays: Path | None = None


class Table(Protocol):
    """What the pages need of a Session."""

    runner: Runner
    window: Window
    hud: Hud
    latch: Latch
    menu: Menu
    library: Library
    rebinding: Rebinding
    beat: Beat

    def leave_for(self, **options: Any) -> None:
        """End the session, and play something else."""
        ...

    def open(self, what: Path | Frame | None) -> None:
        """Play what a path leads to, or begin at a picture."""
        ...

    def export(self, path: Path) -> None:
        """Make films of a recording, beside play."""
        ...

    def keep(self, **changes: Any) -> None:
        """Keep changed settings in their file."""
        ...


def pages(table: Table) -> Mapping[str, Callable[[], list[Item]]]:
    """The pages, each asked for anew when it is drawn."""
    library, moments = table.library, dict[Path, int]()
    recordings = Shelf(lambda: [library.recordings])
    runs = Shelf(lambda: sorted(library.plays.iterdir()) if library.plays and library.plays.is_dir() else [])
    return {
        "Starts": lambda: _starts(table),
        "Save": lambda: _slots(table.runner, Command.SAVE),
        "Load": lambda: _slots(table.runner, Command.LOAD),
        "Recordings": lambda: _played(table, recordings(), moments),
        "Runs": lambda: [*_take_over(table), *_played(table, runs(), moments)],
        "Export": lambda: [_line(table, played, partial(table.export, played.path)) for played in recordings()],
        "Worlds": lambda: _worlds(table),
        **({"Tiers": lambda: _tiers(table)} if table.library.tiers else {}),
        "Controls": lambda: _controls(table),
        "Display": lambda: _display(table),
    }


def _worlds(table: Table) -> list[Item]:
    library, items = table.library, []
    for name in library.worlds:
        act = partial(table.leave_for, world=name, replay=None)
        items.append(Item(name, act, "(here)" if name == library.here else "", library.picture(name)))
    return items


def _tiers(table: Table) -> list[Item]:
    known = [*table.library.tiers, (AUTO, "the largest that keeps pace on this machine")]
    return [Item(name, partial(table.leave_for, tier=name), facts) for name, facts in known]


def _starts(table: Table) -> list[Item]:
    runner, items = table.runner, []
    for n in range(runner.num_starts):
        title, frame = table.library.starts[n] if n < len(table.library.starts) else ("", None)
        act = partial(runner.send, Command.NEXT_START, n + 1)
        items.append(Item(f"start {n}", act, f"{title}  (here)" if n == runner.start else title, frame))
    return [*items, Item("a picture from the clipboard", lambda: table.open(clipboard()), "or drop one on the window")]


def _slots(runner: Runner, command: Command) -> list[Item]:
    """Every slot to save to, or the full ones to load."""
    items = []
    for n in range(NUM_SLOTS if runner.saving.slots else 0):
        assert runner.saving.slots is not None
        save = runner.saving.slots.peek(n)
        if save or command is Command.SAVE:
            facts = f"{save.saved_at}, frame {save.frame_index}" if save else "empty"
            facts += f", tier {save.tier}" if save and save.tier else ""

            def act(n: int = n) -> None:
                runner.send(Command.NEXT_SLOT, n + 1)
                runner.send(command)

            items.append(Item(f"slot {n}", act, facts, save.frame if save else None))
    return items


def _line(table: Table, played: Played, act: Callable[[], None] | None = None) -> Item:
    """One recording or run: which, when, how long, in which world."""
    facts = [played.world, *[f"{played.seconds:.0f} s"] * (played.num_steps > 0), played.facts, played.ended]
    picture = table.library.recorded(str(played.path))
    return Item(played.path.name, act, ", ".join(filter(None, facts)), picture)


def _played(table: Table, shown: Sequence[Played], moments: dict[Path, int]) -> list[Item]:
    """Recordings or runs, each with a page of what can be done with it; moments: frames chosen there."""
    lines = [_line(table, played) for played in shown]
    pages = [partial(_choices, table, played, moments) for played in shown]
    return [replace(line, page=page if played.num_steps else None) for line, page, played in zip(lines, pages, shown)]


def _choices(table: Table, played: Played, moments: dict[Path, int]) -> list[Item]:
    """Watch it, compare it, or play on from a frame of it: the last, until Left and Right choose another."""
    now = moments.get(played.path, played.num_steps)
    stride = max(1, round(played.fps), round(played.num_steps / MOST_TURNS))
    leave = partial(table.leave_for, replay=str(played.path), world=None)  # it knows its world

    def turn(by: int) -> None:
        moments[played.path] = min(max(now + by * stride, 0), played.num_steps)

    moment = f"frame {now} of {played.num_steps}, {now / played.fps:.1f} s: Left, Right"
    return [
        Item("watch", leave, f"{played.seconds:.1f} s", table.library.recorded(str(played.path))),
        Item("verify", partial(leave, verify=True), "make it again and compare every frame"),
        Item("take over", partial(leave, branch_at=now), moment, turn=turn),
    ]


def _take_over(table: Table) -> list[Item]:
    """Play on from the frame on screen, while what was played before is shown."""
    runner = table.runner
    if isinstance(runner.world, Replay):
        path, frame = str(runner.world.episode.path), runner.world.state()["frame"]
        return [Item("take over here", partial(table.leave_for, replay=path, world=None, branch_at=frame))]

    def act() -> None:
        runner.send(Command.TAKE_OVER)
        runner.send(Command.RESUME)

    is_shown = runner.control.is_opening and runner.control.opening.begin
    return [Item("take over here", act, "what follows is yours")] if is_shown else []


def _controls(table: Table) -> list[Item]:
    latch, rebinding = table.latch, table.rebinding
    rows = button_rows(latch.space, latch.bindings)
    pads = {meaning: parts for parts, meaning in pad_rows(latch.space, latch.bindings)}
    items = []
    for name, (keys, meaning) in zip(latch.space.buttons, rows, strict=False):
        pad = f"  \u00b7  pad {pads[meaning]}" if meaning in pads else ""
        items.append(Item(meaning, partial(rebinding.ask, name), keys + pad, stays=True))
    presets = [Item(f"keys for {hand}", partial(rebinding.use_hand, hand), stays=True) for hand in HANDS]
    return items + _feel(table) + presets + _window_keys(table)


def _window_keys(table: Table) -> list[Item]:
    """The keys of the window: of each command but Esc's, which stays."""
    rows = {does: keys for keys, does in shortcut_rows(table.window.shortcuts)}
    ask = table.rebinding.ask
    items = [Item(command.value, partial(ask, command), rows[command.value], stays=True) for command in NAMES.values()]
    return [Item("Window:"), *items, Item("usual keys for the window", table.rebinding.use_usual, stays=True)]


def _feel(table: Table) -> list[Item]:
    """How strongly things turn; Left and Right change it, and it is kept."""
    feel = table.latch.feel

    def change(**values: Any) -> None:
        table.latch.feel = replace(feel, **values)
        table.keep(**values)

    def turned(name: str, values: Sequence[float]) -> Callable[[int], None]:
        now = min(range(len(values)), key=lambda i: abs(values[i] - getattr(feel, name)))
        return lambda by: change(**{name: values[min(max(now + by, 0), len(values) - 1)]})

    def switched(name: str) -> Callable[[int], None]:
        return lambda by: change(**{name: not getattr(feel, name)})

    def on(claim: bool) -> str:
        return "on" if claim else "off"

    return [
        Item("mouse", turn=turned("degrees_per_pixel", MOUSE), value=f"{feel.degrees_per_pixel:g} degrees a pixel"),
        Item("stick", turn=turned("stick_degrees", STICK), value=f"{feel.stick_degrees:g} degrees a second"),
        Item("dead zone of the sticks", turn=turned("dead_zone", ZONES), value=f"{feel.dead_zone:.0%}"),
        Item("up is down", turn=switched("invert_y"), value=on(feel.invert_y)),
        Item("a press holds until the next", turn=switched("toggle"), value=on(feel.toggle)),
    ]


def _display(table: Table) -> list[Item]:
    window, hud = table.window, table.hud

    def change(option: str, owner: Any, name: str, values: Sequence[str], label: str) -> Item:
        now = getattr(owner, name)

        def turn(by: int) -> None:
            value = values[(values.index(now) + by) % len(values)]
            setattr(owner, name, value)
            table.keep(**{option: value})

        return Item(label, turn=turn, value=now)

    return [
        change("pace", table.runner, "pace", PACES, "pace (turn: the world waits for your keys)"),
        change("hud", hud, "level", LEVELS, "meters"),
        change("scale", window, "scale", SCALES, "scale"),
        change("filter", window, "filter", FILTERS, "filter"),
        change("redraw", table.beat, "redraw", REDRAWS, f"redraw (this display: {window.refresh_hz:.0f} a second)"),
        Item("full screen", window.toggle_fullscreen, key_of(window.shortcuts, Command.FULLSCREEN), stays=True),
    ]
