"""The window: a frame drawn sharp and in proportion.

has_display   is there a screen to open a window on
letterbox     where a picture goes in a window
Window        draw, flip; capture and release of the mouse

Mouse: captured by a click and only in worlds that have a mouse axis; released on Esc, focus loss, error and close.
Not here: events (events.py), what is written over the picture (hud.py), when to draw (session.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence

import pygame

from worldmodel.env import Frame
from worldmodel.ui import gamepad
from worldmodel.ui.focus import Focus
from worldmodel.ui.keymap import Command
from worldmodel.ui.menu import Overlay
from worldmodel.ui.shortcuts import USUAL

HEADLESS_DRIVERS = ("dummy", "offscreen")  # SDL chooses "offscreen" by itself and "opens" windows nobody sees
DESKTOP_SHARE = 0.8  # of the desktop's width and height, at most, for a new window
HEADLESS_SIZE = (1024, 768)
SETTLE_S = 0.5  # after F11: pygame makes another window, and the old one reports that it lost the focus
USUAL_HZ = 60.0  # of a display; SDL reports 0 under Xvfb
SCALES, FILTERS = ("int", "fit", "stretch"), ("nearest", "linear")
EVENTS = [
    pygame.QUIT,
    pygame.KEYDOWN,
    pygame.KEYUP,
    pygame.MOUSEBUTTONDOWN,
    pygame.MOUSEBUTTONUP,
    pygame.MOUSEMOTION,
    pygame.WINDOWFOCUSLOST,
    pygame.WINDOWFOCUSGAINED,
    pygame.WINDOWMINIMIZED,
    pygame.DROPFILE,
    *gamepad.EVENTS,
    *gamepad.SOURCES,
]


class WindowError(RuntimeError):
    """No window can be opened here; the message says what to do."""


def has_display() -> bool:
    """True if a window opened now would be seen by somebody.

    On Linux without DISPLAY and WAYLAND_DISPLAY nothing is tried (the attempt writes noise to stderr), unless
    SDL_VIDEODRIVER names a driver.
    """
    named = os.environ.get("SDL_VIDEODRIVER")
    if sys.platform == "linux" and not (named or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    was_open = pygame.display.get_init()
    try:
        pygame.display.init()
        return pygame.display.get_driver() not in HEADLESS_DRIVERS
    except pygame.error:
        return False
    finally:
        if not was_open:
            pygame.display.quit()


def letterbox(size_hw: tuple[int, int], window_wh: tuple[int, int], scale: str = "int") -> pygame.Rect:
    """Where a picture of size_hw goes in a window: centred, in proportion, as large as possible.

    scale "int": a whole multiple, so that all pixels are equally large, where one fits; "fit": any factor;
    "stretch": the whole window, in proportion or not.
    """
    if scale == "stretch":
        return pygame.Rect((0, 0), window_wh)
    (height, width), (window_width, window_height) = size_hw, window_wh
    factor = min(window_width / width, window_height / height)
    if scale == "int" and factor >= 1:
        factor = int(factor)
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    return pygame.Rect((window_width - w) // 2, (window_height - h) // 2, w, h)


class Window:
    """One resizable window for frames uint8 (H, W, 3) of size_hw.

    scale: one of SCALES (letterbox); filter: one of FILTERS. It opens with `size`, width and height, or at
    the largest whole multiple within DESKTOP_SHARE of the desktop. allow_headless: also where nobody sees it (tests,
    benchmarks). Raises WindowError without a display, ValueError for another scale or filter.
    """

    def __init__(
        self,
        title: str,
        size_hw: tuple[int, int],
        scale: str = "int",
        filter: str = "nearest",
        size: Sequence[int] | None = None,
        *,
        allow_headless: bool = False,
    ) -> None:
        if scale not in SCALES or filter not in FILTERS:
            raise ValueError(f"scale must be one of {SCALES} and filter one of {FILTERS}, got {scale!r}, {filter!r}")
        os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")  # real pixels, not a blurred enlargement
        try:
            pygame.display.init()
            is_headless = pygame.display.get_driver() in HEADLESS_DRIVERS
            if is_headless and not allow_headless:
                raise WindowError("no display to open a window on. headless=true plays a tour instead.")
            self._desktop = HEADLESS_SIZE if is_headless else pygame.display.get_desktop_sizes()[0]
            self._is_sized = size is not None
            self._windowed_size = _within(size, self._desktop) if size else self._usual_size(size_hw)
            self.surface = pygame.display.set_mode(self._windowed_size, pygame.RESIZABLE)
        except pygame.error as error:
            raise WindowError(
                f"the window did not open ({error}). Use headless=true for a tour without one."
            ) from error
        pygame.display.set_caption(title)
        pygame.key.stop_text_input()  # no input method pops up over the game
        pygame.event.set_blocked(None)
        pygame.event.set_allowed(EVENTS)
        self.size_hw, self.is_captured, self._was_captured = size_hw, False, False
        self.scale, self.filter, self._is_fullscreen = scale, filter, False
        self.is_touched = False  # the player did something that the window may have to answer
        self.settled_at = 0.0  # until then a lost focus is our own doing
        self.menu: Overlay | None = None  # gets the keys and clicks while it is open
        self.shortcuts: Mapping[int, Command] = USUAL  # the player's own, once they are read
        self.focus = Focus()  # among the pictures that are shown while the world stands still
        self.dropped: list[str] = []  # files that were dropped on it, oldest first
        self.pads = gamepad.Gamepads()

    def _usual_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        width, height = self._desktop
        return letterbox(size_hw, (int(width * DESKTOP_SHARE), int(height * DESKTOP_SHARE))).size

    def turn_to(self, title: str, size_hw: tuple[int, int]) -> None:
        """Show frames of this size from now on; a window that was not given a size gets the usual one for them."""
        pygame.display.set_caption(title)
        if size_hw != self.size_hw and not self._is_sized and not self._is_fullscreen:
            self._windowed_size = self._usual_size(size_hw)
            self.surface = pygame.display.set_mode(self._windowed_size, pygame.RESIZABLE)
        self.size_hw = size_hw

    @property
    def refresh_hz(self) -> float:
        """How often its display shows a new picture, a second, as SDL says; USUAL_HZ where it does not know."""
        return float(pygame.display.get_current_refresh_rate() or USUAL_HZ)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height when it is not full screen."""
        surface = pygame.display.get_surface()
        return self._windowed_size if self._is_fullscreen or surface is None else surface.get_size()

    def draw(self, frame: Frame) -> pygame.Rect:
        """Put a frame on the window's surface, bars in black; gives the picture's place. flip() shows it."""
        self.surface = pygame.display.get_surface() or self.surface  # another one after each resize
        picture = letterbox(self.size_hw, self.surface.get_size(), self.scale)
        # converted while small, then scaled straight into place: 0.3 ms at 1152 x 864, against 1.1 for a blit
        small = pygame.image.frombuffer(frame.data, self.size_hw[::-1], "RGB").convert(self.surface)
        resize = pygame.transform.smoothscale if self.filter == "linear" else pygame.transform.scale
        if picture.size != self.surface.get_size():
            self.surface.fill("black")
        if self.surface.get_rect().contains(picture):
            resize(small, picture.size, self.surface.subsurface(picture))
        return picture

    def flip(self) -> None:
        """Show what was drawn."""
        pygame.display.flip()

    def capture(self) -> None:
        """Hide the pointer and read the mouse as motion."""
        self.is_captured = True
        pygame.event.set_grab(True)
        pygame.mouse.set_relative_mode(True)

    def release(self) -> None:
        """Give the pointer back; allowed at any time."""
        self.is_captured = False
        pygame.mouse.set_relative_mode(False)
        pygame.event.set_grab(False)
        pygame.mouse.set_visible(True)

    def lend(self, *, is_lent: bool) -> None:
        """Give the pointer back for a while; after it, it is captured again if it was."""
        if is_lent:
            self._was_captured = self.is_captured
            self.release()
        elif self._was_captured:
            self.capture()

    def toggle_fullscreen(self) -> None:
        """Between the window's last size and the whole desktop; a captured mouse stays captured."""
        was_captured = self.is_captured
        self.release()
        self._is_fullscreen = not self._is_fullscreen
        if self._is_fullscreen:
            self._windowed_size = self.surface.get_size()
            self.surface = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            self.surface = pygame.display.set_mode(self._windowed_size, pygame.RESIZABLE)
        self.settled_at = time.perf_counter() + SETTLE_S
        if was_captured:
            self.capture()

    def close(self) -> None:
        """Free the mouse and close; closing twice is allowed."""
        if pygame.display.get_init():
            self.release()
            pygame.display.quit()


def _within(size: Sequence[int], desktop: tuple[int, int]) -> tuple[int, int]:
    """A size of last time, on a desktop that may be smaller now."""
    return min(size[0], desktop[0]), min(size[1], desktop[1])
