"""Long runs of the real game that begin as recorded and go on otherwise.

astray     under the actions of the run before. A dream goes its own way, and from then on recorded actions fit nothing
           that it shows: they walk into its walls. So does reality astray: how many of its minutes survive is what can
           be hoped for, and their traits are what a dream is to be like after a while.
still      without any action. Recorded players rest for a second or two; people go and fetch coffee.

Both give a level for the runs of a manifest, and play from the context on; `longs` are the recorded runs by seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat

import numpy as np

from worldmodel.action import Action
from worldmodel.env import Env, EpisodeEnd, Frame
from worldmodel.evaluation.manifest import RETRY, Entry, Manifest
from worldmodel.evaluation.reference import ATTEMPTS, Act, Level, Longs


def astray(level: Level, manifest: Manifest, longs: dict[int, Longs]) -> Level:
    """Each goes on under the actions of the run before it, the first under the last one's."""
    space, given = level.env.actions, manifest.context
    moves = {
        entry.seed: [space.from_vector(vector) for vector in longs[entry.steps].actions[k - 1, given:]]
        for k, entry in _entries(manifest, longs)
    }
    return _otherwise(level, manifest, longs, moves)


def still(level: Level, manifest: Manifest, longs: dict[int, Longs]) -> Level:
    """Each goes on with no button held and no turn."""
    return _otherwise(level, manifest, longs, {entry.seed: repeat(Action()) for _, entry in _entries(manifest, longs)})


class _Standing:
    """An Env that keeps its last frame and, once it `stands`, shows it for ever where the game is over."""

    def __init__(self, env: Env) -> None:
        self.env, self.last, self.stands = env, np.zeros(0, np.uint8), False
        self.actions, self.fps, self.size_hw = env.actions, env.fps, env.size_hw

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """As of the Env inside."""
        self.last, self.stands = self.env.reset(start=start, seed=seed), False
        return self.last

    def step(self, action: Action) -> Frame:
        """As of the Env inside, but for its end."""
        try:
            self.last = self.env.step(action)
        except EpisodeEnd:
            if not self.stands:
                raise
        return self.last

    def close(self) -> None:
        """As of the Env inside."""
        self.env.close()


def _entries(manifest: Manifest, longs: dict[int, Longs]) -> Iterator[tuple[int, Entry]]:
    """The long runs' entries, each with its place among those of its length."""
    for seconds in longs:
        yield from enumerate(entry for entry in manifest.of("E") if entry.steps == seconds)


def _otherwise(
    level: Level, manifest: Manifest, longs: dict[int, Longs], moves: Mapping[int, Iterable[Action]]
) -> Level:
    """moves: by the seed of an entry, what is done from the context on."""
    standing, first = _Standing(level.env), manifest.warm_up + manifest.context
    runs = {
        entry.seed + attempt * RETRY: (longs[entry.steps].context[k, -1], moves[entry.seed])
        for k, entry in _entries(manifest, longs)
        for attempt in range(ATTEMPTS)
    }

    def players(seed: int) -> Act:
        own, (last, others), t = level.players(seed), runs[seed], -first
        moves = iter(others)

        def act() -> Action:
            nonlocal t
            t += 1
            if t <= 0:
                return own()
            if t == 1 and not np.array_equal(standing.last, last):
                raise EpisodeEnd("another attempt at this entry was recorded")
            standing.stands = True
            return next(moves)

        return act

    return Level(standing, players, level.place)
