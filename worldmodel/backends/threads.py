"""How many threads make the frames, tuned while they are played.

ladder   the counts worth trying on so many cores
Tuner    one count, and from time to time a trial of the next

It reads no clock and counts frames, not seconds: equal times lead to equal choices. Not here: setting a count
(play.py).
"""

from __future__ import annotations

from collections.abc import Sequence

WINDOW = 60  # frames that a judgement rests on
LATE = WINDOW // 10  # of them may be later: the judgement is their p90
SETTLE = 3  # frames after a change that are not judged: libraries lay things out anew
BETTER = 0.9  # of the p90 so far: what another count must stay below to be kept
SHORTEST, LONGEST = 120, 3840  # frames between two trials; after some, twice as many each time: no times make it flap


def ladder(cores: int) -> list[int]:
    """Powers of two up to all cores, all cores but one, and all."""
    return sorted({2**n for n in range(cores.bit_length())} | {max(1, cores - 1), cores})


class Tuner:
    """Chooses among counts by what they make of a frame's p90, while that is over budget_s (0: always).

    count: for the next frame; is_trying: whether that is a trial; pace_ms: p90 before and in the last trial that won.
    """

    def __init__(self, counts: Sequence[int], count: int, budget_s: float) -> None:
        self.count, self.budget_s = count, budget_s
        self.pace_ms = (0.0, 0.0)
        self._counts = sorted({*counts, count})
        self._before: int | None = None  # the count that a trial would go back to
        self._times: list[float] = []
        self._late, self._settling = 0, SETTLE
        self._p90_s = 0.0
        self._wait = self._trials = 0
        self._lost = 0  # trials since a count was kept

    @property
    def is_trying(self) -> bool:
        """Whether the next frame belongs to a trial."""
        return self._before is not None

    def add(self, frame_s: float) -> int:
        """A frame took so long with `count` threads; gives the count for the next."""
        if self._settling:
            self._settling -= 1
            return self.count
        self._times.append(frame_s)
        if self._before is None:
            self._watch()
        else:
            self._try(frame_s, self._before)
        return self.count

    def _watch(self) -> None:
        self._wait -= 1
        if len(self._times) < WINDOW:
            return
        self._p90_s = _p90(self._times)
        self._times.clear()
        if self._p90_s > self.budget_s and self._wait <= 0 and len(self._counts) > 1:
            self._before, self._late = self.count, 0
            self._go(self._next())

    def _try(self, frame_s: float, before: int) -> None:
        """A trial is lost as soon as its p90 can no longer be low enough: a bad count costs some frames only."""
        self._late += frame_s >= BETTER * self._p90_s
        is_lost = self._late > LATE
        if not is_lost and len(self._times) < WINDOW:
            return
        self._lost = self._lost + 1 if is_lost else 0
        if is_lost:
            self._go(before)
        else:
            self.pace_ms = (1000 * self._p90_s, 1000 * _p90(self._times))
        self._before = None
        self._times.clear()
        doublings = max(0, self._trials - 2 * len(self._counts))
        self._trials += 1
        self._wait = min(SHORTEST * 2 ** min(doublings, 9), LONGEST)

    def _go(self, count: int) -> None:
        self.count, self._settling = count, SETTLE

    def _next(self) -> int:
        """The nearest count that was not tried since this one was kept, the larger first; then all anew."""
        here = self._counts.index(self.count)
        others = sorted(set(self._counts) - {self.count}, key=lambda n: (abs(self._counts.index(n) - here), -n))
        return others[self._lost % len(others)]


def _p90(times: Sequence[float]) -> float:
    """The time that LATE of WINDOW are above."""
    return sorted(times)[-1 - LATE]
