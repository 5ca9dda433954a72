"""A session: one world, one window, one player.

Session   the window's thread: events, drawing and the commands; the world runs in a Runner beside it

The window never waits for the model: it draws the newest frame when there is one and refreshes the meters when there
is none. Not here: the pace of the world (runner.py), what the keys are (keymap.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.action import ActionError
from worldmodel.data.states import NUM_SLOTS, Slots
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.env import Env, Frame
from worldmodel.ui.abilities import Opening
from worldmodel.ui.flash import FlashGuard
from worldmodel.ui.hud import Hud, Readings
from worldmodel.ui.keymap import Command, Latch, default_bindings, save_keys
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.pages import Library, pages, rebound
from worldmodel.ui.runner import Runner, Script, Shown
from worldmodel.ui.stats import DONE, FLIP, INPUT, START, Stats
from worldmodel.ui.strip import Cell, draw_strip
from worldmodel.ui.window import Window

POLL_S = 0.004  # between two looks at the events: a step lasts 57 ms, so nobody can tell
REFRESH_S = 0.05  # redraw at least this often, for the meters
METERS_S = 0.25  # between two readings of the averages, so that they can be read
METER_FRAMES = 64  # averaged over
HINT_S = 8.0  # how long a new player is told about the keys
SWITCH_INTERVAL_S = 0.0005  # of Python's threads: the window gets its turn while the model computes
SCREENSHOT_HEIGHT = 720
MOST_THUMBNAILS = 12  # of the timeline
STRIP_S = 2.5  # the save slots are shown after F5, F6 and F9


class Session:
    """Play an Env in a Window.

    title       what the meters call the world; hud: "off", "min" or "full"
    pace        "realtime", "uncapped" or "turn" (see Runner)
    start, seed what the Env is reset with; num_starts: how many starts Shift+F4 goes through
    slots       where F5 saves; None: nowhere. opening: what is played before the player takes over
    library     what else the menu offers: worlds, recordings. When the player chooses one of them the session ends,
                and `wanted` holds the options of play.py for it
    keys        button -> labels of its keys, where they are not the usual ones (see default_bindings)
    degrees_per_pixel   mouse sensitivity
    out         folder of screenshots; say: gets each message to the player, one line

    Neither the Env nor the window is closed here. ValueError for a pace, a hud level or keys that do not exist.
    """

    def __init__(
        self,
        env: Env,
        window: Window,
        *,
        title: str = "",
        hud: str = "min",
        pace: str = "realtime",
        start: Any = 0,
        seed: int = 0,
        num_starts: int = 1,
        slots: Slots | None = None,
        opening: Opening | None = None,
        library: Library | None = None,
        keys: Mapping[str, Iterable[str]] | None = None,
        degrees_per_pixel: float = 0.15,
        out: Path = Path("out"),
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.window, self.out, self.say = window, out, say
        self.latch = Latch(env.actions, default_bindings(env.actions.buttons, keys), degrees_per_pixel)
        self.hud = Hud(title, env.actions, self.latch.bindings, hud)
        self.runner = Runner(env, self.latch, pace, start, seed, num_starts, slots, opening, out)
        self.library, self.wanted = library or Library(), dict[str, Any]()
        self.menu = window.menu = Menu(pages(self), [Item("Go on", self._resume)], [Item("Quit", self._quit)])
        self._shown: Shown | None = None
        self.flash_guard = FlashGuard()
        self._calm: Frame = np.zeros((*env.size_hw, 3), np.uint8)
        self._slots_until, self._slot_seen = 0.0, 0
        self._slot_cells: list[Cell] = []
        self._timeline: list[tuple[int, Cell]] = []  # (frame's number, its picture), oldest first
        self._is_quitting = False
        self._begun_at = self._drawn_at = self._averaged_at = 0.0
        self._averages: dict[str, float] = {}

    def run(self, max_frames: int | None = None, script: Script | None = None) -> Stats:
        """Play until the player quits, or for max_frames steps; gives the times of all frames.

        script  callable(step) -> Action, instead of the keyboard (tests, benchmarks).
        An error of the Env is raised here, after the mouse is free and a running recording is finished.
        """
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._begun_at = time.perf_counter()
        with ThreadPoolExecutor(1, thread_name_prefix="model") as executor:
            model = executor.submit(self.runner.run, max_frames, script)
            try:
                while not self._is_quitting:
                    is_last = model.done()  # asked before the mailbox, so that the last frame is shown too
                    self._turn(listens=script is None)
                    if is_last:
                        break
            finally:
                self.runner.stop()
                self.window.release()
                sys.setswitchinterval(interval)
        self._tell()
        model.result()
        return self.runner.stats

    def _turn(self, *, listens: bool) -> None:
        """Once around: wait a moment for a frame, handle events, draw if something changed.

        listens  False: a script plays, and losing the focus or a click do not stop it.
        """
        newest = self.runner.newest(POLL_S)
        if newest and not self._shown:
            self.say(f"first frame: {time.perf_counter() - self._begun_at:.2f} s")
        self._shown = newest or self._shown
        for command in self.window.pump(self.latch):
            if listens or command not in (Command.HOLD, Command.RESUME):
                self._obey(command)
        self._tell()
        if self._shown and (newest or time.perf_counter() - self._drawn_at > REFRESH_S):
            if newest:
                self._calm = self.flash_guard.calm(newest.frame, time.perf_counter())
            picture = self.window.draw(self._calm)
            self.hud.draw(self.window.surface, picture, self._read(self._shown))
            if self.menu.is_open:
                self.menu.draw(self.window.surface)
            else:
                self._draw_strip()
            self.window.flip()
            self._drawn_at = time.perf_counter()
            self.runner.stats.num_flips += 1
            if newest and newest.number is not None:
                self.runner.stats.shown(newest.number, self._drawn_at)

    def _obey(self, command: Command) -> None:
        """Do what concerns the window; pass the rest on to the model's thread."""
        match command:
            case Command.QUIT:
                self._is_quitting = True
            case Command.HELP:
                self.hud.is_table_shown = not self.hud.is_table_shown
            case Command.HUD:
                self.hud.next_level()
            case Command.FULLSCREEN:
                self.window.toggle_fullscreen()
            case Command.SCREENSHOT:
                self._save_screenshot()
            case Command.ESCAPE:
                self.window.release()
                self.hud.is_table_shown = False
                self.menu.open()
                self.runner.send(Command.HOLD)
            case Command.RESUME | Command.PAUSE:
                self.hud.is_table_shown = False
                self.runner.send(command)
            case Command.NEXT_SLOT | Command.SAVE | Command.LOAD:
                self.runner.send(command)
                self._slots_until = time.perf_counter() + STRIP_S
            case Command.CHOOSE:
                self._choose(self.window.chosen)
            case _:
                self.runner.send(command)

    def _draw_strip(self) -> None:
        """The save slots for a moment after a key of theirs; while paused the fan of what-if, or the timeline."""
        self.window.choices, top = [], 0
        if self.runner.slots and time.perf_counter() < self._slots_until:
            if not self._slot_cells or self._slot_seen != self.runner.num_saves:
                self._slot_seen = self.runner.num_saves
                self._slot_cells = _slot_cells(self.runner.slots)
            title = "Save slots  \u00b7  F5 save  \u00b7  F9 load  \u00b7  F6 next"
            draw_strip(self.window.surface, title, self._slot_cells, self.runner.slot, top)
            return
        self._slot_cells = []
        if not self.runner.is_paused or self.hud.is_table_shown:
            self._timeline = []
        elif self.runner.fan:
            cells = [Cell(what.frame, f"{i + 1}  {what.label}") for i, what in enumerate(self.runner.fan)]
            title = "What if, for a second  \u00b7  press its number or click"
            self.window.choices = draw_strip(self.window.surface, title, cells, -1, top)
        elif self.runner.can_go_back:
            if not self._timeline or self._timeline[-1][0] != self.runner.frame_index:
                self._timeline = _timeline(self.runner)
            title = "Timeline  \u00b7  click to go there  \u00b7  , and . one step  \u00b7  Tab what if"
            cells = [cell for _, cell in self._timeline]
            self.window.choices = draw_strip(self.window.surface, title, cells, len(cells) - 1, top)

    def leave_for(self, **options: Any) -> None:
        """End the session, and tell whoever started it what to play next."""
        self.wanted, self._is_quitting = options, True

    def bind(self, button: str, code: int) -> None:
        """Give a button another key, and keep that in the file of keys."""
        try:
            self.latch.bind(rebound(self.latch.bindings, button, code))
            self.hud.bind(self.latch.space, self.latch.bindings)
            save_keys(self.library.keys, self.latch.bindings)
        except (ActionError, OSError) as error:
            self.hud.toast(" ".join(str(error).split())[:120])

    def _resume(self) -> None:
        self.runner.send(Command.RESUME)

    def _quit(self) -> None:
        self._is_quitting = True

    def _choose(self, number: int) -> None:
        """A picture of the strip was chosen."""
        if self.runner.fan:
            self.runner.send(Command.CHOOSE, number)
        elif number < len(self._timeline) - 1:
            self.runner.send(Command.STEP_BACK, self.runner.frame_index - self._timeline[number][0])

    def _save_screenshot(self) -> None:
        """The frame without the meters, enlarged by a whole factor, into out/."""
        if not self._shown:
            return
        frame = self._shown.frame
        path = self.out / f"{datetime.now():%Y%m%d-%H%M%S-%f}.png"
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            save_image(path, contact_sheet([frame], columns=1, scale=max(1, SCREENSHOT_HEIGHT // frame.shape[0])))
            self.hud.toast(f"saved {path}")
        except OSError as error:
            self.hud.toast(f"no picture saved: {error}")

    def _tell(self) -> None:
        """Show and say what the model's thread has to tell."""
        while not self.runner.messages.empty():
            line = self.runner.messages.get()
            self.hud.toast(line)
            self.say(line)

    def _read(self, shown: Shown) -> Readings:
        """The meters of now; the averages change METERS_S apart."""
        runner, stats, now = self.runner, self.runner.stats, time.perf_counter()
        if now - self._averaged_at > METERS_S:
            self._averaged_at = now
            self._averages = {
                "fps": stats.fps(METER_FRAMES),
                "model_ms": stats.ms(START, DONE, 50, METER_FRAMES),
                "model_p99_ms": stats.ms(START, DONE, 99, METER_FRAMES),
                "input_ms": stats.ms(INPUT, FLIP, 50, METER_FRAMES),
            }
        since = runner.taping.recording_since
        return Readings(
            **self._averages,
            world_fps=runner.env.fps,
            steps=runner.steps,
            action=shown.action,
            recording_s=None if since is None else now - since,
            start=str(runner.start) if isinstance(runner.start, int) else "given",
            seed=runner.seed,
            frame_index=runner.frame_index,
            divergence=runner.divergence,
            num_dropped=runner.taping.num_dropped,
            num_unseen=stats.num_frames - stats.num_shown,
            is_paused=runner.is_paused,
            rewound_s=None if runner.rewound is None else runner.rewound / runner.env.fps,
            is_exact=runner.is_exact,
            hint=self._hint(now),
        )

    def _hint(self, now: float) -> str:
        """What a player may want to press now."""
        if self.runner.is_over:
            return "the end  \u00b7  F4 again"
        if self.runner.is_paused:
            return "P go on  \u00b7  . one step  \u00b7  F1 keys"
        if self.window.is_captured or now - self._begun_at > HINT_S:
            return ""
        return "click to look with the mouse  \u00b7  F1 keys" if any(self.latch.space.mouse) else "F1 keys"


def _slot_cells(slots: Slots) -> list[Cell]:
    saves = [slots.peek(number) for number in range(NUM_SLOTS)]
    times = [f"{n}  {save.saved_at[11:16]}" if save else f"{n}  empty" for n, save in enumerate(saves)]
    return [Cell(save.frame if save else None, time) for save, time in zip(saves, times, strict=True)]


def _timeline(runner: Runner) -> list[tuple[int, Cell]]:
    """Up to MOST_THUMBNAILS moments of the last seconds, at even distances, the last one now."""
    frames, now = runner.tape.frames(), runner.frame_index
    every = max(1, -(-len(frames) // MOST_THUMBNAILS))
    back = range((len(frames) - 1) // every * every, -1, -every)
    return [(now - n, Cell(frames[-1 - n], f"-{n / runner.env.fps:.1f} s" if n else "now")) for n in back]
