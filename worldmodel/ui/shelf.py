"""What was played before, as the menu lists it: recordings, and the logs that every run leaves.

Played   one of them: where, when, how long, in which world
Shelf    those in some folders, the newest first; looked at again from time to time

Not here: what can be done with them (pages.py), reading all of one (data/episode.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from worldmodel.data.episode import ACTIONS, META, OPEN_META, EpisodeError, Meta, list_episodes, read_json

LOOK_S = 2.0  # between two looks at the folders, while their page is open
MOST = 40  # listed


@dataclass(frozen=True)
class Played:
    """ended: local date and time of its last step. world: what it says it was played in. num_steps, fps: its length,
    0 steps if nothing can be read of it; facts: how it began and whether it was finished.
    """

    path: Path
    ended: str
    world: str
    num_steps: int
    fps: float
    facts: str

    @property
    def seconds(self) -> float:
        """Its length at the world's pace."""
        return self.num_steps / self.fps


class Shelf:
    """folders: asked for anew at each look; nothing is read before the first call."""

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self._folders = folders
        self._known: dict[tuple[Path, float], Played] = {}  # by path and time of the last step
        self._shown: list[Played] = []
        self._looked_at = -LOOK_S

    def __call__(self) -> list[Played]:
        """The newest MOST."""
        if time.perf_counter() - self._looked_at >= LOOK_S:
            newest = sorted(self._dated(), key=lambda dated: (dated[1], dated[0].name), reverse=True)[:MOST]
            self._known = {dated: self._known.get(dated) or _look(*dated) for dated in newest}
            self._shown, self._looked_at = list(self._known.values()), time.perf_counter()
        return self._shown

    def _dated(self) -> list[tuple[Path, float]]:
        dated = []
        for folder in self._folders():
            try:
                dated += [(path, (path / ACTIONS).stat().st_mtime) for path in list_episodes(folder)]
            except (EpisodeError, OSError):
                continue  # no such folder, or one of them is being deleted
        return dated


def _look(path: Path, ended: float) -> Played:
    """What can be said without reading the steps; where it was not finished they are counted."""
    when, is_closed = time.strftime("%Y-%m-%d %H:%M", time.localtime(ended)), (path / META).exists()
    try:
        meta = Meta.from_json(read_json(path / (META if is_closed else OPEN_META)))
        num_steps = meta.num_steps if is_closed else (path / ACTIONS).read_bytes().count(b"\n")
    except (EpisodeError, OSError):
        return Played(path, when, "", 0, 1.0, "cannot be read")
    begun = str(meta.extra.get("begun", "reset"))
    facts = ["" if begun == "reset" else f"after a {begun}" if begun == "rewind" else begun]
    facts += ["real"] * (meta.source == "real") + ["not finished"] * (not is_closed)
    world = Path(str(meta.extra.get("world", "")) or meta.game).name
    return Played(path, when, world, num_steps, meta.fps, ", ".join(filter(None, facts)))
