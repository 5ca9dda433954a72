"""Which of the pictures on screen is meant: by the mouse, a number, the arrows or the cross of a gamepad.

Focus   the pictures' places and the one that is meant; one for all strips of pictures
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pygame

ARROWS = {
    pygame.KSCAN_LEFT: (-1, 0),
    pygame.KSCAN_RIGHT: (1, 0),
    pygame.KSCAN_UP: (0, -1),
    pygame.KSCAN_DOWN: (0, 1),
}
TAKES = (pygame.KSCAN_RETURN, pygame.KSCAN_KP_ENTER)


class Focus:
    """places: of the pictures that can be chosen, none if no such are shown; number: of the one that is meant."""

    def __init__(self) -> None:
        self.places: Sequence[pygame.Rect] = ()
        self.number = 0
        self._page: Hashable = None

    @property
    def is_shown(self) -> bool:
        """True while there are pictures to choose from."""
        return len(self.places) > 0

    def turn_to(self, page: Hashable, number: int) -> int:
        """On another page than before, `number` is meant at first; gives the one that is."""
        if page != self._page:
            self._page, self.number = page, number
        return self.number

    def hide(self) -> None:
        """There are none."""
        self.places, self._page = (), None

    def choose(self, number: int) -> bool:
        """Mean the picture of this number; False if there is none."""
        if not 0 <= number < len(self.places):
            return False
        self.number = number
        return True

    def point(self, position: tuple[int, int]) -> bool:
        """Mean the picture under the pointer; False if there is none."""
        return self.choose(pygame.Rect(position, (1, 1)).collidelist(list(self.places)))

    def press(self, scancode: int) -> bool | None:
        """A key: an arrow means the next picture in its direction (False), Enter takes the one that is meant (True);
        None for any other key, or if there are no pictures.
        """
        if not self.is_shown or scancode not in (*ARROWS, *TAKES):
            return None
        if scancode in TAKES:
            return True
        self.number = self._next(*ARROWS[scancode])
        return False

    def _next(self, dx: int, dy: int) -> int:
        """The nearest one to a side: in the same row, or in the next row that way."""
        here = self.places[self.number]

        def way(place: pygame.Rect) -> tuple[int, int]:
            x, y = place.centerx - here.centerx, place.centery - here.centery
            return (abs(x), 0) if dx else (abs(y), abs(x))

        def is_that_way(place: pygame.Rect) -> bool:
            if dx:
                return place.centery == here.centery and (place.centerx - here.centerx) * dx > 0
            return (place.centery - here.centery) * dy > 0

        there = [number for number, place in enumerate(self.places) if is_that_way(place)]
        return min(there, key=lambda number: way(self.places[number]), default=self.number)
