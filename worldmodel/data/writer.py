"""Write episodes to disk.

EpisodeWriter   one episode, step by step, readable at any moment; next_episode: into the next free folder
QueuedWriter    the same on a thread of its own

Not here: the files' format and their reading (episode.py), what is written and when (recorder.py).
"""

from __future__ import annotations

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
    VIDEO,
    Meta,
    frame_checksum,
    write_json,
)  # fmt: skip
from worldmodel.data.raw import RawWriter
from worldmodel.data.video import VideoWriter
from worldmodel.env import Frame

log = logging.getLogger(__name__)

LOOK_S = 0.02  # between two looks whether a recording has ended
KEPT_LOGS = 40  # in a folder; one begun by a rewind or a save holds the state of then, 6 MB in the first world
PATIENCE_S = 3.0  # for the last frames to reach the disk


class _Nowhere:
    """Takes the frames of an episode without pictures."""

    def write(self, frame: Frame) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Nothing is open."""


class EpisodeWriter:
    """Write one episode into a new folder: first(frame), then add(action, frame) a step, then close().

    FileExistsError if the folder exists, OSError or VideoError (a ValueError) if a write fails. Killed at any
    moment, the folder holds all but the last second. meta.num_steps is counted here; meta.has_pictures says whether
    frames are written.
    """

    def __init__(self, path: str | Path, meta: Meta, crf: int | None = 15) -> None:
        """crf: of the video; None: frames without compression, which a killed process loses."""
        self.path, self.meta, self.num_steps = Path(path), meta, 0
        self.path.mkdir(parents=True)
        self._video: VideoWriter | RawWriter | _Nowhere
        if not meta.has_pictures:
            self._video = _Nowhere()
        elif crf is None:
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
    """A writer into the next free folder/<NNNNNN>; of episodes without pictures the newest KEPT_LOGS stay."""
    number = max((int(p.name) for p in folder.glob("[0-9]*") if p.name.isdigit()), default=-1) + 1
    if not meta.has_pictures:
        _drop_logs(folder, KEPT_LOGS - 1)
    while True:
        try:
            return EpisodeWriter(folder / f"{number:06d}", meta, crf)
        except FileExistsError:  # another recorder was faster
            number += 1


def _drop_logs(folder: Path, most: int) -> None:
    """Delete all but the newest episodes without pictures; what else is in the folder stays."""
    numbered = (path for path in folder.glob("[0-9]*") if path.name.isdigit() and (path / ACTIONS).exists())
    logs = sorted(path for path in numbered if not ((path / VIDEO).exists() or (path / RAW).exists()))
    for path in logs[: max(0, len(logs) - most)]:
        shutil.rmtree(path, ignore_errors=True)
