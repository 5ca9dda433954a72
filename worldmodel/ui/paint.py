"""Letters, plates and colours: what the meters, the strips and the menu are drawn with.

lettering, fill, plate   a text, a rounded box, lines of text on a dark box
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pygame

Color = tuple[int, int, int, int]  # red, green, blue, opacity
INK, DIM, LIT, RED = (236, 239, 244, 255), (167, 176, 189, 255), (255, 200, 87, 255), (255, 77, 77, 255)
DARK, PLATE, CAP, SHADE = (0, 0, 0, 255), (12, 14, 18, 190), (70, 78, 92, 150), (8, 10, 14, 225)


@lru_cache(maxsize=16)
def _font(height: int) -> pygame.Font:
    if not pygame.font.get_init():
        pygame.font.init()
    return pygame.Font(None, height)


@lru_cache(maxsize=256)
def lettering(text: str, height: int, color: Color) -> pygame.Surface:
    """A text as a picture, height pixels high."""
    return _font(height).render(text, True, color)


def fill(surface: pygame.Surface, place: pygame.Rect, color: Color, radius: int) -> None:
    """A rounded box that lets the picture shine through."""
    box = pygame.Surface(place.size, pygame.SRCALPHA)
    pygame.draw.rect(box, color, box.get_rect(), border_radius=radius)
    surface.blit(box, place)


Line = tuple[str, Color, int]  # text, colour, height in pixels


def plate(
    surface: pygame.Surface, lines: Iterable[Line], pad: int, align: str = "center", **anchor: tuple[int, int]
) -> pygame.Rect:
    """Lines on a dark plate; anchor is one keyword of Rect (topleft, center ...), kept inside the surface."""
    texts = [lettering(text, height, color) for text, color, height in lines if text]
    gap = texts[-1].get_height() // 3
    width, height = max(t.get_width() for t in texts), sum(t.get_height() + gap for t in texts) - gap
    place = pygame.Rect(0, 0, width + 2 * pad, height + 2 * pad)
    for name, point in anchor.items():
        setattr(place, name, point)
    place.clamp_ip(surface.get_rect())
    fill(surface, place, PLATE, pad)
    top = place.top + pad
    for text in texts:
        left = place.left + pad if align == "left" else place.centerx - text.get_width() // 2
        surface.blit(text, (left, top))
        top += text.get_height() + gap
    return place
