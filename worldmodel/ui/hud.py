"""What is written over the picture: meters, key caps, the red light, messages, the key table.

LEVELS      off, min, full
Readings    the numbers of one moment
Hud         draws them on a window's surface
KeyCaps     the pressed keys: also on films
lettering, fill   letters and plates, also for the strip

Everything stands at the window's edges: in the black bars where there are any, and never in a recording.
Not here: measuring (stats.py), the picture itself (window.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pygame

from worldmodel.action import Action, ActionSpace
from worldmodel.ui.keymap import button_rows, code_label, command_rows

LEVELS = ("off", "min", "full")
TOAST_S = 3.0
PSNR_RANGE = (10.0, 40.0)  # dB, of the curve beside the real game
KEY = 1.8  # size of a key cap, in heights of the letters
Color = tuple[int, int, int, int]  # red, green, blue, opacity
INK, DIM, LIT, RED = (236, 239, 244, 255), (167, 176, 189, 255), (255, 200, 87, 255), (255, 77, 77, 255)
DARK, PLATE, CAP, SHADE = (0, 0, 0, 255), (12, 14, 18, 190), (70, 78, 92, 150), (8, 10, 14, 225)
ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL", "ZXCVBNM")  # the letter keys, each row a quarter key to the right
ARROWS = {"Up": (1, 1), "Left": (0, 2), "Down": (1, 2), "Right": (2, 2)}  # (column, row) within their block


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The numbers of one moment; nan or None where there is none. Times in ms, recording in s."""

    fps: float
    world_fps: float
    model_ms: float
    model_p99_ms: float
    input_ms: float
    steps: int | None
    action: Action
    recording_s: float | None
    start: str
    seed: int
    frame_index: int
    divergence: Sequence[float | None] | None
    num_dropped: int
    num_unseen: int
    is_paused: bool
    rewound_s: float | None
    is_exact: bool
    hint: str


