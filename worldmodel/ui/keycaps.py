"""The keys of a world as caps, lit while they are held: on the window and on films.

KeyCaps   keys where they are on the keyboard, and a dial of the mouse
"""

from __future__ import annotations

from collections.abc import Mapping

import pygame

from worldmodel.action import Action, ActionSpace
from worldmodel.ui.keymap import code_label, is_pad
from worldmodel.ui.paint import CAP, DARK, DIM, INK, LIT, PLATE, Color, fill, lettering

KEY = 1.8  # size of a key cap, in heights of the letters
ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")  # the letter keys, each row a quarter key to the right
ARROWS = {"Up": (1, 1), "Left": (0, 2), "Down": (1, 2), "Right": (2, 2)}  # (column, row) within their block


class KeyCaps:
    """The keys of a world where they are on the keyboard, and a dial of the mouse."""

    def __init__(self, space: ActionSpace, bindings: Mapping[int, str]) -> None:
        self.space, self._places = space, _cap_places(bindings)
        self.num_rows = max((row + 1 for _, row, _ in self._places.values()), default=0)

    def draw(self, surface: pygame.Surface, action: Action, unit: int, *, shows_all: bool) -> None:
        """At the lower edge: the pressed keys, each in its own place, or all; unit: the height of letters."""
        key = round(KEY * unit)
        bottom = surface.get_height() - unit // 2
        for (label, name), (column, row, width) in self._places.items():
            is_held = name in action.buttons
            if is_held or shows_all:
                cap = pygame.Rect(round(unit / 2 + column * key), bottom - round((row + 1) * key), 0, key - 3)
                cap.width = round(width * key) - 3
                fill(surface, cap, LIT if is_held else CAP, round(key * 0.18))
                _cap_symbol(surface, cap, label, DARK if is_held else INK, unit)
        if any(self.space.mouse) and (shows_all or any(action.mouse)):
            self._draw_mouse(surface, action.mouse, unit)

    def _draw_mouse(self, surface: pygame.Surface, mouse: tuple[float, float], unit: int) -> None:
        """A dial: the dot is the mouse's motion in this step, the rim the most that the world takes."""
        radius = round(1.7 * unit)
        middle = pygame.Vector2(surface.get_width() - unit // 2 - radius, surface.get_height() - unit // 2 - radius)
        fill(surface, pygame.Rect(middle - (radius, radius), (2 * radius, 2 * radius)), PLATE, radius)
        pygame.draw.aacircle(surface, DIM, middle, radius, 1)
        share = [d / limit if limit else 0.0 for d, limit in zip(mouse, self.space.mouse, strict=True)]
        dot = middle + pygame.Vector2(share) * (radius * 0.75)
        pygame.draw.line(surface, LIT, middle, dot, max(2, unit // 6))
        pygame.draw.aacircle(surface, LIT if any(mouse) else DIM, dot, unit * 0.32)


Cap = tuple[str, str]  # label, button


def _cap_places(bindings: Mapping[int, str]) -> dict[Cap, tuple[float, float, float]]:
    """(column, row from the bottom, width) of each button's first key, in key sizes: letters as on the keyboard,
    the others to their right.
    """
    letters, arrows, others = {}, {}, []
    first = {name: code for code, name in reversed(list(bindings.items())) if not is_pad(code)}
    for name, code in first.items():
        label = code_label(code)
        row = next((i for i, keys in enumerate(ROWS) if label in keys), None)
        if row is not None:
            letters[label, name] = (ROWS[row].index(label) + row / 4, row)
        elif label in ARROWS:
            arrows[label, name] = ARROWS[label]
        else:
            others.append((label, name))
    places: dict[Cap, tuple[float, float, float]] = {}
    right = 0.0
    for block in (letters, arrows):
        if block:
            left, lowest = min(c for c, _ in block.values()), max(r for _, r in block.values())
            places |= {cap: (right + c - left, lowest - r, 1.0) for cap, (c, r) in block.items()}
            right = max(c + w for c, _, w in places.values()) + 0.5
    for label, name in others:
        width = 1.0 + 0.3 * len(label)
        places[label, name] = (right, 0.0, width)
        right += width
    return places


def _cap_symbol(surface: pygame.Surface, cap: pygame.Rect, label: str, ink: Color, unit: int) -> None:
    """The label of a key cap; an arrow for the arrow keys, which the default font does not have."""
    angles = {"Right": 0, "Up": 90, "Left": 180, "Down": 270}
    if label in angles:
        corners = [pygame.Vector2(unit * 0.42, 0).rotate(-angles[label] + turn) for turn in (0, 125, -125)]
        pygame.draw.aalines(surface, ink, True, [cap.center + corner for corner in corners])
        pygame.draw.polygon(surface, ink, [cap.center + corner for corner in corners])
        return
    text = lettering(label, round(unit * 0.95), ink)
    surface.blit(text, text.get_rect(center=cap.center))
