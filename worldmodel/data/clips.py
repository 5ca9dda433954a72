"""What training reads: frames of episodes, and clips of the latent cache. A batch is a function of (seed, step).

FramePool     frames of many episodes, decoded once into memory
Clip          latents and actions of consecutive frames
LatentClips   clips of the latent cache that train/latents.py made: of one length, or at times longer (ClipConfig)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldmodel.data.episode import list_episodes, load_episode, read_json


class DatasetError(ValueError):
    """A dataset or latent cache that is missing or does not fit."""


class FramePool:
    """Every stride-th frame of a split's episodes: .frames uint8 (N, H, W, 3)."""

    def __init__(self, root: str | Path, *, split: str, stride: int, seed: int) -> None:
        paths = [p for p in list_episodes(root) if read_json(p / "meta.json")["split"] == split]
        if not paths:
            raise DatasetError(f"{root}: no {split} episodes. Make some with python -m train.collect.")
        self.seed = seed
        self.frames = np.concatenate([load_episode(p).frames()[i % stride :: stride] for i, p in enumerate(paths)])

    def batch(self, step: int, batch_size: int) -> np.ndarray:
        """uint8 (batch_size, H, W, 3), drawn for that step."""
        rng = np.random.default_rng([self.seed, step])
        return self.frames[rng.integers(len(self.frames), size=batch_size)]


class Clip(NamedTuple):
    """latents (B, T, C, h, w); actions (B, T, A): actions[:, i] led to frame i, zero for an episode's first."""

    latents: Any
    actions: Any


@dataclass(kw_only=True)
class ClipConfig:
    """frames: length of a clip; long: of the clips of some steps instead, drawn with long_chance, and as many fewer of
    them (0: never). Long clips teach what far memory is for; short ones are more, and cheaper.
    """

    frames: int
    long: int
    long_chance: float

    def __post_init__(self) -> None:
        if self.long and self.long <= self.frames:
            raise ValueError(f"clips.long={self.long} must be 0 or more than clips.frames={self.frames}")
        if not 0 <= self.long_chance <= 1:
            raise ValueError(f"clips.long_chance must be in [0, 1], got {self.long_chance}")


def of_one_length(frames: int) -> ClipConfig:
    """Clips that are all of this length."""
    return ClipConfig(frames=frames, long=0, long_chance=0.0)


class LatentClips:
    """Random clips of a latent cache; the whole split lies in memory as float16."""

    def __init__(self, root: str | Path, config: ClipConfig, *, split: str, seed: int) -> None:
        from safetensors.numpy import load_file

        root = Path(root)
        if not (root / "latents.json").exists():
            raise DatasetError(f"{root}: no latent cache. Make it with python -m train.latents.")
        self.info: dict[str, Any] = read_json(root / "latents.json")
        self.config, self.seed = config, seed
        parts = [load_file(root / name) for name in self.info["shards"][split]]
        if not parts:
            raise DatasetError(f"{root}: the cache holds no {split} frames")
        self.latents = np.concatenate([part["latents"] for part in parts])  # (N, C, h, w)
        self.actions = np.concatenate([part["actions"] for part in parts])  # (N, A)
        lengths = np.concatenate([part["lengths"] for part in parts])  # frames of each episode
        self.starts = {n: _starts(lengths, n) for n in (config.frames, config.long) if n}  # by length of a clip
        for frames, starts in self.starts.items():
            if not len(starts):
                raise DatasetError(f"{root}: no {split} episode has {frames} frames")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a latent frame."""
        c, h, w = self.latents.shape[1:]
        return c, h, w

    def batch(self, step: int, batch_size: int) -> Clip:
        """Clips drawn for that step, numpy float32: batch_size of them, or long ones with as many frames in all."""
        rng = np.random.default_rng([self.seed, step])
        frames = self.config.frames
        if self.config.long and rng.random() < self.config.long_chance:
            batch_size = max(1, batch_size * frames // self.config.long)
            frames = self.config.long
        starts = self.starts[frames]
        return self.at(starts[rng.integers(len(starts), size=batch_size)], frames)

    def at(self, starts: np.ndarray, frames: int) -> Clip:
        """The clips of that many frames that begin at these places of the cache."""
        index = np.asarray(starts)[:, None] + np.arange(frames)
        return Clip(self.latents[index].astype(np.float32), self.actions[index].astype(np.float32))


def _starts(lengths: np.ndarray, frames: int) -> np.ndarray:
    """Where clips of that many frames can begin without crossing an episode's end."""
    ends = np.cumsum(lengths)
    return np.concatenate([np.arange(e - n, e - frames + 1) for e, n in zip(ends, lengths, strict=True)])
