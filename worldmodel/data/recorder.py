"""Write what happens in an Env as episodes.

EpisodeWriter   one episode, step by step, readable at any moment; next_episode: into the next free folder
QueuedWriter    the same on a thread of its own
Recorder        an Env around an Env that writes what passes through it

Not here: the files' format and their reading (episode.py), the keys that start and stop a recording (ui/).
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from worldmodel.action import Action
from worldmodel.data.episode import (
    ACTIONS,
    CHECKSUM,
    FIRST_CHECKSUM,
    META,
    OPEN_META,
    RAW,
    START_STATE,
    STEPS,
    VIDEO,
    Meta,
    frame_checksum,
    write_json,
)  # fmt: skip
from worldmodel.data.health import SickFrame
from worldmodel.data.raw import RawWriter
from worldmodel.data.states import write_state
from worldmodel.data.video import VideoWriter
from worldmodel.env import Env, Frame, Rewindable, Sampled

log = logging.getLogger(__name__)

LOOK_S = 0.02  # between two looks whether a recording has ended
PATIENCE_S = 3.0  # for the last frames to reach the disk


class EpisodeWriter:
    """Write one episode into a new folder: first(frame), then add(action, frame) a step, then close().

    FileExistsError if the folder exists, OSError or VideoError (a ValueError) if a write fails. Killed at any
    moment, the folder holds all but the last second. meta.num_steps is counted here.
    """

    def __init__(self, path: str | Path, meta: Meta, crf: int | None = 15) -> None:
        """crf: of the video; None: frames without compression, which a killed process loses."""
        self.path, self.meta, self.num_steps = Path(path), meta, 0
        self.path.mkdir(parents=True)
        self._video: VideoWriter | RawWriter
        if crf is None:
            self._video = RawWriter(self.path / RAW, meta.size_hw)
        else:
            self._video = VideoWriter(self.path / VIDEO, meta.fps, meta.size_hw, crf)
        self._actions = (self.path / ACTIONS).open("w", encoding="utf-8", buffering=1)  # flushed at each line
        write_json(self.path / OPEN_META, meta.to_json())  # last: now the folder is an episode
        self._num_frames = 0
        self._first: dict[str, int] = {}

    def first(self, frame: Frame) -> None:
        """Write frame[0], uint8 (H, W, 3); once, before any step."""
        assert self._num_frames == 0, f"{self.path}: first frame given twice"
        self._video.write(frame)
        self._num_frames, self._first = 1, {FIRST_CHECKSUM: frame_checksum(frame)}

    def add(self, action: Action, frame: Frame, **extra: Any) -> None:
        """Write one step: the action, the frame it led to, and further JSON values for its line."""
        assert self._num_frames == self.num_steps + 1, f"{self.path}: a step before the first frame"
        line = {"t": self.num_steps, **action.to_json(), **self._first, CHECKSUM: frame_checksum(frame), **extra}
        self._first = {}
        self._actions.write(json.dumps(line, allow_nan=False) + "\n")
        self._video.write(frame)
        self.num_steps += 1
        self._num_frames += 1

    def close(self) -> None:
        """Finish the files and write meta.json; an episode without a step is removed. Closing twice is allowed."""
        if self._actions.closed:
            return
        self.abandon()
        if self.num_steps:
            self.meta = replace(self.meta, num_steps=self.num_steps)
            write_json(self.path / META, self.meta.to_json())
            (self.path / OPEN_META).unlink()
            return
        shutil.rmtree(self.path)

    def abandon(self) -> None:
        """Close the files and leave them as a killed process would: load_episode recovers what is whole."""
        try:
            self._actions.close()
        finally:
            self._video.close()


class QueuedWriter:
    """An EpisodeWriter on a thread of its own, so that a slow disk does not stop the play.

    most    steps that may wait; add raises queue.Full beyond them
    What fails on the thread (OSError, ValueError) is raised by the next add or by close.
    """

    def __init__(self, writer: EpisodeWriter, most: int) -> None:
        self.path, self.num_steps = writer.path, 0
        self._writer, self._jobs = writer, queue.Queue[Callable[[], None]](most)
        self._error: Exception | None = None
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def first(self, frame: Frame) -> None:
        """As EpisodeWriter.first."""
        self._put(lambda: self._writer.first(frame))

    def add(self, action: Action, frame: Frame, **extra: Any) -> None:
        """As EpisodeWriter.add; queue.Full if the thread is too far behind."""
        self._put(lambda: self._writer.add(action, frame, **extra))
        self.num_steps += 1

    def end(self) -> bool:
        """Write what waits, then close, without waiting for it; True when that is done, OSError if it went wrong."""
        self._is_ending.set()
        if self._thread.is_alive():
            return False
        self._raise()
        return True

    def close(self) -> None:
        """The same, waiting for it; OSError if it takes longer than PATIENCE_S."""
        self._is_ending.set()
        self._thread.join(PATIENCE_S)
        self._raise()
        if self._thread.is_alive():
            raise OSError(f"{self.path}: the disk does not keep up")

    def abandon(self) -> None:
        """Nothing is left to do: the thread has closed the files where it failed."""

    def _put(self, job: Callable[[], None]) -> None:
        self._raise()
        self._jobs.put_nowait(job)

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while not (self._is_ending.is_set() and self._jobs.empty()):
                try:
                    job = self._jobs.get(timeout=LOOK_S)
                except queue.Empty:
                    continue
                job()
            self._writer.close()
        except (OSError, ValueError) as error:
            self._error = error
            try:
                self._writer.abandon()
            except (OSError, ValueError) as other:
                log.warning("%s: not closed cleanly: %s", self.path, other)


def next_episode(folder: Path, meta: Meta, crf: int = 15) -> EpisodeWriter:
    """A writer into the next free folder/<NNNNNN>."""
    number = max((int(p.name) for p in folder.glob("[0-9]*") if p.name.isdigit()), default=-1) + 1
    while True:
        try:
            return EpisodeWriter(folder / f"{number:06d}", meta, crf)
        except FileExistsError:  # another recorder was faster
            number += 1


class Recorder:
    """An Env around an Env: passes everything through and, while is_recording, writes episodes folder/<NNNNNN>/.

    about   the fields of Meta that the Env does not know: source and game; world_sha256, licence, player,
            sampler, split, extra. EpisodeError or TypeError at once if they are wrong.

    Each reset ends the running episode and begins another. Rewinding or loading a state never rewrites: it ends the
    episode and begins a child whose parent says where it branched (null if that frame was never recorded).
    meta.extra names what began an episode: "begun": "reset", "in play", "rewind" or "state"; where a reset alone does
    not lead to its first frame, the state of a Rewindable is written beside it, so that it can be made again.
    If a write fails, the play goes on, recording stops, and `problem` says why. The Recorder is Rewindable if the
    inner Env is.

    queued  steps that may wait for the disk on a thread beside play; those beyond are counted in num_dropped, and
            another episode ("begun": "gap") begins when the disk has caught up. 0: each step waits for the disk.
    check   frame -> what is wrong with it: such a step raises SickFrame and is not written
    """

    def __init__(
        self, env: Env, folder: str | Path, *, crf: int = 15, queued: int = 0,
        check: Callable[[Frame], str | None] = lambda frame: None, **about: Any,
    ) -> None:  # fmt: skip
        self.env, self.folder = env, Path(folder)
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
        extra = {STEPS: self.env.steps} if isinstance(self.env, Sampled) else {}
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
