"""Write what happens in an Env as episodes.

Recorder   an Env around an Env that writes what passes through it

Not here: the files (writer.py), their format and their reading (episode.py), the keys that start and stop a recording
(ui/).
"""

from __future__ import annotations

import hashlib
import logging
import queue
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from worldmodel.action import Action
from worldmodel.data.episode import START_STATE, STEPS, Meta
from worldmodel.data.health import SickFrame
from worldmodel.data.states import write_state
from worldmodel.data.writer import EpisodeWriter, QueuedWriter, next_episode
from worldmodel.env import Branching, Env, Frame, Past, Rewindable, Sampled

log = logging.getLogger(__name__)


class Recorder:
    """An Env around an Env: passes everything through and, while is_recording, writes episodes folder/<NNNNNN>/.

    about   the fields of Meta that the Env does not know: source and game; world_sha256, licence, player,
            sampler, split, extra. EpisodeError or TypeError at once if they are wrong.

    Each reset ends the running episode and begins another. Rewinding or loading a state never rewrites: it ends the
    episode and begins a child whose parent says where it branched (null if that frame was never recorded).
    meta.extra names what began an episode: "begun": "reset", "in play", "rewind", "state" or "code"; where a reset
    alone does not lead to its first frame, the state of a Rewindable is written beside it, so that it can be made
    again. If a write fails, the play goes on, recording stops, and `problem` says why. The Recorder is Rewindable if
    the inner Env is.

    queued  steps that may wait for the disk on a thread beside play; those beyond are counted in num_dropped, and
            another episode ("begun": "gap") begins when the disk has caught up. 0: each step waits for the disk.
    world: the Env inside, also where `env` is itself a Recorder (of the log of every run).
    check   frame -> what is wrong with it: such a step raises SickFrame and is not written
    """

    def __init__(
        self, env: Env, folder: str | Path, *, crf: int = 15, queued: int = 0,
        check: Callable[[Frame], str | None] = lambda frame: None, **about: Any,
    ) -> None:  # fmt: skip
        self.env, self.folder = env, Path(folder)
        self.world: Env = env.world if isinstance(env, Recorder) else env
        self.actions, self.fps, self.size_hw = env.actions, env.fps, env.size_hw
        self.problem: str | None = None
        self.is_recording = False
        self._about = Meta(fps=env.fps, size_hw=env.size_hw, action_space=env.actions, **about)
        self._crf, self._queued, self._check = crf, queued, check
        self.num_dropped = 0
        self._late: QueuedWriter | None = None  # behind the disk, and ending
        self._frame: Frame | None = None  # on screen now
        self._writer: EpisodeWriter | QueuedWriter | None = None
        self._trail: list[tuple[bytes, dict[str, Any]]] = []  # frames behind us: what they looked like, where they are
        self._places: dict[bytes, dict[str, Any]] = {}  # the same for every frame recorded since start()
        self._branched: tuple[str, dict[str, Any] | None] | None = None  # how the episode of the next step begins
        if isinstance(env, Rewindable):  # set here, so that isinstance tells the truth about the Recorder too
            self.state, self.load_state, self.rewind = env.state, self._load_state, self._rewind
            self.reach = env.reach
        if isinstance(env, Branching):
            self.past, self.thinned, self.return_to = env.past, env.thinned, self._return_to

    @property
    def meta(self) -> Meta:
        """What a recording of the episode on screen says about it."""
        return self._about

    @property
    def episode_path(self) -> Path | None:
        """The folder being written, or None."""
        return self._writer.path if self._writer else None

    def start(self) -> None:
        """Record from now on: the frame on screen is the first; without one, recording begins at the reset."""
        if not self.is_recording:
            self.is_recording, self.problem, self.num_dropped = True, None, 0
            self._trail, self._places, self._branched = [], {}, None
            if self._frame is not None:
                self._begin(begun="in play", parent=None)

    def stop(self) -> None:
        """Finish the running episode and record no more; stopping twice is allowed."""
        self._finish()
        self.is_recording = False

    def part(self, begun: str, sampler: dict[str, Any]) -> None:
        """From the next step on another episode, whose frames are made as `sampler` says."""
        self._about = replace(self._about, sampler=dict(sampler))
        self._branched = (begun, None)

    def reset(self, *, start: Any = 0, seed: int = 0) -> Frame:
        """The inner Env's reset; while recording, it begins a new episode."""
        self._finish()
        self._branched = None
        self._frame = self.env.reset(start=start, seed=seed)
        told = start if isinstance(start, int | str | None) else f"given: {type(start).__name__}"
        self._about, self._trail = replace(self._about, start=told, seed=seed), []
        self._begin(begun="reset", parent=None)
        return self._frame

    def step(self, action: Action) -> Frame:
        """The inner Env's step, written if it succeeds."""
        if self._branched and self._has_caught_up():  # not at the rewind: time may run back further
            (begun, parent), self._branched = self._branched, None
            self._begin(begun=begun, parent=parent)
        extra = {STEPS: self.world.steps} if isinstance(self.world, Sampled) else {}
        frame = self.env.step(action)
        problem = self._check(frame)
        if problem:
            raise SickFrame(problem)
        self._frame = frame
        writer = self._writer
        if writer is not None and self._attempt(lambda: self._write(writer, action, frame, extra)) and self._writer:
            self._remember(frame, writer)
        return frame

    def _write(self, writer: EpisodeWriter | QueuedWriter, action: Action, frame: Frame, extra: dict[str, Any]) -> None:
        try:
            writer.add(action, frame, **extra)
        except queue.Full:
            assert isinstance(writer, QueuedWriter)
            self.num_dropped += 1
            self._late, self._writer, self._branched = writer, None, ("gap", None)

    def close(self) -> None:
        """Stop recording and close the inner Env."""
        self.stop()
        self.env.close()

    def _rewind(self, frames: int) -> Frame:
        return self._branch(self.env.rewind(frames), "rewind", len(self._trail) - 1 - frames)  # type: ignore[attr-defined]

    def _load_state(self, state: dict[str, Any]) -> Frame:
        return self._branch(self.env.load_state(state), "state", len(self._trail))  # type: ignore[attr-defined]

    def _return_to(self, past: Past) -> Frame:
        return self._branch(self.env.return_to(past), "state", len(self._trail))  # type: ignore[attr-defined]

    def _branch(self, frame: Frame, begun: str, earliest: int) -> Frame:
        """Begin a child episode at a frame of the past; the Env may have gone back less far than `earliest`."""
        self._finish()
        self._frame, digest = frame, _digest(frame)
        behind = range(max(0, earliest), len(self._trail))
        at = next((i for i in behind if self._trail[i][0] == digest), None)
        parent = self._places.get(digest) if at is None else self._trail[at][1]
        self._trail = [(digest, parent)] if at is None and parent else self._trail[: 0 if at is None else at + 1]
        self._branched = (begun, parent)
        return frame

    def _has_caught_up(self) -> bool:
        """False while the episode before a gap is still being written; each such step is lost."""
        late = self._late
        if late is None:
            return True
        try:
            if late.end():
                self._late = None
                return True
        except (OSError, ValueError) as error:
            self._late = self._branched = None
            self.problem = f"recording stopped: {' '.join(str(error).split())}"
            self.is_recording = False
            return False
        self.num_dropped += 1
        return False

    def _begin(self, begun: str, parent: dict[str, Any] | None) -> None:
        """Open the next free folder and write the frame on screen, if recording is on."""
        self._finish()
        if self.is_recording:
            meta = replace(self._about, parent=parent, extra={**self._about.extra, "begun": begun})
            self._attempt(lambda: self._open(meta))

    def _open(self, meta: Meta) -> None:
        writer = next_episode(self.folder, meta, self._crf)
        self._writer = QueuedWriter(writer, self._queued) if self._queued else writer
        assert self._frame is not None
        self._writer.first(self._frame)
        is_reset = meta.extra["begun"] == "reset" and isinstance(meta.start, int)
        if not is_reset and isinstance(self.env, Rewindable):
            write_state(self._writer.path / START_STATE, self.env.state(), self._frame, {})
        self._remember(self._frame, self._writer)

    def _finish(self) -> None:
        """Close the running episode, if any."""
        for writer in (self._writer, self._late):
            if writer is not None and self._attempt(writer.close):
                self._writer = self._late = None

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Do a write; if it fails, keep the reason, leave the episode as it is on disk, and let the play go on."""
        try:
            write()
            return True
        except (OSError, ValueError) as error:
            self.problem = f"recording stopped: {' '.join(str(error).split())}"
            writer, self._writer, self.is_recording = self._writer, None, False
        try:
            if writer is not None:
                writer.abandon()
        except (OSError, ValueError) as error:
            log.warning("%s: not closed cleanly: %s", self.folder, error)
        return False

    def _remember(self, frame: Frame, writer: EpisodeWriter | QueuedWriter) -> None:
        """Note where a frame was written, so that a rewind can name the place it went back to."""
        if writer.num_steps or not self._trail:  # a child's first frame is its parent's: already on the trail
            digest, place = _digest(frame), {"episode": writer.path.name, "frame": writer.num_steps}
            self._trail.append((digest, place))
            self._places[digest] = place


def _digest(frame: Frame) -> bytes:
    return hashlib.blake2b(frame.tobytes(), digest_size=8).digest()
