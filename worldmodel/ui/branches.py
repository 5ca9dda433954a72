"""The lines of play of a session: who goes back and on begins another, and the one that was left is kept.

Line       one that was left, up to its last frame
Branches   which lines there are, and which one is played

Memory: MOST_LINES lines besides the one that is played, of which MOST_EXACT frames in all can be gone to exactly, the
others by their latents; and MOST_BYTES of pictures, or one line. With the first world that is at most 230 MB in
bfloat16 and 330 MB in float32 (0.33 or 0.63 MB a frame; each line has 19 at its end and 19 where it began, and 450
latents), and mostly a fraction of it, because lines share what they have in common. Not here: drawing them
(timeline.py), who asks (runner.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from worldmodel.env import Branching, Env, Frame, Past
from worldmodel.ui.tape import Tape

MOST_LINES = 6
MOST_EXACT = 120
MOST_BYTES = 96 * 2**20


@dataclass(frozen=True, eq=False)
class Line:
    """number: from 1 on; parent: the line it left after frame `fork` (None: it began with a reset or a save); tip: its
    last frame; begun: start and seed; tape: its last seconds; is_exact: of its tip.
    """

    number: int
    parent: int | None
    fork: int
    tip: int
    begun: tuple[Any, int]
    past: Past
    tape: Tape
    is_exact: bool


class Branches:
    """number: of the line that is played. lines: those that were left, the newest last; while is_left, the one that is
    played is among them, and the next step begins another.

    An Env that is not Branching has one line.
    """

    def __init__(self, env: Env, tape: Tape) -> None:
        self.number, self.is_left = 1, False
        self.lines: tuple[Line, ...] = ()  # replaced, never changed: the window's thread reads it
        self.parent: int | None = None
        self.fork = 0
        self._env, self._tape, self._count = env, tape, 1

    def here(self, index: int, begun: tuple[Any, int], *, is_exact: bool) -> Line | None:
        """The line that is played, up to frame `index`, for leave(); None if there is nothing to keep."""
        if self.is_left or index <= self.fork or not isinstance(self._env, Branching):
            return None
        past, tape = self._env.past(), self._tape.copy()
        return Line(self.number, self.parent, self.fork, index, begun, past, tape, is_exact)

    def leave(self, line: Line | None, index: int) -> None:
        """Keep it: the next step, after frame `index` or another, is of another line."""
        self.is_left = self.is_left or (index > self.fork and isinstance(self._env, Branching))
        if line:
            self.lines = (*self.lines, line)

    def begin(self, index: int) -> None:
        """Play another line, which leaves none, from a frame on: after a reset, or with a save."""
        self._begin(None, index)

    def go_on(self, index: int) -> None:
        """Before each step from a frame on: another line begins there if the one that was played is left."""
        if self.is_left:
            self._begin(self._owner(index), index)

    def shorten(self, index: int) -> None:
        """The line that is played ends at an earlier frame, and nothing of what came after is worth keeping."""
        self.fork = min(self.fork, index)

    def give_up(self, index: int) -> None:
        """What was played up to a frame is not worth keeping."""
        self.fork = index

    def go(self, number: int, index: int) -> tuple[Frame, Line, bool] | None:
        """Go to a frame of a line: the frame, the line, and whether what follows is exact; None if it is not kept."""
        line = self.line(number)
        if line is None or not isinstance(self._env, Branching):
            return None
        frame, back = self._env.return_to(line.past), line.tip - index
        if back:
            frame = self._env.rewind(back)  # type: ignore[attr-defined]  # a Branching is a Rewindable
        self._tape.take(line.tape)
        self._tape.cut(back)
        self.number, self.parent, self.fork, self.is_left = line.number, line.parent, line.fork, back > 0
        if not back:
            self.lines = tuple(other for other in self.lines if other is not line)
        self._trim()
        return frame, line, line.is_exact and back <= line.past.exact

    def line(self, number: int | None) -> Line | None:
        """A line that was left."""
        return next((line for line in self.lines if line.number == number), None)

    def trunk(self) -> dict[int, int]:
        """Numbers of the lines that led to the one that is played, that one too -> up to which frame."""
        trunk, parent, fork = {self.number: 2**62}, self.parent, self.fork
        while parent is not None and parent not in trunk:
            trunk[parent] = fork
            line = self.line(parent)
            parent, fork = (line.parent, line.fork) if line else (None, 0)
        return trunk

    def own_from(self, line: Line) -> int:
        """The last frame of a line that the one that is played has too, or else the one where it began."""
        if line.number == self.number:
            return line.fork
        return max(line.fork, self.trunk().get(line.number, line.fork))

    def _owner(self, index: int) -> int | None:
        """The line that frame `index` behind us belongs to."""
        number: int | None = self.number
        while (line := self.line(number)) and line.fork >= index and line.parent is not None:
            number = line.parent
        return number

    def _begin(self, parent: int | None, fork: int) -> None:
        if self.is_left:  # a line without a frame of its own gives its number to the next
            self._count += 1
        self.number, self.parent, self.fork, self.is_left = self._count, parent, fork, False
        self._trim()

    def _trim(self) -> None:
        """Keep to the bounds: the lines left last are the most exact."""
        assert isinstance(self._env, Branching) or not self.lines
        kept: list[Line] = []
        exact, pictures = MOST_EXACT, dict[int, int]()
        for line in self.lines[::-1]:
            if line.number != self.number:
                own = min(exact, line.tip - self.own_from(line))
                line = replace(line, past=self._env.thinned(line.past, own))  # type: ignore[attr-defined]
                exact -= own
            pictures |= {id(frame): frame.nbytes for frame in line.tape.frames()}
            if len(kept) == MOST_LINES or (kept and sum(pictures.values()) > MOST_BYTES):
                break
            kept.append(line)
        self.lines = tuple(kept[::-1])
