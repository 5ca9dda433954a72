"""The menu that Esc opens: pages of items, driven by keys or the mouse.

Item      one line: what it says, what it does, and a picture
Menu      which page and item is chosen; events in, drawing out
Overlay   what of it the window needs; a picture being cropped is one too

Not here: what the pages are (session.py), how keys are kept (options.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pygame

from worldmodel.env import Frame
from worldmodel.ui.keymap import LABELS, chords, plain
from worldmodel.ui.paint import DIM, INK, LIT, SHADE, fill, fitted, lettering


@dataclass(frozen=True)
class Item:
    """label at the left, value at the right; act is done on Enter or a click (None: it only informs, or opens a page).

    stays: the menu remains open afterwards
    turn: what Left (-1) and Right (+1) do to the value; without an act, Enter and a click do what Right does
    page: the items of a page of its own
    """

    label: str
    act: Callable[[], None] | None = None
    value: str = ""
    frame: Frame | None = None
    stays: bool = False
    turn: Callable[[int], None] | None = None
    page: Callable[[], list[Item]] | None = None


class Overlay(Protocol):
    """What gets the keys and clicks while it is open, and is drawn over the world. awaits: see Menu."""

    is_open: bool
    awaits: Callable[[int], None] | None

    def handle(self, event: pygame.Event) -> None:
        """A key or mouse event."""
        ...

    def press(self, scancode: int) -> None:
        """A key."""
        ...

    def draw(self, surface: pygame.Surface) -> None:
        """Over the whole window."""
        ...

    def close(self) -> None:
        """Show nothing."""
        ...


class Menu:
    """pages: title -> its items, asked for anew whenever they are drawn; the root lists them between first and last.

    Up, Down, Enter, Esc (back, then close); a click does what Enter does. While `awaits` is set
    (ask), the next key, mouse button or part of a gamepad is given to it instead, as a code of keymap.py that may
    have Shift or Ctrl in it, and Esc drops it; `question` stands at the foot.
    """

    def __init__(self, pages: Mapping[str, Callable[[], list[Item]]], first: list[Item], last: list[Item]) -> None:
        self.is_open = False
        self.awaits: Callable[[int], None] | None = None
        self.question = ""
        self._root = [*first, *(Item(f"{title} ...", page=page) for title, page in pages.items()), *last]
        self._path: list[tuple[Item, int]] = []  # the pages that are open, each with the cursor below it
        self._cursor = 0
        self._places: list[pygame.Rect] = []
        self._offset = 0  # items above the first that is drawn

    def open(self) -> None:
        """Show the root."""
        self.is_open, self._path, self._cursor, self.awaits = True, [], 0, None

    def close(self) -> None:
        """Show nothing."""
        self.is_open, self.awaits = False, None

    def ask(self, question: str, awaits: Callable[[int], None]) -> None:
        """Give the next key to `awaits`."""
        self.question, self.awaits = question, awaits

    @property
    def items(self) -> list[Item]:
        """Those of the page that is shown."""
        page = self._path[-1][0].page if self._path else None
        return (page() or [Item("nothing here yet")]) if page else self._root

    def handle(self, event: pygame.Event) -> None:
        """A key or mouse event while the menu is open."""
        if event.type == pygame.KEYDOWN:
            self.press(chords(event.scancode, event.key, event.mod)[0] if self.awaits else event.scancode)
        elif self.awaits and event.type == pygame.MOUSEBUTTONDOWN:
            if -event.button in LABELS:  # the wheel is no button
                self.press(-event.button)
        elif event.type in (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN):
            number = pygame.Rect(event.pos, (1, 1)).collidelist(self._places)
            if number >= 0:
                self._cursor = number + self._offset
                if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
                    self._do()

    def press(self, scancode: int) -> None:
        """A key; or, for `awaits`, any code of keymap.py."""
        if self.awaits:
            awaits, self.awaits = self.awaits, None
            if plain(scancode) != pygame.KSCAN_ESCAPE:
                awaits(scancode)
        elif scancode == pygame.KSCAN_ESCAPE:
            if self._path:
                self._cursor = self._path.pop()[1]
            else:
                self.close()
        elif scancode in (pygame.KSCAN_UP, pygame.KSCAN_DOWN):
            self._cursor = (self._cursor + (1 if scancode == pygame.KSCAN_DOWN else -1)) % len(self.items)
        elif scancode in (pygame.KSCAN_LEFT, pygame.KSCAN_RIGHT):
            turn = self.items[min(self._cursor, len(self.items) - 1)].turn
            if turn:
                turn(1 if scancode == pygame.KSCAN_RIGHT else -1)
        elif scancode in (pygame.KSCAN_RETURN, pygame.KSCAN_KP_ENTER, pygame.KSCAN_SPACE):
            self._do()

    def _do(self) -> None:
        items = self.items
        item = items[min(self._cursor, len(items) - 1)]
        if item.page:
            self._path.append((item, self._cursor))
            self._cursor = 0
        elif item.act:
            if not item.stays:
                self.close()
            item.act()
        elif item.turn:
            item.turn(1)

    def draw(self, surface: pygame.Surface) -> None:
        """Over the whole window; a long page scrolls with the cursor."""
        fill(surface, surface.get_rect(), SHADE, 0)
        width, height = surface.get_size()
        unit = max(10, min(height // 24, width // 36))
        title = self._path[-1][0].label.removesuffix(" ...") if self._path else "Menu"
        surface.blit(lettering(title, round(1.6 * unit), LIT), (2 * unit, unit))
        foot = (
            self.question
            if self.awaits
            else "arrows, Enter  \u00b7  Esc back  \u00b7  or the mouse  \u00b7  pad: cross, A, B back"
        )
        surface.blit(fitted(foot, round(0.9 * unit), DIM, width - 3 * unit), (2 * unit, height - round(1.4 * unit)))
        items, room = self.items, height - round(5.5 * unit)
        self._cursor = min(self._cursor, len(items) - 1)
        row = max(round(1.5 * unit), min(round(1.9 * unit), room // len(items)))  # closer where that shows them all
        shown = max(1, room // row)
        self._offset = max(0, min(self._cursor - shown // 2, len(items) - shown))
        self._places = []
        for number, item in list(enumerate(items))[self._offset : self._offset + shown]:
            top = round(3.4 * unit) + (number - self._offset) * row
            place = pygame.Rect(unit, top, width * 3 // 5, row)
            is_chosen = number == self._cursor
            ink = LIT if is_chosen else INK if item.act or item.turn or item.page else DIM
            wish = lettering(item.value, unit, DIM).get_width()
            room = max(place.width // 2, place.width - wish - 3 * unit)  # the value shrinks only where both are long
            label = fitted(("> " if is_chosen else "  ") + item.label, unit, ink, room)
            surface.blit(label, (place.left + unit, top + unit // 3))
            value = fitted(item.value, unit, DIM, max(1, place.width - label.get_width() - 2 * unit))
            surface.blit(value, (place.right - value.get_width(), top + unit // 3))
            self._places.append(place)
            if is_chosen and item.frame is not None:
                _draw_picture(surface, item.frame, pygame.Rect(width * 2 // 3, round(3.4 * unit), width // 4, height))
        if self._offset > 0:
            _draw_mark(surface, self._places[0], unit, -1)
        if self._offset + shown < len(items):
            _draw_mark(surface, self._places[-1], unit, 1)


def _draw_mark(surface: pygame.Surface, place: pygame.Rect, unit: int, up: int) -> None:
    """There is more above (-1) or below (1) of what is drawn."""
    x, y = place.right + unit, place.top + unit
    points = [(x - unit // 2, y - up * unit // 3), (x + unit // 2, y - up * unit // 3), (x, y + up * unit // 3)]
    pygame.draw.polygon(surface, LIT, points)


def _draw_picture(surface: pygame.Surface, frame: Frame, place: pygame.Rect) -> None:
    picture = pygame.image.frombytes(frame.tobytes(), frame.shape[1::-1], "RGB")
    size = (place.width, round(place.width * frame.shape[0] / frame.shape[1]))
    surface.blit(pygame.transform.scale(picture, size), place)
