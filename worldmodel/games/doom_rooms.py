"""Levels of Doom from a seed: rooms joined by stairs, doors and passages, each with its own look, light and guests.

RoomsConfig   how many levels there are, and how often one of them is played
rooms         a seed -> Plan

Every room can be walked to from every other one, over steps of at most 24 units and through doors that open by use.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from worldmodel.games.doom_map import ROCK, Plan, Thing, Zone

CELL = 64  # map units; a door is as wide
SLOT = 9  # cells from room to room; a room covers the lanes 3 and 4 of its slot, where passages leave
LANES = (3, 4)
FIRST_MARK = 0x100  # zones are marked by letters from here on: there are more of them than a to z
DOORS = ("DOOR1", "DOOR3")  # 64 wide, 72 high
DOOR_HEIGHT = 72
SKY = "F_SKY1"
LOOKS = (  # wall, floor, ceiling
    ("STARTAN3", "FLOOR4_8", "CEIL3_5"), ("BRICK7", "FLOOR5_2", "FLAT20"), ("STONE2", "MFLR8_1", "FLAT1"),
    ("MARBLE1", "FLOOR7_2", "CEIL1_1"), ("WOOD1", "FLAT5_1", "FLAT5_1"), ("TEKGREN2", "FLAT14", "CEIL5_1"),
    ("BRONZE3", "FLOOR0_1", "FLAT20"), ("GSTONE1", "RROCK09", "FLAT8"), ("BIGBRIK1", "GRASS1", "FLOOR5_4"),
    ("METAL1", "FLOOR0_3", "CEIL5_2"), ("BRICK12", "SLIME13", "FLAT19"), ("SILVER2", "FLAT23", "TLITE6_1"),
)  # fmt: skip
LIGHTS = (112, 144, 176, 208, 240)
CEILINGS = (112, 128, 160, 192)
RISES = (-48, -24, 0, 0, 0, 24, 48)  # of a room's floor above that of the one before it
MONSTERS = (3004, 9, 65, 3001, 3002, 3005)  # zombies, imp, demon, cacodemon
PICKUPS = (2011, 2012, 2014, 2015, 2018, 2001, 2002, 2007, 2008)  # health, armour, weapons, ammunition
ORNAMENTS = (2035, 2028, 85, 44, 45, 46, 30, 32)  # barrel, lamps, torches, columns
Slot = tuple[int, int]  # column and row of a room
Span = tuple[int, int, int, int]  # x0, y0, x1, y1 in cells, the last two behind it


@dataclass(kw_only=True)
class RoomsConfig:
    """share: of the episodes that are played in such levels; count of them, from seed `first` on; size in rooms."""

    share: float
    count: int
    first: int
    columns: int
    rows: int

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and self.count > 0 and self.columns > 0 and self.rows > 0):
            raise ValueError(f"rooms: share must be in (0, 1], the rest > 0, got {self}")


class _Drawing:
    """A field of marks and the zones that they stand for."""

    def __init__(self, width: int, height: int) -> None:
        self.marks = [[ROCK] * width for _ in range(height)]
        self.zones: dict[str, Zone] = {}
        self.things: dict[str, Thing] = {}

    def paint(self, cells: list[tuple[int, int]], zone: Zone) -> str:
        mark = chr(FIRST_MARK + len(self.zones))
        self.zones[mark] = zone
        for x, y in cells:
            self.marks[y][x] = mark
        return mark


def rooms(seed: int, columns: int, rows: int) -> Plan:
    """A level of columns x rows rooms; equal arguments give equal levels."""
    rng = random.Random(seed)
    drawing = _Drawing(columns * SLOT + 1, rows * SLOT + 1)
    order, links = _tree(rng, columns, rows)
    floors: dict[Slot, int] = {order[0]: 0}
    for a, b in links:
        floors.setdefault(b, floors[a] + rng.choice(RISES))
    spans = {slot: _room(rng, drawing, slot, floors[slot]) for slot in order}
    for a, b in links:
        if abs(floors[a] - floors[b]) <= max(RISES):  # a loop may meet too high a ledge
            _passage(rng, drawing, (a, b), spans, (floors[a], floors[b]))
    text = "\n".join("".join(row) for row in drawing.marks)
    return Plan(rows=text, cell=CELL, seed=seed, zones=drawing.zones, things=drawing.things)


def _tree(rng: random.Random, columns: int, rows: int) -> tuple[list[Slot], list[tuple[Slot, Slot]]]:
    """Slots in the order of a random walk that reaches all, the links it went by, and some more for loops."""
    order, links = [(rng.randrange(columns), rng.randrange(rows))], []
    borders = [((x, y), (x + 1, y)) for x in range(columns - 1) for y in range(rows)]
    borders += [((x, y), (x, y + 1)) for x in range(columns) for y in range(rows - 1)]
    while len(order) < columns * rows:
        a, b = rng.choice([(a, b) for a, b in borders if (a in order) != (b in order)])
        links.append((a, b) if a in order else (b, a))
        order.append(links[-1][1])
    spare = [pair for pair in borders if pair not in links and pair[::-1] not in links]
    return order, links + rng.sample(spare, len(spare) // 2)


def _room(rng: random.Random, drawing: _Drawing, slot: Slot, floor: int) -> Span:
    """Paint a room with what is in it."""
    left, top = slot[0] * SLOT, slot[1] * SLOT
    x0, y0 = left + rng.randint(1, 2), top + rng.randint(1, 2)
    x1, y1 = left + rng.randint(5, 7), top + rng.randint(5, 7)
    cells = [(x, y) for x in range(x0, x1) for y in range(y0, y1)]
    if rng.random() < 0.5:  # pillars, away from where passages come in
        cells = [(x, y) for x, y in cells if not (x - left in (2, 5) and y - top in (2, 5)) or rng.random() < 0.5]
    wall, ground, ceiling = rng.choice(LOOKS)
    is_open, height = rng.random() < 0.25, rng.choice(CEILINGS)
    zone = Zone(
        wall=wall, floor=ground, ceiling=SKY if is_open else ceiling, floor_height=floor,
        ceiling_height=floor + (256 if is_open else height), light=224 if is_open else rng.choice(LIGHTS),
    )  # fmt: skip
    mark = drawing.paint(cells, zone)
    for kinds, most in ((MONSTERS, 1), (PICKUPS, 3), (ORNAMENTS, 2)):
        for k in range(rng.randint(0, most)):
            drawing.things[f"{mark}{kinds[0]}.{k}"] = Thing(type=rng.choice(kinds), zone=mark, scatter=1)
    return x0, y0, x1, y1


def _passage(
    rng: random.Random, drawing: _Drawing, pair: tuple[Slot, Slot], spans: dict[Slot, Span], floors: tuple[int, int]
) -> None:
    """Paint the way between two neighbours: stairs where their floors differ, else a door or an open passage."""
    low, high = sorted(pair)
    axis = 0 if low[1] == high[1] else 1  # along x or y
    along = range(spans[low][2 + axis], spans[high][axis])
    across = high[1 - axis] * SLOT
    start, end = floors if low == pair[0] else floors[::-1]
    is_door = start == end and rng.random() < 0.7
    wall, ground, ceiling = rng.choice(LOOKS)
    light = rng.choice(LIGHTS)
    top = max(start, end) + (DOOR_HEIGHT if is_door else rng.choice(CEILINGS))
    for k, place in enumerate(along):
        height = start + round((end - start) * (k + 1) / (len(along) + 1))
        is_leaf = is_door and k == len(along) // 2
        zone = Zone(
            wall=rng.choice(DOORS) if is_leaf else wall, floor=ground, ceiling=ceiling, floor_height=height,
            ceiling_height=height if is_leaf else top, light=light,
        )  # fmt: skip
        lanes = LANES[:1] if is_door else LANES
        drawing.paint([(place, across + n) if axis == 0 else (across + n, place) for n in lanes], zone)
