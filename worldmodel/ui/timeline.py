"""The timeline as a small tree: the line that is played, and under it those that left it, from where they part.

Cell   one picture and its caption; Row: some of them, from a column on
tree   the rows of a runner's branches

Not here: drawing (strip.py), what is kept (branches.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.env import Frame, Rewindable
from worldmodel.ui.branches import Line
from worldmodel.ui.runner import Runner

COLUMNS = 12
NEARLY = "~"  # before the caption of a moment that can only be gone to approximately


@dataclass(frozen=True)
class Cell:
    """frame uint8 (H, W, 3) or None for an empty one; place: (number of a line, frame of it), where it leads to."""

    frame: Frame | None
    caption: str
    place: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Row:
    """cells stand from `column` on, below row `parent` (a number, None: it left none of those shown), between whose
    columns - 1 and column it parted. now: number of the cell that is on screen, -1: of another row.
    """

    cells: list[Cell]
    column: int = 0
    parent: int | None = None
    now: int = -1


def tree(runner: Runner) -> list[Row]:
    """The rows: first the line that is played, up to COLUMNS moments of its last seconds at even distances, with what
    lies ahead if one has gone back; then the others by their numbers.
    """
    branches, fps = runner.branches, runner.env.fps
    played, every = _played(runner)
    rows, numbers, trunk = [played], [branches.number], branches.trunk()
    for line in sorted(branches.lines, key=lambda line: line.number):  # so that a line stands below the one it left
        if line.number == branches.number:
            continue
        parent = numbers.index(line.parent) if line.parent in numbers else None
        if line.number in trunk or (line.parent in trunk and line.fork <= trunk[line.parent]):
            parent = 0
        row = _row(line, branches.own_from(line), rows, parent, every, fps)
        if row.cells:
            rows.append(row)
            numbers.append(line.number)
    return rows


def _played(runner: Runner) -> tuple[Row, int]:
    """The row of the line that is played, and the frames between two of its moments."""
    branches, now, fps = runner.branches, runner.frame_index, runner.env.fps
    ahead = branches.line(branches.number) if branches.is_left else None
    if ahead:
        frames, tip, exact = ahead.tape.frames(), ahead.tip, ahead.past.exact
    else:
        frames, tip = runner.tape.frames(), now  # once: the model's thread may be going back
        exact = runner.env.reach()[0] if isinstance(runner.env, Rewindable) else 0
    if not frames:  # between two episodes
        return Row([]), 1
    oldest = tip - len(frames) + 1
    every = max(1, -(-(tip - oldest + 1) // (COLUMNS - 1)))
    back = (now - oldest) // every
    indices = [*range(now - back * every, tip, every), tip]  # now is among them
    captions = [f"{(n - now) / fps:+.1f} s" if n != now else "now" for n in indices]
    return Row(_cells(branches.number, frames, tip, tip - exact, indices, captions), now=back), every


def _row(line: Line, fork: int, rows: list[Row], parent: int | None, every: int, fps: float) -> Row:
    """Of a line that was left, from the frame after `fork` to its tip."""
    column = 0
    if parent is not None:
        before = sum(cell.place[1] <= fork for cell in rows[parent].cells)
        column = min(rows[parent].column + before, COLUMNS - 2)
    frames = line.tape.frames()
    first = max(fork, line.tip - len(frames)) + 1
    every = max(every, -(-(line.tip - first + 1) // (COLUMNS - column)))
    indices = list(range(line.tip, first - 1, -every))[::-1]
    captions = [f"{n / fps:.1f} s" for n in indices]
    captions[:1] = [f"#{line.number}" for _ in captions[:1]]
    return Row(_cells(line.number, frames, line.tip, line.tip - line.past.exact, indices, captions), column, parent)


def _cells(
    number: int, frames: list[Frame], tip: int, exact: int, indices: list[int], captions: list[str]
) -> list[Cell]:
    moments = zip(indices, captions, strict=True)
    return [Cell(frames[n - tip - 1], (NEARLY if n < exact else "") + text, (number, n)) for n, text in moments]
