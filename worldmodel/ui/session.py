"""A session: one world, one window, one player.

Session   the window's thread: events, drawing and the commands; the world runs in a Runner beside it

The window never waits for the model: it draws a new frame as soon as there is one, and all else that changes with the
display's next picture. Not here: the pace of the world (runner.py), what the keys are (keymap.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pygame

from worldmodel.data.states import Slots
from worldmodel.data.video import VideoError, load_image
from worldmodel.env import Env, Frame
from worldmodel.ui.abilities import Eye
from worldmodel.ui.arrivals import wanted_by
from worldmodel.ui.beat import Beat
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.control import Opening, Script
from worldmodel.ui.crop import Crop
from worldmodel.ui.events import pump
from worldmodel.ui.film import save_screenshot
from worldmodel.ui.flash import FlashGuard
from worldmodel.ui.hud import Hud
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Feel, Latch
from worldmodel.ui.mailbox import Shown
from worldmodel.ui.menu import Item, Menu
from worldmodel.ui.pages import Library, pages
from worldmodel.ui.readings import Meters
from worldmodel.ui.rebinding import Rebinding
from worldmodel.ui.runner import Runner
from worldmodel.ui.settings import SettingsError, keep_settings
from worldmodel.ui.shortcuts import key_of
from worldmodel.ui.stats import Stats
from worldmodel.ui.strip import Strips
from worldmodel.ui.window import Window

POLL_S = 0.004  # between two looks at the events: a step lasts 57 ms, so nobody can tell
HINT_S = 8.0  # how long a new player is told about the keys
SWITCH_INTERVAL_S = 0.0005  # of Python's threads: the window gets its turn while the model computes
USUAL = Feel()


class Session:
    """Play an Env in a Window.

    title       what the meters call the world; hud: "off", "min" or "full"
    pace        "realtime", "uncapped" or "turn" (see Runner)
    start, seed what the Env is reset with; num_starts: how many starts Shift+F4 goes through
    slots       where F5 saves; None: nowhere. opening: what is played before the player takes over
    library     what else the menu offers: worlds, recordings. When the player chooses one of them the session ends,
                and `wanted` holds the options of play.py for it
    keys        button -> labels of its keys, where they are not the usual ones (see default_bindings); the window has
                its own
    feel        of mouse, stick and held keys; eye: of a dreamed world, which can then begin at any picture
    notice      a line that is shown first
    redraw      when the window is drawn while no new frame comes (see Beat)
    out         folder of screenshots; say: gets each message to the player, one line

    Neither the Env nor the window is closed here. ValueError for a pace, hud level, redraw or keys that do not exist.
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
        feel: Feel = USUAL,
        eye: Eye | None = None,
        notice: str = "",
        redraw: str = "display",
        out: Path = Path("out"),
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.window, self.out, self.say = window, out, say
        bindings = default_bindings(env.actions.buttons, keys, shortcuts=window.shortcuts)
        self.latch = Latch(env.actions, bindings, feel, env.fps)
        self.hud = Hud(title, env.actions, bindings, hud)
        self.hud.bind(env.actions, bindings, window.shortcuts)
        self.runner = Runner(env, self.latch, pace, start, seed, num_starts, slots, opening, out)
        self.library, self.wanted = library or Library(), dict[str, Any]()
        first = [Item("Go on", lambda: self.runner.send(Command.RESUME))]
        if self.runner.can_go_back:
            first.append(Item("Timeline", lambda: None, "what was, and the branches"))  # it lies under the menu
        self.menu = window.menu = Menu(pages(self), first, [Item("Quit", self._quit)])
        self.rebinding = Rebinding(window, self.latch, self.hud, self.menu, self.library.keys, self._note)
        self._shown: Shown | None = None
        self.flash_guard = FlashGuard()
        self._calm: Frame = np.zeros((*env.size_hw, 3), np.uint8)
        self.strips, self.meters, self._eye = Strips(self.runner, self.key), Meters(self.runner, eye), eye
        self._is_quitting = False
        if notice:
            self.hud.toast(notice)
        self.beat, self._begun_at = Beat(window, redraw), 0.0

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
        newest = self.runner.mailbox.newest(min(POLL_S, self.beat.wait_s) if self._shown else POLL_S)
        if newest and not self._shown:
            self.say(f"first frame: {time.perf_counter() - self._begun_at:.2f} s")
        self._shown = newest or self._shown
        for command in pump(self.window, self.latch):
            if listens or command not in (Command.HOLD, Command.RESUME):
                self._obey(command)
        self._tell()
        begun, sight = time.perf_counter(), self._sight()
        if self._shown and (self.beat.is_due(sight) or newest):
            if newest:
                self._calm = self.flash_guard.calm(newest.frame, time.perf_counter())
            picture = self.window.draw(self._calm)
            self.hud.has_pad = self.window.pads.is_there
            self._draw_over(picture, self._shown)
            self.window.flip()
            self.beat.drawn(begun, sight)
            self.runner.stats.num_flips += 1
            if newest and newest.number is not None:
                self.runner.stats.shown(newest.number, time.perf_counter())

    def _sight(self) -> Hashable:
        """What is on the screen beside the frame and the meters, where the model's thread or the hour can change it;
        what the player changes, the window knows (is_touched).
        """
        runner, menu, surface = self.runner, self.window.menu, pygame.display.get_surface()
        world = (runner.is_paused, runner.is_over, runner.rewound, runner.is_exact, runner.steps, id(runner.fan))
        kept = (runner.saving.slot, runner.saving.num_saves, runner.branches.number, runner.taping.recording_since)
        return world, kept, self.hud.message, menu is not None and menu.is_open, surface and surface.get_size()

    def _draw_over(self, picture: pygame.Rect, shown: Shown) -> None:
        """The menu; or save slots, timeline or what-if, and the meters below; or the key table."""
        surface, hud, top = self.window.surface, self.hud, 0
        if self.window.menu and self.window.menu.is_open:
            self.window.menu.draw(surface)
            hud.draw_toast(surface, (surface.get_width() // 2, surface.get_height()))  # over the line that helps
            return
        if hud.is_table_shown:
            self.window.focus.hide()
        else:
            top = self.strips.draw(surface, self.window.focus, has_pad=hud.has_pad)
        readings = self.meters.read(shown, self._hint(time.perf_counter()), hud.level)
        hud.draw(surface, picture, readings, top)

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
                self.window.menu = self.menu
                self.menu.open()
                self.runner.send(Command.HOLD)
            case Command.DROP:
                self.open(Path(self.window.dropped.pop(0)))
            case Command.RESUME | Command.PAUSE:
                self.hud.is_table_shown = False
                if command is Command.PAUSE:
                    self.window.lend(is_lent=not self.runner.is_paused)  # for a click on the pictures
                self.runner.send(command)
            case Command.NEXT_SLOT | Command.SAVE | Command.LOAD:
                self.runner.send(command)
                self.strips.show_slots()
            case Command.CHOOSE:
                self.strips.choose(self.window.focus.number)
            case _:
                self.runner.send(command)

    def open(self, what: Path | Frame | None) -> None:
        """Play a world or a recording, or ask which part of a picture to begin at; what cannot be opened is told."""
        if isinstance(what, Path):
            wanted = wanted_by(what)
            if wanted:
                self.leave_for(**wanted)
                return
            try:
                what = load_image(what)
            except VideoError as error:
                self._note(str(error))
                return
        if what is None or self._eye is None:
            self.hud.toast("no picture there" if what is None else "only a dreamed world begins at a picture")
            return
        self.runner.send(Command.HOLD)
        self.window.release()
        self.menu.close()
        self.window.menu = Crop(what, self.window.size_hw, self._eye.seen, self._begin_at)

    def export(self, path: Path) -> None:
        """Make mp4, gif and a contact sheet of a recording, with the keys on them, beside play."""
        self.runner.taping.export(path)

    def _begin_at(self, frame: Frame) -> None:
        self.runner.send(Command.NEXT_START, frame)
        self.runner.send(Command.RESUME)

    def leave_for(self, **options: Any) -> None:
        """End the session, and tell whoever started it what to play next."""
        self.wanted, self._is_quitting = options, True

    def keep(self, **changes: Any) -> None:
        """Keep changed settings in their file."""
        try:
            keep_settings(self.library.settings, changes)
        except (OSError, SettingsError) as error:
            self._note(f"not kept: {error}")

    def key(self, command: Command) -> str:
        """What to press for a command."""
        return key_of(self.window.shortcuts, command)

    def _note(self, line: str) -> None:
        self.hud.toast(" ".join(line.split())[:120])

    def _quit(self) -> None:
        self._is_quitting = True

    def _save_screenshot(self) -> None:
        if self._shown:
            try:
                self.hud.toast(f"saved {save_screenshot(self._shown.frame, self.out)}")
            except OSError as error:
                self.hud.toast(f"no picture saved: {error}")

    def _tell(self) -> None:
        """Show and say what the model's thread has to tell."""
        lines, self.window.pads.news = self.window.pads.news, []
        while not self.runner.messages.empty():
            lines.append(self.runner.messages.get())
        for line in lines:
            self.hud.toast(line)
            self.say(line)

    def _hint(self, now: float) -> str:
        """What a player may want to press now."""
        keys = f"{self.key(Command.HELP)} keys"
        if self.runner.is_over:
            return f"the end  \u00b7  {self.key(Command.RESET)} again"
        if self.runner.is_paused:
            has_pictures = self.hud.has_pad and self.window.focus.is_shown
            go_on = "B" if has_pictures else self.key(Command.PAUSE)
            return f"{go_on} go on  \u00b7  {self.key(Command.SINGLE_STEP)} one step  \u00b7  {keys}"
        if self.window.is_captured or now - self._begun_at > HINT_S:
            return ""
        return f"click to look with the mouse  \u00b7  {keys}" if any(self.latch.space.mouse) else keys
