"""Letters, plates and colours: what the meters, the strips and the menu are drawn with.

lettering, fill, plate   a text, a rounded box, lines of text on a dark box
fitted, wrapped          a text that keeps to a width: in smaller letters, or in lines
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pygame

Color = tuple[int, int, int, int]  # red, green, blue, opacity
INK, DIM, LIT, RED = (236, 239, 244, 255), (167, 176, 189, 255), (255, 200, 87, 255), (255, 77, 77, 255)
LEAST_LETTERS = 10  # pixels: smaller ones cannot be read
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


@lru_cache(maxsize=256)
def fitted(text: str, height: int, color: Color, width: int) -> pygame.Surface:
    """The same, at most `width` pixels wide: in letters down to LEAST_LETTERS, and then cut, with dots at the end."""
    picture = lettering(text, height, color)
    while picture.get_width() > width and height > LEAST_LETTERS:
        height = max(LEAST_LETTERS, min(height - 1, height * width // picture.get_width()))
        picture = lettering(text, height, color)
    keep = len(text)
    while picture.get_width() > width and keep > 1:
        keep = min(keep - 1, keep * width // picture.get_width() + 1)
        picture = lettering(text[:keep].rstrip() + "...", height, color)
    return picture


def wrapped(text: str, height: int, width: int) -> list[str]:
    """Lines of whole words, each at most `width` pixels wide if its words are."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(height).size(longer)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


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
    room = surface.get_width() - 2 * pad
    texts = [fitted(text, height, color, room) for text, color, height in lines if text]
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
