"""A row of small pictures over the frame: save slots, the timeline, what-if.

Cell         one picture and its caption
draw_strip   draw them; gives where each stands, for clicks

Not here: what they show and what a click does (session.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pygame

from worldmodel.env import Frame
from worldmodel.ui.hud import CAP, DIM, INK, LIT, SHADE, fill, lettering


@dataclass(frozen=True)
class Cell:
    """frame uint8 (H, W, 3) or None for an empty one."""

    frame: Frame | None
    caption: str


def draw_strip(surface: pygame.Surface, title: str, cells: Sequence[Cell], chosen: int, top: int) -> list[pygame.Rect]:
    """Draw cells from left to right in one row, as large as the window is wide; the chosen one has a bright frame.

    top     the row's upper edge, of the title; chosen: the number of a cell, or -1
    """
    width, height = surface.get_size()
    unit = max(12, height // 40)
    gap = max(3, width // 160)
    shape = next((cell.frame.shape for cell in cells if cell.frame is not None), (3, 4, 3))
    cell_width = min((width - gap) // max(1, len(cells)) - gap, round(height * 0.22 * shape[1] / shape[0]))
    cell_height = max(1, round(cell_width * shape[0] / shape[1]))
    left = (width - len(cells) * (cell_width + gap) + gap) // 2
    band = pygame.Rect(0, top, width, cell_height + round(3.6 * unit))
    fill(surface, band.clip(surface.get_rect()), SHADE, 0)
    surface.blit(lettering(title, unit, INK), (max(gap, left), top + unit // 3))
    places = []
    for number, cell in enumerate(cells):
        place = pygame.Rect(left + number * (cell_width + gap), top + round(1.6 * unit), cell_width, cell_height)
        if cell.frame is None:
            fill(surface, place, CAP, 0)
        else:
            picture = pygame.image.frombuffer(cell.frame.tobytes(), cell.frame.shape[1::-1], "RGB")
            surface.blit(pygame.transform.smoothscale(picture.convert(24), place.size), place)
        if number == chosen:
            pygame.draw.rect(surface, LIT, place.inflate(4, 4), max(2, unit // 6))
        caption = lettering(cell.caption, round(unit * 0.8), LIT if number == chosen else DIM)
        area = pygame.Rect(0, 0, min(cell_width, caption.get_width()), caption.get_height())
        surface.blit(caption, (place.centerx - area.width // 2, place.bottom + 3), area)
        places.append(place)
    return places
