"""A picture on its way into a world: which part of it, and what the world will make of that.

Crop      the picture with a box on the left, the box as the world sees it on the right; keys, mouse and gamepad
crop_to   the middle of a picture, cut and resized to a frame

It stands where the menu stands (see Menu). Not here: where pictures come from (arrivals.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pygame

from worldmodel.env import Frame
from worldmodel.ui.paint import DIM, INK, LIT, SHADE, fill, fitted, lettering

MOVE, ZOOM = 0.05, 0.9  # of the picture's shorter side; of the box's size
LEAST = 0.1  # of the largest box
WHEEL_UP, WHEEL_DOWN = 4, 5  # pygame's mouse buttons


class Crop:
    """Choose a box of size_hw's proportions in a picture uint8 (H, W, 3); take gets its content as a frame.

    seen: a frame -> what the world can know of it. Arrows, wheel, + and - or a click move and size the box; Enter
    takes it, Esc leaves it; on a gamepad the cross, triggers, A and B.
    """

    awaits: Callable[[int], None] | None = None  # as the menu has it; no key is ever asked for here

    def __init__(
        self, picture: Frame, size_hw: tuple[int, int], seen: Callable[[Frame], Frame], take: Callable[[Frame], None]
    ) -> None:
        self.is_open, self._picture, self._size_hw, self._seen, self._take = True, picture, size_hw, seen, take
        self._middle = [picture.shape[0] / 2, picture.shape[1] / 2]  # y, x
        self._share = 1.0
        self._place = pygame.Rect(0, 0, 1, 1)  # of the picture on the window
        self._views: tuple[Frame, Frame] | None = None  # the box as a frame, and as seen; None after a change

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, left, height, width in the picture."""
        height, width = self._picture.shape[:2]
        factor = min(height / self._size_hw[0], width / self._size_hw[1]) * self._share
        h, w = max(1, round(self._size_hw[0] * factor)), max(1, round(self._size_hw[1] * factor))
        top = min(max(round(self._middle[0] - h / 2), 0), height - h)
        left = min(max(round(self._middle[1] - w / 2), 0), width - w)
        return top, left, h, w

    @property
    def views(self) -> tuple[Frame, Frame]:
        """The box as a frame uint8 of size_hw, and what the world sees of it."""
        if self._views is None:
            top, left, h, w = self.box
            frame = crop_to(self._picture[top : top + h, left : left + w], self._size_hw)
            self._views = frame, self._seen(frame)
        return self._views

    def close(self) -> None:
        """Leave it."""
        self.is_open = False

    def handle(self, event: pygame.Event) -> None:
        """A key, a click or a motion of the mouse."""
        if event.type == pygame.KEYDOWN:
            self.press(event.scancode)
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button in (WHEEL_UP, WHEEL_DOWN):
            self._zoom(ZOOM if event.button == WHEEL_UP else 1 / ZOOM)
        elif (event.type == pygame.MOUSEBUTTONDOWN or any(event.buttons)) and self._place.collidepoint(event.pos):
            scale = self._picture.shape[1] / self._place.width
            self._go((event.pos[1] - self._place.top) * scale, (event.pos[0] - self._place.left) * scale)

    def press(self, scancode: int) -> None:
        """A key of those in the line below the picture."""
        step = MOVE * min(self._picture.shape[:2])
        top, left, h, w = self.box
        y, x = top + h / 2, left + w / 2
        match scancode:
            case pygame.KSCAN_ESCAPE:
                self.close()
            case pygame.KSCAN_RETURN | pygame.KSCAN_KP_ENTER | pygame.KSCAN_SPACE:
                self.close()
                self._take(self.views[0])
            case pygame.KSCAN_UP | pygame.KSCAN_DOWN:
                self._go(y + (step if scancode == pygame.KSCAN_DOWN else -step), x)
            case pygame.KSCAN_LEFT | pygame.KSCAN_RIGHT:
                self._go(y, x + (step if scancode == pygame.KSCAN_RIGHT else -step))
            case pygame.KSCAN_EQUALS | pygame.KSCAN_KP_PLUS:
                self._zoom(ZOOM)
            case pygame.KSCAN_MINUS | pygame.KSCAN_KP_MINUS:
                self._zoom(1 / ZOOM)

    def _go(self, y: float, x: float) -> None:
        self._middle, self._views = [y, x], None

    def _zoom(self, factor: float) -> None:
        top, left, h, w = self.box
        self._share = min(1.0, max(LEAST, self._share * factor))
        self._go(top + h / 2, left + w / 2)

    def draw(self, surface: pygame.Surface) -> None:
        """Over the whole window."""
        fill(surface, surface.get_rect(), SHADE, 0)
        width, height = surface.get_size()
        unit = max(10, min(height // 28, width // 46))
        surface.blit(lettering("Begin at this picture", round(1.6 * unit), LIT), (2 * unit, unit))
        room = pygame.Rect(2 * unit, 4 * unit, width // 2 - 3 * unit, height - 8 * unit)
        self._place = _fitted(self._picture, room)
        _blit(surface, self._picture, self._place)
        top, left, h, w = self.box
        scale = self._place.width / self._picture.shape[1]
        corner = (self._place.left + left * scale, self._place.top + top * scale)
        pygame.draw.rect(surface, LIT, pygame.Rect(corner, (max(1, w * scale), max(1, h * scale))), max(2, unit // 6))
        seen = self.views[1]
        place = _fitted(seen, room.move(width // 2 - unit, 0))
        _blit(surface, seen, place)
        surface.blit(lettering("as the world sees it", unit, INK), (place.left, place.bottom + unit // 2))
        foot = "arrows, + and -, or the mouse: the box  \u00b7  Enter: go in  \u00b7  Esc: leave it"
        foot += "  \u00b7  pad: cross, LT, RT, A, B"
        surface.blit(fitted(foot, round(0.9 * unit), DIM, width - 3 * unit), (2 * unit, height - round(1.6 * unit)))


def _fitted(picture: Frame, room: pygame.Rect) -> pygame.Rect:
    factor = max(1e-3, min(room.width / picture.shape[1], room.height / picture.shape[0]))
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return pygame.Rect(room.topleft, size)


def _blit(surface: pygame.Surface, picture: Frame, place: pygame.Rect) -> None:
    drawn = pygame.image.frombytes(np.ascontiguousarray(picture).tobytes(), picture.shape[1::-1], "RGB")
    surface.blit(pygame.transform.smoothscale(drawn, place.size), place)


def crop_to(image: np.ndarray, size_hw: tuple[int, int]) -> Frame:
    """The middle of a picture, uint8 (H, W, 3), cut to the proportions of size_hw and resized to it."""
    height, width = image.shape[:2]
    factor = min(height / size_hw[0], width / size_hw[1])
    h, w = max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))
    top, left = (height - h) // 2, (width - w) // 2
    middle = image[top : top + h, left : left + w].astype(np.float64)
    return np.rint(_resize(_resize(middle, size_hw[0], axis=0), size_hw[1], axis=1)).astype(np.uint8)


def _resize(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Each new pixel is the mean of the old ones under it, or the nearest where the picture grows."""
    edges = np.arange(length) * image.shape[axis] // length
    counts = np.maximum(1, np.diff(edges, append=image.shape[axis]))
    return np.add.reduceat(image, edges, axis) / np.expand_dims(counts, [i for i in range(image.ndim) if i != axis])
