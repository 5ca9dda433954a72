"""Frames without compression: for machines without PyAV, and for data that is read once and thrown away.

RawWriter            frames -> one .npy file, written when it is closed
read_raw, raw_shape  parts of such a file, and its shape

The same three as in video.py, and the same errors. A frame of 128 x 96 takes 37 KB: thirteen times as much as in H.264.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldmodel.data.video import VideoError


class RawWriter:
    """Keep frames uint8 (H, W, 3) in memory and write them as one .npy at close; a killed process leaves none."""

    def __init__(self, path: str | Path, size_hw: tuple[int, int]) -> None:
        self.path, self.size_hw = Path(path), (int(size_hw[0]), int(size_hw[1]))
        self._frames: list[np.ndarray] = []
        self._is_open = True

    def write(self, frame: np.ndarray) -> None:
        """Append one frame. ValueError for another shape or type."""
        if frame.shape != (*self.size_hw, 3) or frame.dtype != np.uint8:
            got = f"{frame.dtype} {frame.shape}"
            raise ValueError(f"{self.path}: expected a uint8 frame of shape {(*self.size_hw, 3)}, got {got}")
        self._frames.append(frame.copy())

    def close(self) -> None:
        """Write the file; closing twice is allowed. VideoError if the disk refuses."""
        if not self._is_open:
            return
        self._is_open, frames = False, self._frames
        self._frames = []
        try:
            np.save(self.path, np.stack(frames) if frames else np.zeros((0, *self.size_hw, 3), np.uint8))
        except OSError as error:
            raise VideoError(
                f"{self.path}: cannot write ({error.strerror}). Check the folder and free space."
            ) from error


def read_raw(path: str | Path, first: int = 0, count: int | None = None) -> np.ndarray:
    """Frames first .. first + count - 1, uint8 (T, H, W, 3); all that follow if count is None. As read_video."""
    return np.array(_opened(path)[first : None if count is None else first + count])


def raw_shape(path: str | Path) -> tuple[int, int, int, int]:
    """The shape (T, H, W, 3) of read_raw(path)."""
    t, h, w, _ = _opened(path).shape
    return t, h, w, 3


def _opened(path: str | Path) -> np.ndarray:
    try:
        frames = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot read the frames ({error}). Restore the file, or collect it again.") from error
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise VideoError(f"{path}: holds no frames (expected uint8 T x H x W x 3). Restore the file.")
    return frames
