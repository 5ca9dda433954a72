"""The last seconds of play, in memory: for "keep that", and for the timeline.

Tape      frames and the actions between them; time that was taken back is cut off
keep      the tape as an episode, and as a film with the keys on it
Taping    what the player sees of recording: on, off, keep that, what went wrong

Not here: how recordings are written (data/recorder.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from worldmodel.action import Action
from worldmodel.data.episode import STEPS, Meta
from worldmodel.data.recorder import Recorder
from worldmodel.data.writer import next_episode
from worldmodel.env import Frame
from worldmodel.ui.film import ENDINGS, export, export_episode

SECONDS = 30.0
MOST_BYTES = 256 * 2**20  # of frames: fewer seconds in a world of large frames


class Tape:
    """The last T actions and T + 1 frames, uint8 (H, W, 3); begins with the frame of a reset or of a loaded state.

    is_whole: nothing since a reset is missing, so that the world can make it again
    """

    def __init__(self, fps: float, size_hw: tuple[int, int]) -> None:
        most = min(SECONDS * fps, MOST_BYTES / (3 * size_hw[0] * size_hw[1]))
        self._steps: deque[tuple[Action, Frame, int | None]] = deque(maxlen=1 + max(1, round(most)))
        self.is_whole = False
        self._made_by: str | None = None

    def begin(self, frame: Frame, *, is_reset: bool) -> None:
        """Forget all, and begin with a frame."""
        self._steps.clear()
        self._steps.append((Action(), frame, None))
        self.is_whole, self._made_by = is_reset, None

    def add(self, action: Action, frame: Frame, steps: int | None, made_by: str | None = None) -> None:
        """One step, its sampling steps and the code that made it; the frame is kept, not copied."""
        is_same = self._made_by in (None, made_by)
        self.is_whole = self.is_whole and is_same and len(self._steps) < (self._steps.maxlen or 0)
        self._made_by = made_by
        self._steps.append((action, frame, steps))

    def cut(self, frames: int) -> None:
        """Time was taken back by so many frames."""
        for _ in range(min(frames, len(self._steps) - 1)):
            self._steps.pop()

    def copy(self) -> Tape:
        """Another tape of the same frames, which are not copied."""
        other = Tape.__new__(Tape)
        other._steps, other.is_whole, other._made_by = self._steps.copy(), self.is_whole, self._made_by
        return other

    def take(self, other: Tape) -> None:
        """Hold what the other holds."""
        self._steps, self.is_whole, self._made_by = other._steps.copy(), other.is_whole, other._made_by

    def frames(self) -> list[Frame]:
        """The frames, oldest first."""
        return [frame for _, frame, _ in list(self._steps)]

    def content(self) -> list[tuple[Action, Frame, int | None]]:
        """The steps, oldest first; the first action and sampling steps mean nothing."""
        return list(self._steps)


Steps = list[tuple[Action, Frame, int | None]]


def keep(steps: Steps, meta: Meta, recordings: Path, films: Path, *, is_whole: bool) -> tuple[Path, Path]:
    """Write an episode into the next folder of recordings, and a film beside the screenshots; gives folder and mp4.

    OSError or a ValueError that says why if there is no room.
    """
    meta = replace(meta, extra={**meta.extra, "begun": "reset" if is_whole else "tape"}, parent=None)
    writer = next_episode(recordings, meta)
    try:
        writer.first(steps[0][1])
        for action, frame, number in steps[1:]:
            writer.add(action, frame, **({} if number is None else {STEPS: number}))
    finally:
        writer.close()
    paths = [films / f"{recordings.name}-{writer.path.name}{ending}" for ending in ENDINGS]
    export(paths, [step[1] for step in steps], [step[0] for step in steps[1:]], meta.action_space, meta.fps)
    return writer.path, paths[0]


class Taping:
    """Switches a Recorder (None: this world is not recorded) and keeps tapes; tell gets each line for the player.

    recording_since: perf_counter, None while nothing is recorded; num_dropped: steps that did not reach the disk
    """

    def __init__(self, recorder: Recorder | None, films: Path, tell: Callable[[str], None]) -> None:
        self.recording_since: float | None = None
        self._recorder, self._films, self._tell = recorder, films, tell
        self._told_problem: str | None = None
        self._log = recorder.env if recorder and isinstance(recorder.env, Recorder) else None  # of the run
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="keeper")  # beside play

    @property
    def num_dropped(self) -> int:
        """Steps of this recording that did not reach the disk."""
        return self._recorder.num_dropped if self._recorder else 0

    def toggle(self) -> None:
        """Recording on or off."""
        if not self._recorder:
            self._tell("this world is not recorded")
        elif self._recorder.is_recording:
            self._finish()
        else:
            self._recorder.start()
            self.watch()

    def keep(self, tape: Tape, *, can_begin_again: bool) -> None:
        """The tape as an episode and as films, written beside play; says where, or why not.

        can_begin_again: a reset leads to where the tape begins, if it is whole
        """
        if not self._recorder:
            self._tell("this world is not recorded")
            return
        meta, steps, folder = self._recorder.meta, tape.content(), self._recorder.folder
        is_whole = tape.is_whole and can_begin_again

        def write() -> None:
            try:
                episode, film = keep(steps, meta, folder, self._films, is_whole=is_whole)
                self._tell(f"kept {(len(steps) - 1) / meta.fps:.0f} s: {episode} and {film} (.gif, .png)")
            except (OSError, ValueError) as error:
                self._tell(f"not kept: {' '.join(str(error).split())}")

        if len(steps) > 1:
            self._writers.submit(write)

    def export(self, path: Path) -> None:
        """Films of a recording, written beside play; says where, or why not."""

        def write() -> None:
            try:
                self._tell(f"exported {', '.join(map(str, export_episode(path, self._films)))}")
            except (OSError, ValueError) as error:
                self._tell(f"not exported: {' '.join(str(error).split())}")

        self._writers.submit(write)

    def watch(self) -> None:
        """Keep the red light true, and say so once when a recording fails."""
        if not self._recorder:
            return
        if not self._recorder.is_recording:
            self.recording_since = None
        elif self.recording_since is None:
            self.recording_since = time.perf_counter()
        if self._recorder.problem != self._told_problem:
            self._told_problem = self._recorder.problem
            if self._told_problem:
                self._tell(self._told_problem)
        if self._log and self._log.problem:
            self._tell(f"what you press is not kept: {self._log.problem}")
            self._log = None

    def close(self) -> None:
        """Finish a running recording and what is being kept."""
        self._finish()
        self._writers.shutdown()

    def _finish(self) -> None:
        """Close a running recording and say where it is, or what is wrong with it."""
        if self._recorder and self._recorder.is_recording:
            path = self._recorder.episode_path
            self._recorder.stop()
            if path and not self._recorder.problem:
                self._tell(f"recorded {path}")
        self.watch()
