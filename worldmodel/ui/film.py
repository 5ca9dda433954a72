"""A film of play for people: frames enlarged, with the pressed keys drawn on them, as mp4, gif and contact sheet.

Film     frames and actions in, files out
export   a whole run of frames at once; export_episode: a recording
save_screenshot   one frame, enlarged

Not here: recordings that training reads (data/recorder.py); those stay clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pygame

from worldmodel.action import Action, ActionSpace
from worldmodel.data.replay import Replay
from worldmodel.data.video import VideoWriter, contact_sheet, save_gif, save_image
from worldmodel.env import Frame
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.keycaps import KeyCaps

SHEET_FRAMES, SHEET_COLUMNS = 24, 6
GIF_SECONDS, GIF_EVERY = 12.0, 2  # a gif to show: the beginning, every second frame
MIN_HEIGHT, GIF_HEIGHT, SHEET_HEIGHT = 360, 180, 120  # small frames are enlarged by a whole factor
SCREENSHOT_HEIGHT = 720
ENDINGS = (".mp4", ".gif", ".png")


class Film:
    """Write a film of about num_frames to paths that end in .mp4, .gif (its beginning) and .png (a contact sheet).

    ValueError for another ending, VideoError or OSError if a file cannot be written.
    """

    def __init__(
        self, paths: Sequence[Path], space: ActionSpace, fps: float, size_hw: tuple[int, int], num_frames: int
    ) -> None:
        self.paths = {path.suffix: path for path in paths}
        if not self.paths or not set(self.paths) <= set(ENDINGS):
            raise ValueError(f"a film is a .mp4, .gif or .png; got {', '.join(map(str, paths)) or 'none'}")
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._caps, self.fps, self.size_hw = KeyCaps(space, default_bindings(space.buttons)), fps, size_hw
        self._every, self._number = max(1, num_frames // SHEET_FRAMES), 0
        self._gif: list[Frame] = []
        self._sheet: list[Frame] = []
        self._video: VideoWriter | None = None
        if ".mp4" in self.paths:
            factor = 2 * max(1, -(-MIN_HEIGHT // (2 * size_hw[0])))  # H.264 needs even sizes
            self._video = VideoWriter(self.paths[".mp4"], fps, (size_hw[0] * factor, size_hw[1] * factor))

    def add(self, frame: Frame, action: Action) -> None:
        """One frame uint8 (H, W, 3) and the action that led to it."""
        if self._video:
            self._video.write(self._drawn(frame, action, self._video.size_hw[0]))
        if ".gif" in self.paths and self._number % GIF_EVERY == 0 and self._number < GIF_SECONDS * self.fps:
            self._gif.append(self._drawn(frame, action, GIF_HEIGHT))
        if ".png" in self.paths and self._number % self._every == 0 and len(self._sheet) < SHEET_FRAMES:
            self._sheet.append(self._drawn(frame, action, SHEET_HEIGHT))
        self._number += 1

    def close(self) -> None:
        """Finish the files."""
        if self._video:
            self._video.close()
        if self._gif:
            save_gif(self.paths[".gif"], self._gif, self.fps / GIF_EVERY)
        if self._sheet:
            save_image(self.paths[".png"], contact_sheet(self._sheet, SHEET_COLUMNS))

    def _drawn(self, frame: Frame, action: Action, height: int) -> Frame:
        factor = max(1, -(-height // frame.shape[0]))
        large = np.ascontiguousarray(frame.repeat(factor, axis=0).repeat(factor, axis=1))
        surface = pygame.image.frombytes(large.tobytes(), large.shape[1::-1], "RGB")
        self._caps.draw(surface, action, max(9, large.shape[0] // 26), shows_all=False)
        return np.ascontiguousarray(pygame.surfarray.array3d(surface).swapaxes(0, 1))


def export(
    paths: Sequence[Path], frames: Sequence[Frame], actions: Sequence[Action], space: ActionSpace, fps: float
) -> None:
    """Film T + 1 frames and the T actions between them."""
    film = Film(paths, space, fps, (frames[0].shape[0], frames[0].shape[1]), len(frames))
    try:
        for frame, action in zip(frames, [Action(), *actions], strict=True):
            film.add(frame, action)
    finally:
        film.close()


def export_episode(path: Path, out: Path) -> list[Path]:
    """Film a recording: one file if out ends in one of ENDINGS, else all of them in the folder out, named after it.

    EpisodeError if it cannot be read, VideoError or OSError if a file cannot be written.
    """
    replay = Replay(path)
    episode, meta = replay.episode, replay.episode.meta
    paths = [out] if out.suffix in ENDINGS else [out / f"{path.parent.name}-{path.name}{ending}" for ending in ENDINGS]
    film = Film(paths, meta.action_space, meta.fps, meta.size_hw, episode.num_steps + 1)
    try:
        film.add(replay.reset(), Action())
        for action in episode.actions:
            film.add(replay.step(action), action)
    finally:
        film.close()
        replay.close()
    return paths


def save_screenshot(frame: Frame, out: Path) -> Path:
    """A frame without meters, enlarged by a whole factor, into the folder out; gives the file. OSError if it cannot."""
    path = out / f"{datetime.now():%Y%m%d-%H%M%S-%f}.png"
    out.mkdir(parents=True, exist_ok=True)
    save_image(path, contact_sheet([frame], columns=1, scale=max(1, SCREENSHOT_HEIGHT // frame.shape[0])))
    return path
