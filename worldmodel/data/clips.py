"""What training reads: frames of episodes, and clips of the latent cache. A batch is a function of (seed, step).

FramePool     frames of many episodes, decoded once into memory
Clip          latents and actions of consecutive frames
LatentClips   clips of the latent cache that train/latents.py made: of one length, or at times longer (ClipConfig)
told_of       what a network may be told of an action
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldmodel.action import ActionError, ActionSpace
from worldmodel.data.episode import list_episodes, load_episode, read_json

log = logging.getLogger(__name__)


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
    """latents (B, T, C, h, w); actions (B, T, A), or with a compass A + 2: actions[:, i] led to frame i, zero for an
    episode's first.
    """

    latents: Any
    actions: Any


@dataclass(kw_only=True)
class ClipConfig:
    """frames: length of a clip; long: of the clips of some steps instead, drawn with long_chance, and as many fewer of
    them (0: never). Long clips teach what far memory is for; short ones are more, and cheaper. shares: by the name of
    a player, the share of clips that are of that player's episodes; all others share the rest by their frames. One
    without episodes is left out, with a warning.
    """

    frames: int
    long: int
    long_chance: float
    shares: dict[str, float]

    def __post_init__(self) -> None:
        if self.long and self.long <= self.frames:
            raise ValueError(f"clips.long={self.long} must be 0 or more than clips.frames={self.frames}")
        if not 0 <= self.long_chance <= 1:
            raise ValueError(f"clips.long_chance must be in [0, 1], got {self.long_chance}")
        if min(self.shares.values(), default=0) < 0 or sum(self.shares.values()) > 1:
            raise ValueError(f"clips.shares must be at least 0 and sum to at most 1, got {self.shares}")


def of_one_length(frames: int) -> ClipConfig:
    """Clips that are all of this length."""
    return ClipConfig(frames=frames, long=0, long_chance=0.0, shares={})


class LatentClips:
    """Random clips of a latent cache; the whole split lies in memory as float16.

    told: how many numbers the network is told of an action; None: as many as it has. Where that is more, they are the
    compass's, whose 0 is another in every clip. ActionError if there is no such compass.
    """

    def __init__(self, root: str | Path, config: ClipConfig, *, split: str, seed: int, told: int | None = None) -> None:
        from safetensors.numpy import load_file

        from worldmodel.compass import Compass

        root = Path(root)
        if not (root / "latents.json").exists():
            raise DatasetError(f"{root}: no latent cache. Make it with python -m train.latents.")
        self.info: dict[str, Any] = read_json(root / "latents.json")
        self.config, self.seed = config, seed
        space = ActionSpace.from_json(self.info["action_space"])
        space = space.known_to(space.size if told is None else told)
        self.num_actions, self.compass = space.told, Compass.of(space)
        parts = [load_file(root / name) for name in self.info["shards"][split]]
        if not parts:
            raise DatasetError(f"{root}: the cache holds no {split} frames")
        self.latents = np.concatenate([part["latents"] for part in parts])  # (N, C, h, w)
        self.actions = np.concatenate([part["actions"] for part in parts])  # (N, A)
        lengths = np.concatenate([part["lengths"] for part in parts])  # frames of each episode
        self.chances, groups = self._groups(split, len(lengths))
        self.starts = {  # by length of a clip, by group of players
            frames: [_starts(lengths, frames, group) for group in groups]
            for frames in (config.frames, config.long)
            if frames
        }
        for frames, starts in self.starts.items():
            if any(len(s) == 0 for s in starts):
                raise DatasetError(f"{root}: no {split} episode has {frames} frames")

    def _groups(self, split: str, episodes: int) -> tuple[list[float], list[np.ndarray]]:
        """The chance of each group of players, and which episodes are its: bool (episodes,)."""
        if not self.config.shares:
            return [1.0], [np.ones(episodes, bool)]
        if "players" not in self.info:
            raise DatasetError("clips.shares: this latent cache does not say who played. Delete it, make it anew.")
        players = np.asarray(self.info["players"][split])
        known = {name: share for name, share in self.config.shares.items() if name in players}
        for name in self.config.shares.keys() - known.keys():
            log.warning("clips.shares: %s played no %s episode; of: %s", name, split, ", ".join(sorted(set(players))))
        chances, groups = list(known.values()), [players == name for name in known]
        rest = ~np.any([np.zeros(episodes, bool), *groups], axis=0)
        if rest.any():
            return [*chances, 1 - sum(chances)], [*groups, rest]
        if not sum(chances):
            raise DatasetError(f"clips.shares: {self.config.shares} leaves no {split} episode")
        return [chance / sum(chances) for chance in chances], groups

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
        groups = self.starts[frames]
        drawn = rng.choice(len(groups), size=batch_size, p=self.chances)
        return self.at(np.asarray([rng.choice(groups[group]) for group in drawn]), frames)

    def at(self, starts: np.ndarray, frames: int) -> Clip:
        """The clips of that many frames that begin at these places of the cache."""
        index = np.asarray(starts)[:, None] + np.arange(frames)
        actions = self.actions[index].astype(np.float32)
        origins = np.random.default_rng([self.seed, *map(int, starts)]).uniform(0, 2 * np.pi, len(index))
        actions = self.compass.in_clips(actions, origins)
        return Clip(self.latents[index].astype(np.float32), actions)


def _starts(lengths: np.ndarray, frames: int, chosen: np.ndarray) -> np.ndarray:
    """Where clips of that many frames can begin in the chosen episodes without crossing an episode's end."""
    ends = np.cumsum(lengths)[chosen]
    return np.concatenate([np.arange(e - n, e - frames + 1) for e, n in zip(ends, lengths[chosen], strict=True)])


def told_of(root: str | Path, *, compass: bool) -> int:
    """How many numbers a network is told of an action of this latent cache. ActionError if it has no compass."""
    index = Path(root) / "latents.json"
    if not index.exists():
        raise DatasetError(f"{root}: no latent cache. Make it with python -m train.latents.")
    space = ActionSpace.from_json(read_json(index)["action_space"])
    if compass and not space.turns:
        raise ActionError("compass=true: nothing is known of turns, in this game or when it was recorded")
    return space.told if compass else space.size
