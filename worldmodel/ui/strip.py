"""Rows of small pictures over the frame: save slots, the timeline, what-if.

Strips       which of them is shown, and what choosing one of its pictures asks for
draw_rows    draw them

Not here: the frames themselves (timeline.py, runner.py), which picture is meant (focus.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pygame

from worldmodel.data.states import NUM_SLOTS, Slots
from worldmodel.ui.focus import Focus
from worldmodel.ui.keymap import Command
from worldmodel.ui.paint import CAP, DIM, INK, LIT, SHADE, Color, fill, fitted
from worldmodel.ui.runner import Runner
from worldmodel.ui.timeline import NEARLY, Cell, Row, tree

STRIP_S = 2.5  # the save slots are shown after F5, F6 and F9
LARGEST = 0.22  # of the window's height, a picture
MOST_HEIGHT = 0.8  # of the window's, all rows
HOW = ("arrows and Enter, or a click", "the cross and A")  # one chooses; without and with a gamepad


class Strips:
    """The save slots for a moment after a key of theirs; while paused the fan of what-if, or the timeline.

    slot_cells, rows: what is shown of the slots and of the timeline
    """

    def __init__(self, runner: Runner, key: Callable[[Command], str]) -> None:
        """key: what to press for a command."""
        self._runner, self._key = runner, key
        self._slots_until, self._slot_seen = 0.0, 0
        self.slot_cells: list[Cell] = []
        self.rows: list[Row] = []
        self._rows_of: object = None  # what the rows show

    def show_slots(self) -> None:
        """For STRIP_S from now."""
        self._slots_until = time.perf_counter() + STRIP_S

    def draw(self, surface: pygame.Surface, focus: Focus, *, has_pad: bool) -> int:
        """Draw what there is to show, and let focus know of it; gives where it ends, 0 if there is nothing."""
        runner = self._runner
        if runner.saving.slots and time.perf_counter() < self._slots_until:
            if not self.slot_cells or self._slot_seen != runner.saving.num_saves:
                self._slot_seen = runner.saving.num_saves
                self.slot_cells = _slot_cells(runner.saving.slots)
            keys = ((Command.SAVE, "save"), (Command.LOAD, "load"), (Command.NEXT_SLOT, "next"))
            title = "  \u00b7  ".join(["Save slots", *(f"{self._key(command)} {does}" for command, does in keys)])
            focus.hide()
            return draw_rows(surface, title, [Row(self.slot_cells, now=runner.saving.slot)], -1)[1]
        self.slot_cells = []
        if runner.is_paused and runner.fan:
            cells = [Cell(what.frame, f"{i + 1}  {what.label}") for i, what in enumerate(runner.fan)]
            title = f"What if, for a second  \u00b7  {HOW[has_pad]}" + "  \u00b7  or its number" * (not has_pad)
            focus.places, bottom = draw_rows(surface, title, [Row(cells)], focus.turn_to("fan", 0))
            return bottom
        if runner.is_paused and runner.can_go_back:
            return self._draw_timeline(surface, focus, has_pad=has_pad)
        focus.hide()
        return 0

    def _draw_timeline(self, surface: pygame.Surface, focus: Focus, *, has_pad: bool) -> int:
        branches = self._runner.branches
        newest = [id(frame) for frame in self._runner.tape.frames()[-1:]]
        shown = (self._runner.frame_index, branches.number, branches.is_left, branches.lines, newest)
        if shown != self._rows_of:
            self._rows_of, self.rows = shown, tree(self._runner)
        steps = f"{self._key(Command.STEP_BACK)} and {self._key(Command.SINGLE_STEP)} one step"
        more = "Y what if  \u00b7  B go on" if has_pad else f"{steps}  \u00b7  {self._key(Command.WHAT_IF)} what if"
        is_nearly = any(cell.caption.startswith(NEARLY) for row in self.rows for cell in row.cells)
        nearly = "  \u00b7  ~ approximately" if is_nearly else ""
        title = f"Timeline, branch #{branches.number}  \u00b7  {HOW[has_pad]}: go there  \u00b7  {more}{nearly}"
        focus.places, bottom = draw_rows(surface, title, self.rows, focus.turn_to(shown, self.rows[0].now))
        return bottom

    def choose(self, number: int) -> None:
        """A picture of the fan or of the timeline was chosen."""
        runner = self._runner
        cells = [cell for row in self.rows for cell in row.cells]
        if runner.fan:
            runner.send(Command.CHOOSE, number)
        elif number < len(cells) and cells[number].place != (runner.branches.number, runner.frame_index):
            line, index = cells[number].place
            if line == runner.branches.number and index < runner.frame_index:
                runner.send(Command.STEP_BACK, runner.frame_index - index)
            else:
                runner.send(Command.GO, (line, index))


def draw_rows(
    surface: pygame.Surface, title: str, rows: Sequence[Row], meant: int
) -> tuple[list[pygame.Rect], int]:  # fmt: skip
    """Draw rows of pictures at the window's upper edge, as large as it is wide, and how each hangs on another; the one
    that is now has a bright frame, the one that is meant (a number through all rows, or -1) a white one. Gives the
    pictures' places, and where all of it ends.
    """
    width, height = surface.get_size()
    unit, gap = max(12, height // 40), max(3, width // 160)
    columns = max(row.column + len(row.cells) for row in rows)
    shape = next((cell.frame.shape for row in rows for cell in row.cells if cell.frame is not None), (3, 4, 3))
    below = round(1.5 * unit)  # a picture, for its caption
    most_height = min(LARGEST * height, (MOST_HEIGHT * height - 2 * unit) / len(rows) - below)
    cell_width = max(8, min((width - gap) // max(1, columns) - gap, round(most_height * shape[1] / shape[0])))
    cell = pygame.Rect(0, 0, cell_width, max(1, round(cell_width * shape[0] / shape[1])))
    cell.topleft = ((width - columns * (cell_width + gap) + gap) // 2, round(1.6 * unit))
    step = cell.height + below
    bottom = min(height, len(rows) * step + 2 * unit)
    fill(surface, pygame.Rect(0, 0, width, bottom), SHADE, 0)
    heading = fitted(title, unit, INK, width - 2 * gap)
    surface.blit(heading, (max(gap, min(cell.left, width - heading.get_width() - gap)), unit // 3))
    places: list[pygame.Rect] = []
    for number, row in enumerate(rows):
        first = cell.move(row.column * (cell_width + gap), number * step)
        if row.parent is not None:
            x, y = max(2, first.left - gap // 2 - 1), cell.bottom + row.parent * step
            pygame.draw.lines(surface, DIM, False, [(x, y), (x, first.centery), (first.left, first.centery)], 2)
        for i, one in enumerate(row.cells):
            places.append(first.move(i * (cell_width + gap), 0))
            frame = INK if len(places) - 1 == meant else LIT if i == row.now else None
            _draw_cell(surface, one, places[-1], unit, frame)
    return places, bottom


def _draw_cell(surface: pygame.Surface, cell: Cell, place: pygame.Rect, unit: int, frame: Color | None) -> None:
    if cell.frame is None:
        fill(surface, place, CAP, 0)
    else:
        picture = pygame.image.frombuffer(cell.frame.tobytes(), cell.frame.shape[1::-1], "RGB")
        surface.blit(pygame.transform.smoothscale(picture.convert(24), place.size), place)
    if frame:
        pygame.draw.rect(surface, frame, place.inflate(4, 4), max(2, unit // 6))
    caption = fitted(cell.caption, round(unit * 0.8), frame or DIM, place.width)
    surface.blit(caption, (place.centerx - caption.get_width() // 2, place.bottom + 3))


def _slot_cells(slots: Slots) -> list[Cell]:
    saves = [slots.peek(number) for number in range(NUM_SLOTS)]
    times = [f"{n}  {save.saved_at[11:16]}" if save else f"{n}  empty" for n, save in enumerate(saves)]
    return [Cell(save.frame if save else None, time) for save, time in zip(saves, times, strict=True)]
