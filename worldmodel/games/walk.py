"""Where one can walk: a grid over the level's own walls, and shortest ways through it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

Cell = tuple[int, int]


class WalkGrid:
    """Cells of the level a player can stand on, found by the distance to its walls.

    walls float (N, 4) in map units; a cell is open if no wall passes within `radius` of its middle.
    """

    def __init__(self, walls: np.ndarray, *, cell: float = 32.0, radius: float = 24.0) -> None:
        if radius <= cell / 2:
            raise ValueError(f"radius {radius} must exceed half a cell, {cell / 2}: walls on cell borders would leak")
        self.cell = cell
        ends = walls.reshape(-1, 2)
        self.origin = ends.min(0) - cell
        self.shape = tuple(((ends.max(0) - self.origin) / cell).astype(int) + 2)
        self.blocked = np.zeros(self.shape, bool)
        axes = [self.origin[i] + (np.arange(self.shape[i]) + 0.5) * cell for i in range(2)]
        middles = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        for a, b in walls.reshape(-1, 2, 2):
            low = np.floor((np.minimum(a, b) - radius - self.origin) / cell - 0.5).astype(int).clip(0)
            high = np.ceil((np.maximum(a, b) + radius - self.origin) / cell + 0.5).astype(int)
            part = tuple(slice(low[i], high[i]) for i in range(2))
            along = ((middles[part] - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-9)).clip(0, 1)
            distance = np.linalg.norm(middles[part] - a - along[..., None] * (b - a), axis=-1)
            self.blocked[part] |= distance < radius

    def at(self, x: float, y: float) -> Cell:
        """The cell that holds a point."""
        return int((x - self.origin[0]) // self.cell), int((y - self.origin[1]) // self.cell)

    def has(self, cell: Cell) -> bool:
        """Whether a cell lies in the level and is open."""
        return 0 <= cell[0] < self.shape[0] and 0 <= cell[1] < self.shape[1] and not self.blocked[cell]

    def middle(self, cell: Cell) -> tuple[float, float]:
        """The middle of a cell in map units."""
        return self.origin[0] + (cell[0] + 0.5) * self.cell, self.origin[1] + (cell[1] + 0.5) * self.cell

    def reachable(self, source: Cell) -> dict[Cell, Cell]:
        """Every cell that can be walked to, with the cell before it on a shortest way (breadth first)."""
        before = {source: source}
        queue = deque([source])
        while queue:
            x, y = queue.popleft()
            for step in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
                if step not in before and self.has(step):
                    before[step] = (x, y)
                    queue.append(step)
        return before

    def is_outside(self, room: Iterable[Cell]) -> bool:
        """Whether a connected area touches the grid's border, so that it is no part of the level."""
        return any(cell[0] in (0, self.shape[0] - 1) or cell[1] in (0, self.shape[1] - 1) for cell in room)

    def largest_room(self) -> np.ndarray:
        """Middles, float (N, 2), of the largest connected open area that does not touch the outside."""
        best: list[Cell] = []
        seen: set[Cell] = set()
        for index in np.argwhere(~self.blocked):
            cell = (int(index[0]), int(index[1]))
            if cell in seen:
                continue
            room = list(self.reachable(cell))
            seen.update(room)
            if len(room) > len(best) and not self.is_outside(room):
                best = room
        return np.asarray([self.middle(cell) for cell in sorted(best)])
