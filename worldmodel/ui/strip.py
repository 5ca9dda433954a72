"""A row of small pictures over the frame: save slots, the timeline, what-if.

Cell         one picture and its caption
draw_strip   draw them; gives where each stands, for clicks
Strips       which of them is shown, and what a click on it asks for

Not here: the frames themselves (tape.py, runner.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pygame

from worldmodel.data.states import NUM_SLOTS, Slots
from worldmodel.env import Frame
from worldmodel.ui.keymap import Command
from worldmodel.ui.paint import CAP, DIM, INK, LIT, SHADE, fill, lettering
from worldmodel.ui.runner import Runner

MOST_THUMBNAILS = 12  # of the timeline
STRIP_S = 2.5  # the save slots are shown after F5, F6 and F9


@dataclass(frozen=True)
class Cell:
    """frame uint8 (H, W, 3) or None for an empty one."""

    frame: Frame | None
    caption: str


class Strips:
    """The save slots for a moment after a key of theirs; while paused the fan of what-if, or the timeline.

    slot_cells, timeline: what is shown of them; the latter (number of the frame, its picture), oldest first
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._slots_until, self._slot_seen = 0.0, 0
        self.slot_cells: list[Cell] = []
        self.timeline: list[tuple[int, Cell]] = []

    def show_slots(self) -> None:
        """For STRIP_S from now."""
        self._slots_until = time.perf_counter() + STRIP_S

    def draw(self, surface: pygame.Surface, *, is_hidden: bool) -> list[pygame.Rect]:
        """Draw what there is to show; gives the places that can be clicked. is_hidden: nothing of a pause."""
        runner, top = self._runner, 0
        if runner.saving.slots and time.perf_counter() < self._slots_until:
            if not self.slot_cells or self._slot_seen != runner.saving.num_saves:
                self._slot_seen = runner.saving.num_saves
                self.slot_cells = _slot_cells(runner.saving.slots)
            title = "Save slots  \u00b7  F5 save  \u00b7  F9 load  \u00b7  F6 next"
            draw_strip(surface, title, self.slot_cells, runner.saving.slot, top)
            return []
        self.slot_cells = []
        if not runner.is_paused or is_hidden:
            self.timeline = []
        elif runner.fan:
            cells = [Cell(what.frame, f"{i + 1}  {what.label}") for i, what in enumerate(runner.fan)]
            title = "What if, for a second  \u00b7  press its number or click"
            return draw_strip(surface, title, cells, -1, top)
        elif runner.can_go_back:
            if not self.timeline or self.timeline[-1][0] != runner.frame_index:
                self.timeline = _timeline(runner)
            title = "Timeline  \u00b7  click to go there  \u00b7  , and . one step  \u00b7  Tab what if"
            cells = [cell for _, cell in self.timeline]
            return draw_strip(surface, title, cells, len(cells) - 1, top)
        return []

    def choose(self, number: int) -> None:
        """A picture of the fan or of the timeline was chosen."""
        if self._runner.fan:
            self._runner.send(Command.CHOOSE, number)
        elif number < len(self.timeline) - 1:
            self._runner.send(Command.STEP_BACK, self._runner.frame_index - self.timeline[number][0])


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
