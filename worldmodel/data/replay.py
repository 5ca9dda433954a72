"""Play a recorded episode: its frames again, or its actions again in the world that it came from.

Replay             an Env and Rewindable whose world is one Episode: the same frames, whatever is pressed
begin_again        bring a world to the first frame of an episode
first_difference   make an episode again, and compare each frame with its checksum

Not here: reading the files (episode.py), the window that shows it (ui/).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldmodel.action import Action
from worldmodel.data.episode import START_STATE, Episode, EpisodeError, frame_checksum, load_episode
from worldmodel.data.states import read_state
from worldmodel.env import Env, EpisodeEnd, Frame, Rewindable, Sampled

CHUNK = 32  # frames decoded at a time: 10 ms at 120 x 160, so that no step is late
MAX_CHUNKS = 8  # kept in memory, for rewinding


class Replay:
    """An Env that shows a recorded episode; of its frames, uint8 (H, W, 3), only a few chunks are in memory.

    EpisodeError if the folder cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.episode: Episode = load_episode(path)
        meta = self.episode.meta
        self.actions, self.fps, self.size_hw = meta.action_space, meta.fps, meta.size_hw
        self._index = 0  # of the frame on screen, in 0 .. T
        self._chunks: dict[int, Any] = {}  # number -> uint8 (up to CHUNK, H, W, 3), oldest first

    @property
    def recorded_action(self) -> Action | None:
        """The action that leads out of the frame on screen; None at the last frame."""
        return self.episode.actions[self._index] if self._index < self.episode.num_steps else None

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """Go to frame number `start`, 0 to T; the seed changes nothing. ValueError outside."""
        if not 0 <= start <= self.episode.num_steps:
            raise ValueError(f"{self.episode.path}: no frame {start}; it has frames 0 to {self.episode.num_steps}.")
        self._index = start
        return self._frame()

    def step(self, action: Action) -> Frame:
        """The next recorded frame; the action given is ignored. EpisodeEnd after the last."""
        if self._index >= self.episode.num_steps:
            raise EpisodeEnd(f"{self.episode.path}: the recording ends after {self.episode.num_steps} steps")
        self._index += 1
        return self._frame()

    def close(self) -> None:
        """Forget the decoded frames."""
        self._chunks.clear()

    def state(self) -> dict[str, Any]:
        """{"frame": number of the frame on screen}."""
        return {"frame": self._index}

    def load_state(self, state: dict[str, Any]) -> Frame:
        """Go to the frame of a state."""
        return self.reset(start=state["frame"])

    def reach(self) -> tuple[int, int]:
        """All frames up to the one on screen."""
        return self._index, self._index

    def rewind(self, frames: int) -> Frame:
        """Go back that many frames, or to the first."""
        return self.reset(start=max(0, self._index - frames))

    def _frame(self) -> Frame:
        number, offset = divmod(self._index, CHUNK)
        if number not in self._chunks:
            while len(self._chunks) >= MAX_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[number] = self.episode.frames(number * CHUNK, CHUNK)
        return self._chunks[number][offset].copy()  # a caller may draw on its frame


def begin_again(env: Env, episode: Episode) -> Frame:
    """Bring the world that an episode came from to its first frame: by a reset, or by the state beside it.

    EpisodeError if neither is there (recorded from the middle of play, in a world that has no states).
    """
    meta, path = episode.meta, episode.path / START_STATE
    if path.exists() and isinstance(env, Rewindable):
        return env.load_state(read_state(path)[0])
    if meta.extra.get("begun", "reset") != "reset" or not isinstance(meta.start, int):
        raise EpisodeError(f"{episode.path}: begun in the middle of play and without a state: it can only be watched.")
    return env.reset(start=meta.start, seed=meta.seed)


def first_difference(env: Env, episode: Episode, seen: Callable[[int], None] = lambda t: None) -> int | None:
    """The first of an episode's T + 1 frames that the world makes differently now; None if all are byte-equal.

    seen(t) is called after each frame. EpisodeError if the episode has no checksums (recorded by an older version).
    """
    if None in episode.checksums:
        raise EpisodeError(f"{episode.path}: recorded without checksums by an older version; it can only be watched.")
    frame = begin_again(env, episode)
    for t, checksum in enumerate(episode.checksums):
        if frame_checksum(frame) != checksum:
            return t
        seen(t)
        if t < episode.num_steps:
            steps = episode.sampling_steps[t]
            if steps is not None and isinstance(env, Sampled):
                env.steps = steps
            frame = env.step(episode.actions[t])
    return None
