"""A Doom map from a drawing: an ASCII plan becomes a UDMF level that ViZDoom can load.

Plan        rows of text; '#' is rock, a lower-case letter an open cell of that zone,
            an upper-case letter a thing standing in a cell of the zone to its west
Zone        textures, heights and light of a letter; one whose ceiling lies on its floor is a door
Thing       what an upper-case letter stands for, or what is scattered over a zone
write_wad   plans -> PWAD (ZDoom builds its own nodes)

Map units are Doom's: a player is 32 wide and 56 high, steps up 24 at most. +x is east, +y is north.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from worldmodel.games.doom_art import Lump, pack_wad

ROCK = "#"
OPENS = (
    "special=12;arg1=16;arg2=150;playeruse=true;playeruseback=true;monsteruse=true;repeatspecial=true;"  # Door_Raise
)
EVERYWHERE = "single=true;dm=true;coop=true;" + "".join(f"skill{i}=true;" for i in range(1, 6))


@dataclass(kw_only=True)
class Zone:
    """Looks of a letter: texture names of the game's WAD, heights in map units, light 0..255."""

    wall: str
    floor: str
    ceiling: str
    floor_height: int
    ceiling_height: int
    light: int

    @property
    def is_door(self) -> bool:
        """Closed until somebody uses it; its wall is what is seen of it."""
        return self.floor_height == self.ceiling_height


@dataclass(kw_only=True)
class Thing:
    """A Doom thing. type: its editor number; scatter: how many to strew over `zone`, besides those drawn."""

    type: int
    zone: str
    scatter: int


@dataclass(kw_only=True)
class Plan:
    """A drawn level. rows: the drawing, north first; cell: width of a character in map units."""

    rows: str
    cell: int
    seed: int
    zones: dict[str, Zone]
    things: dict[str, Thing]
    grid: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grid = [row.strip() for row in self.rows.strip().splitlines()]
        widths = {len(row) for row in self.grid}
        if len(widths) != 1:
            raise ValueError(f"plan: rows have different lengths {sorted(widths)}; pad them with '{ROCK}'")
        if any(mark in self.things for row in self.grid for rock, mark in pairwise(row) if rock == ROCK):
            raise ValueError(f"plan: a thing stands just east of '{ROCK}'; it takes its zone from the cell to its west")
        border = self.grid[0] + self.grid[-1] + "".join(row[0] + row[-1] for row in self.grid)
        if set(border) != {ROCK}:
            raise ValueError(f"plan: the border must be '{ROCK}' all round, it holds {sorted(set(border) - {ROCK})}")
        unknown = set("".join(self.grid)) - {ROCK} - set(self.zones) - set(self.things)
        if unknown:
            raise ValueError(f"plan: no zone or thing is called {sorted(unknown)}")

    def zone_at(self, x: int, y: int) -> str | None:
        """The letter of the zone at column x, row y (south is row 0); None in rock."""
        row = self.grid[len(self.grid) - 1 - y]
        while row[x] in self.things:
            x -= 1
        return None if row[x] == ROCK else row[x]

    def cells(self) -> list[tuple[int, int]]:
        """All open cells (x, y)."""
        size = range(len(self.grid[0])), range(len(self.grid))
        return [(x, y) for y in size[1] for x in size[0] if self.zone_at(x, y)]


def things(plan: Plan) -> list[tuple[float, float, int]]:
    """(x, y, type) in map units of every thing drawn or scattered; equal plans give equal things."""
    rng = random.Random(plan.seed)
    rows = len(plan.grid)
    placed = []
    free: list[tuple[int, int]] = []
    for x, y in plan.cells():
        mark = plan.grid[rows - 1 - y][x]
        if mark in plan.things:
            placed.append((x, y, plan.things[mark].type))
        else:
            free.append((x, y))
    rng.shuffle(free)
    homes: dict[str | None, list[tuple[int, int]]] = {}
    for cell in free:
        homes.setdefault(plan.zone_at(*cell), []).append(cell)
    for thing in plan.things.values():
        home = homes.get(thing.zone, [])
        placed += [(x, y, thing.type) for x, y in home[: thing.scatter]]
        homes[thing.zone] = home[thing.scatter :]
    return [((x + 0.5) * plan.cell, (y + 0.5) * plan.cell, kind) for x, y, kind in placed]


def textmap(plan: Plan) -> str:
    """The level in UDMF: one sector a zone, one wall a border between cells of different zones."""
    letters = sorted(plan.zones)
    vertices: dict[tuple[int, int], int] = {}
    sides: list[str] = []
    lines: list[str] = []

    def vertex(x: int, y: int) -> int:
        return vertices.setdefault((x, y), len(vertices))

    def side(zone: str, wall: str, *, solid: bool) -> int:
        middle = wall if solid else "-"
        sides.append(
            f'sidedef{{sector={letters.index(zone)};texturemiddle="{middle}";'
            f'texturetop="{wall}";texturebottom="{wall}";}}'
        )
        return len(sides) - 1

    for x, y in plan.cells():
        here = plan.zone_at(x, y)
        assert here is not None
        wall = plan.zones[here].wall
        # Clockwise round the cell, so that the line's right side faces it.
        for ax, ay, bx, by, nx, ny in (
            (x, y, x, y + 1, x - 1, y),
            (x, y + 1, x + 1, y + 1, x, y + 1),
            (x + 1, y + 1, x + 1, y, x + 1, y),
            (x + 1, y, x, y, x, y - 1),
        ):
            there = plan.zone_at(nx, ny)
            if there is None:
                front = side(here, wall, solid=True)
                lines.append(f"linedef{{v1={vertex(ax, ay)};v2={vertex(bx, by)};sidefront={front};blocking=true;}}")
            elif there != here and (ax, ay) < (bx, by):
                doors = [letter for letter in (here, there) if plan.zones[letter].is_door]
                faces = [plan.zones[doors[0] if doors else letter].wall for letter in (here, there)]
                front, back = side(here, faces[0], solid=False), side(there, faces[1], solid=False)
                ends = f"v1={vertex(ax, ay)};v2={vertex(bx, by)};"
                use = f"{OPENS}arg0={letters.index(doors[0]) + 1};" if doors else ""
                lines.append(f"linedef{{{ends}sidefront={front};sideback={back};twosided=true;{use}}}")
    out = ['namespace="zdoom";']
    out += [f"vertex{{x={x * plan.cell}.0;y={y * plan.cell}.0;}}" for x, y in vertices]
    for number, letter in enumerate(letters, 1):
        z = plan.zones[letter]
        tag = f"id={number};" if z.is_door else ""
        out.append(
            f"sector{{heightfloor={z.floor_height};heightceiling={z.ceiling_height};"
            f'texturefloor="{z.floor}";textureceiling="{z.ceiling}";lightlevel={z.light};{tag}}}'
        )
    out += sides + lines
    start = plan.cells()[0]
    spawns = [((start[0] + 0.5) * plan.cell, (start[1] + 0.5) * plan.cell, 1), *things(plan)]
    out += [f"thing{{x={x:.1f};y={y:.1f};angle=0;type={kind};{EVERYWHERE}}}" for x, y, kind in spawns]
    return "\n".join(out)


def write_wad(path: Path, plans: dict[str, Plan]) -> None:
    """Write levels by their names (at most eight letters) into one PWAD."""
    lumps: list[Lump] = []
    for name, plan in plans.items():
        lumps += [(name, b""), ("TEXTMAP", textmap(plan).encode()), ("ENDMAP", b"")]
    path.write_bytes(pack_wad(lumps))
