"""What is written over the picture: meters, key caps, the red light, messages, the key table.

LEVELS      off, min, full
Hud         draws Readings on a window's surface

Everything stands at the window's edges: in the black bars where there are any, and never in a recording.
Not here: measuring (stats.py, readings.py), the picture itself (window.py), letters and plates (paint.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import pygame

from worldmodel.action import ActionSpace
from worldmodel.ui.bindings import button_rows, pad_rows
from worldmodel.ui.keycaps import KEY, KeyCaps
from worldmodel.ui.keymap import Command
from worldmodel.ui.paint import DIM, INK, LIT, PLATE, RED, SHADE, Line, fill, fitted, lettering, plate, wrapped
from worldmodel.ui.readings import Readings
from worldmodel.ui.shortcuts import USUAL, key_of, shortcut_rows

LEVELS = ("off", "min", "full")
TOAST_S = 3.0
DRIFTS = ((1.6, "usual", DIM), (2.2, "odd", LIT), (math.inf, "far from what it learnt", RED))
CURVE = 7  # heights of letters that the curve beside the real game needs
PSNR_RANGE = (10.0, 40.0)  # dB, of the curve beside the real game


class Hud:
    """Meters of one world: bindings give the key caps, title (world and where it comes from) stands in full."""

    def __init__(self, title: str, space: ActionSpace, bindings: Mapping[int, str], level: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"hud must be one of {LEVELS}, got {level!r}")
        self.title, self.level, self.is_table_shown = title, level, False
        self.has_pad = False  # the key table then has its parts too
        self.bind(space, bindings)
        self._toast, self._toast_until = "", 0.0

    def bind(
        self, space: ActionSpace, bindings: Mapping[int, str], shortcuts: Mapping[int, Command] = USUAL
    ) -> None:  # fmt: skip
        """Show these keys of the world and of the window from now on."""
        self._shortcuts = shortcuts
        self._caps, self._table = KeyCaps(space, bindings), (button_rows(space, bindings), shortcut_rows(shortcuts))
        self._pad_rows = [("", ""), ("Gamepad", ""), *pad_rows(space, bindings)]

    def toast(self, text: str) -> None:
        """Show a line for TOAST_S seconds, at every level."""
        self._toast, self._toast_until = text, time.perf_counter() + TOAST_S

    @property
    def message(self) -> str:
        """The line that is shown for a while, or nothing."""
        return self._toast if time.perf_counter() < self._toast_until else ""

    def next_level(self) -> None:
        """off -> min -> full -> off."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]

    def draw_toast(self, surface: pygame.Surface, midbottom: tuple[int, int]) -> None:
        """The line that was given to toast, as long as it is to be seen."""
        if self.message:
            unit = _unit(surface)
            lines = wrapped(self._toast, unit, surface.get_width() - 2 * unit)
            plate(surface, [(line, INK, unit) for line in lines], unit // 2, midbottom=midbottom)

    def draw(self, surface: pygame.Surface, picture: pygame.Rect, readings: Readings, top: int = 0) -> None:
        """Draw over a surface on which the picture lies; at level off only messages, the pause and the key table.

        top: where what lies at the upper edge ends
        """
        if self.is_table_shown:
            buttons, commands = self._table
            _draw_table(surface, (buttons + self._pad_rows * self.has_pad, commands))
            return
        unit = _unit(surface)
        if self.level != "off":
            self._draw_meters(surface, picture, readings, top)
            if not (top and readings.is_paused):
                self._caps.draw(surface, readings.action, unit, shows_all=self.level == "full")
        if readings.divergence is not None:
            key = key_of(self._shortcuts, Command.RESYNC)
            _draw_divergence(surface, picture, readings.divergence, max(picture.top, top), unit, key)
        curve = 0 if readings.divergence is None else CURVE * unit
        above_caps = surface.get_height() - max(curve, round((1 + self._caps.num_rows) * KEY * unit))
        if readings.rewound_s is not None:
            kind = "exact" if readings.is_exact else "approximate"
            line = f"<<  {readings.rewound_s:.1f} s back  \u00b7  {kind}"
            plate(surface, [(line, LIT, round(1.4 * unit))], unit // 2, midbottom=(picture.centerx, above_caps))
        elif readings.is_paused:
            center = (picture.centerx, max(picture.centery, top + 6 * unit))
            plate(surface, [("PAUSED", INK, 2 * unit), (readings.hint, DIM, unit)], unit, center=center)
        elif readings.hint:
            plate(surface, [(readings.hint, DIM, unit)], unit // 2, midbottom=(picture.centerx, above_caps))
        if readings.status:
            plate(surface, [(readings.status, DIM, unit)], unit // 3, midtop=(picture.centerx, top + 3 * unit))
        self.draw_toast(surface, (picture.centerx, above_caps - 2 * unit))

    def _draw_meters(self, surface: pygame.Surface, picture: pygame.Rect, readings: Readings, top: int) -> None:
        """From `top` on: one line, or one item a line where the left bar is wide enough for that; with all there is
        at level full, if it has the whole height.
        """
        items, unit = _items(readings), _unit(surface)
        corner = (unit // 2, top + unit // 2)
        if self.level == "full" and not top:
            lines = [(self.title, INK, unit), *((text, DIM, unit) for text in items + _more_items(readings))]
            if readings.drift is not None:
                lines.append(_drift_line(readings.drift, unit))
            place = plate(surface, lines, unit // 2, align="left", topleft=corner)
            _draw_sparks(surface, readings.spans, place.move(0, place.height + unit // 3).topleft, unit)
        elif not top and picture.left > max(lettering(text, unit, DIM).get_width() for text in items) + 2 * unit:
            lines = [(text, DIM, unit) for text in items]
            plate(surface, lines, unit // 2, align="left", topleft=corner)
        else:
            line = "  \u00b7  ".join(items)
            plate(surface, [(line, INK, unit)], unit // 2, topleft=corner)
        if readings.recording_s is not None:
            minutes, seconds = divmod(int(readings.recording_s), 60)
            corner = (surface.get_width() - unit // 2, top + unit // 2)
            lost = f", {readings.num_dropped} dropped" if readings.num_dropped else ""
            place = plate(
                surface, [(f"      REC {minutes:02d}:{seconds:02d}{lost}", INK, unit)], unit // 2, topright=corner
            )
            pygame.draw.aacircle(surface, RED, (place.left + unit, place.centery), unit * 0.36)


def _unit(surface: pygame.Surface) -> int:
    """Height of a line in pixels: all meters of level min, and the red light, are less than 40 of it wide."""
    return max(11, min(round(surface.get_height() / 34), round(surface.get_width() / 40)))


def _drift_line(drift: float, unit: int) -> Line:
    """In words and in colour."""
    word, color = next((word, color) for most, word, color in DRIFTS if drift < most)
    return f"drift {drift:.1f}: {word}", color, unit


def _draw_sparks(
    surface: pygame.Surface, spans: Mapping[str, tuple[float, float, Sequence[float]]], corner: tuple[int, int],
    unit: int,
) -> None:  # fmt: skip
    """A row for each span that was measured: its name, p50 / p99, and the last frames as a line from 0 ms up."""
    left, top = corner
    for name, (p50, p99, times) in spans.items():
        if math.isnan(p50):
            continue
        place = pygame.Rect(left, top, 19 * unit, round(1.5 * unit))
        fill(surface, place, PLATE, unit // 3)
        text = lettering(f"{name} {p50:.0f} / {p99:.0f} ms", unit, DIM)
        surface.blit(text, (left + unit // 2, place.centery - text.get_height() // 2))
        line = pygame.Rect(left + 11 * unit, top + 2, 8 * unit - unit // 2, place.height - 4)
        most = max(*times, 1e-3) if len(times) > 1 else 0
        if most:
            step = line.width / (len(times) - 1)
            points = [(line.left + i * step, line.bottom - line.height * ms / most) for i, ms in enumerate(times)]
            pygame.draw.lines(surface, LIT, False, points)
        top = place.bottom + 2


def _draw_divergence(
    surface: pygame.Surface, picture: pygame.Rect, curve: Sequence[float | None], top: int, unit: int, resync: str
) -> None:  # fmt: skip
    """Names over the two halves, and the curve of PSNR between them at the lower edge; a gap is a re-sync, which the
    key `resync` makes.
    """
    for text, x in (("real", picture.left + picture.width // 4), ("dream", picture.left + picture.width * 3 // 4)):
        plate(surface, [(text, INK, unit)], unit // 3, midtop=(x, top + 3 * unit))
    place = pygame.Rect(0, 0, min(picture.width // 2, 24 * unit), (CURVE - 2) * unit)
    place.midbottom = (picture.centerx, picture.bottom - unit)
    fill(surface, place, PLATE, unit // 2)
    known = [value for value in curve if value is not None]
    now = f"{known[-1]:.1f} dB" if known else "\u2013"
    surface.blit(
        lettering(f"dream against real: {now}  ({resync} sets it to real)", unit, INK), place.move(unit // 2, 4)
    )
    low, high = PSNR_RANGE
    step = place.width / max(1, len(curve))
    points: list[tuple[float, float]] = []
    for i, value in enumerate([*curve, None]):
        if value is None:
            if len(points) > 1:
                pygame.draw.lines(surface, LIT, False, points, 2)
            points = []
        else:
            share = min(1.0, max(0.0, (value - low) / (high - low)))
            points.append((place.left + i * step, place.bottom - 3 - share * (place.height - 2 * unit)))


def _number(value: float, digits: int = 0) -> str:
    return "\u2013" if math.isnan(value) else f"{value:.{digits}f}"


def _items(readings: Readings) -> list[str]:
    """The meters of level min; a world slower than it should be says how slow."""
    fps = f"{_number(readings.fps, 1)} / {round(readings.world_fps, 1):g} fps"
    if readings.fps < 0.93 * readings.world_fps:
        fps += f"  ({readings.fps / readings.world_fps:.1f}x)"
    return [fps, f"model {_number(readings.model_ms)} ms", f"input {_number(readings.input_ms)} ms", readings.control]


def _more_items(readings: Readings) -> list[str]:
    """What level full adds."""
    steps = [] if readings.steps is None else [f"{readings.steps} sampling steps"]
    return [
        *steps,
        *readings.facts,
        f"not seen {readings.num_unseen}, not recorded {readings.num_dropped}",
        f"start {readings.start}, seed {readings.seed}",
        f"branch {readings.branch}, frame {readings.frame_index}"
        + ("" if readings.is_exact else " (approximate since the rewind)"),
    ]


def _draw_table(surface: pygame.Surface, table: tuple[list[tuple[str, str]], ...]) -> None:
    """Both columns over the darkened picture."""
    fill(surface, surface.get_rect(), SHADE, 0)
    width, height = surface.get_size()
    most = max(map(len, table))
    unit = max(9, min(height // 30, width // 52, round(height / (1.4 * (most + 2)))))
    step = min(round(unit * 1.4), height // (most + 2))
    top = max(0, (height - (most + 2) * step) // 2)
    columns = (width // 24, width * 2 // 5, width)
    for left, end, title, rows in zip(columns, columns[1:], ("In the world", "The window"), table, strict=False):
        surface.blit(lettering(title, round(unit * 1.3), LIT), (left, top))
        right = left + unit + min((end - left) // 2, max(lettering(keys, unit, INK).get_width() for keys, _ in rows))
        for i, (keys, meaning) in enumerate(rows):
            y = top + 2 * step + i * step - step // 4
            surface.blit(fitted(keys, unit, INK, right - left - unit // 2), (left, y))
            surface.blit(fitted(meaning, unit, DIM, max(1, end - right - unit // 2)), (right, y))