class Hud:
    """Meters of one world: bindings give the key caps, title (world and where it comes from) stands in full."""

    def __init__(self, title: str, space: ActionSpace, bindings: Mapping[int, str], level: str) -> None:
        if level not in LEVELS:
            raise ValueError(f"hud must be one of {LEVELS}, got {level!r}")
        self.title, self.level, self.is_table_shown = title, level, False
        self.bind(space, bindings)
        self._toast, self._toast_until = "", 0.0

    def bind(self, space: ActionSpace, bindings: Mapping[int, str]) -> None:
        """Show these keys from now on."""
        self._caps, self._table = KeyCaps(space, bindings), (button_rows(space, bindings), command_rows())

    def toast(self, text: str) -> None:
        """Show a line for TOAST_S seconds, at every level."""
        self._toast, self._toast_until = text, time.perf_counter() + TOAST_S

    def next_level(self) -> None:
        """off -> min -> full -> off."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]

    def draw(self, surface: pygame.Surface, picture: pygame.Rect, readings: Readings) -> None:
        """Draw over a surface on which the picture lies; at level off only messages, the pause and the key table."""
        if self.is_table_shown:
            _draw_table(surface, self._table)
            return
        unit = max(14, round(surface.get_height() / 34))
        if self.level != "off":
            self._draw_meters(surface, picture, readings, unit)
            self._caps.draw(surface, readings.action, unit, shows_all=self.level == "full")
        if readings.divergence is not None:
            _draw_divergence(surface, picture, readings.divergence, unit)
        above_caps = surface.get_height() - round((1 + self._caps.num_rows) * KEY * unit)
        if readings.rewound_s is not None:
            kind = "exact" if readings.is_exact else "approximate"
            line = f"<<  {readings.rewound_s:.1f} s back  \u00b7  {kind}"
            _plate(surface, [(line, LIT, round(1.4 * unit))], unit // 2, midbottom=(picture.centerx, above_caps))
        elif readings.is_paused:
            _plate(surface, [("PAUSED", INK, 2 * unit), (readings.hint, DIM, unit)], unit, center=picture.center)
        elif readings.hint:
            _plate(surface, [(readings.hint, DIM, unit)], unit // 2, midbottom=(picture.centerx, above_caps))
        if time.perf_counter() < self._toast_until:
            _plate(surface, [(self._toast, INK, unit)], unit // 2, midbottom=(picture.centerx, above_caps - 2 * unit))

    def _draw_meters(self, surface: pygame.Surface, picture: pygame.Rect, readings: Readings, unit: int) -> None:
        """One line, or one item a line where the left bar is wide enough for that."""
        items = _items(readings)
        if self.level == "full":
            lines = [(self.title, INK, unit), *((text, DIM, unit) for text in items + _more_items(readings))]
            _plate(surface, lines, unit // 2, align="left", topleft=(unit // 2, unit // 2))
        elif picture.left > max(lettering(text, unit, DIM).get_width() for text in items) + 2 * unit:
            lines = [(text, DIM, unit) for text in items]
            _plate(surface, lines, unit // 2, align="left", topleft=(unit // 2, unit // 2))
        else:
            line = "  \u00b7  ".join(items)
            _plate(surface, [(line, INK, unit)], unit // 2, topleft=(unit // 2, unit // 2))
        if readings.recording_s is not None:
            minutes, seconds = divmod(int(readings.recording_s), 60)
            corner = (surface.get_width() - unit // 2, unit // 2)
            lost = f", {readings.num_dropped} dropped" if readings.num_dropped else ""
            place = _plate(
                surface, [(f"      REC {minutes:02d}:{seconds:02d}{lost}", INK, unit)], unit // 2, topright=corner
            )
            pygame.draw.aacircle(surface, RED, (place.left + unit, place.centery), unit * 0.36)


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


def _draw_divergence(surface: pygame.Surface, picture: pygame.Rect, curve: Sequence[float | None], unit: int) -> None:
    """Names over the two halves, and the curve of PSNR between them at the lower edge; a gap is a re-sync."""
    for text, x in (("real", picture.left + picture.width // 4), ("dream", picture.left + picture.width * 3 // 4)):
        _plate(surface, [(text, INK, unit)], unit // 3, midtop=(x, picture.top + 3 * unit))
    place = pygame.Rect(0, 0, min(picture.width // 2, 24 * unit), 5 * unit)
    place.midbottom = (picture.centerx, picture.bottom - unit)
    fill(surface, place, PLATE, unit // 2)
    known = [value for value in curve if value is not None]
    now = f"{known[-1]:.1f} dB" if known else "\u2013"
    surface.blit(lettering(f"dream against real: {now}  (F10 sets it to real)", unit, INK), place.move(unit // 2, 4))
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
    fps = f"{_number(readings.fps, 1)} / {readings.world_fps:g} fps"
    if readings.fps < 0.93 * readings.world_fps:
        fps += f"  ({readings.fps / readings.world_fps:.1f}x)"
    return [fps, f"model {_number(readings.model_ms)} ms", f"input {_number(readings.input_ms)} ms"]


def _more_items(readings: Readings) -> list[str]:
    """What level full adds."""
    steps = [] if readings.steps is None else [f"{readings.steps} sampling steps"]
    return [
        f"model p99 {_number(readings.model_p99_ms)} ms",
        *steps,
        f"unseen frames {readings.num_unseen}",
        f"start {readings.start}, seed {readings.seed}",
        f"frame {readings.frame_index}" + ("" if readings.is_exact else " (approximate since the rewind)"),
    ]


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


def _plate(
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


Cap = tuple[str, str]  # label, button


def _cap_places(bindings: Mapping[int, str]) -> dict[Cap, tuple[float, float, float]]:
    """(column, row from the bottom, width) of each button's first key, in key sizes: letters as on the keyboard,
    the others to their right.
    """
    letters, arrows, others = {}, {}, []
    first = {name: code for code, name in reversed(list(bindings.items()))}
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


def _draw_table(surface: pygame.Surface, table: tuple[list[tuple[str, str]], ...]) -> None:
    """Both columns over the darkened picture."""
    fill(surface, surface.get_rect(), SHADE, 0)
    width, height = surface.get_size()
    unit = max(9, min(height // 30, width // 52))
    step = round(unit * 1.4)
    top = max(unit, (height - (max(map(len, table)) + 2) * step) // 2)
    for left, title, rows in zip((width // 24, width * 2 // 5), ("In the world", "The window"), table, strict=True):
        surface.blit(lettering(title, round(unit * 1.3), LIT), (left, top))
        right = left + unit + max(lettering(keys, unit, INK).get_width() for keys, _ in rows)
        for i, (keys, meaning) in enumerate(rows):
            y = top + 2 * step + i * step - step // 4
            surface.blit(lettering(keys, unit, INK), (left, y))
            surface.blit(lettering(meaning, unit, DIM), (right, y))
