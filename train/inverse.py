"""The judge of control: an inverse-dynamics model learns to read actions off nine frames, real and reconstructed.

python -m train.inverse game=doom_garden      reads data/doom_garden/, writes runs/doom_garden/inverse/
python -m train.evaluate world=doom_garden inverse=runs/doom_garden/inverse/inverse.safetensors
It may judge if its macro F1 on real held-out frames, told at the end, is at least least_f1 of conf/evaluate.yaml.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from train.cli import stage
from train.load import load_tokenizer
from train.reference import place_in
from worldmodel.config import plain, typed
from worldmodel.data.episode import Episode, list_episodes, load_episode, read_json
from worldmodel.evaluation.dreamer import reconstruct_with
from worldmodel.evaluation.inverse import (
    AFTER,
    BEFORE,
    Inverse,
    InverseConfig,
    Lesson,
    Lessons,
    f1_counts,
    labels,
    macro_f1,
    motion_scale,
    read_film,
    seen,
    shrunk,
)
from worldmodel.evaluation.judges import save_judge
from worldmodel.evaluation.manifest import ProbesConfig
from worldmodel.evaluation.motion import view_motion
from worldmodel.games import GameConfig
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, Metrics, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start


@dataclass(kw_only=True)
class Config:
    """See conf/inverse.yaml."""

    game: GameConfig
    probes: ProbesConfig
    data: str
    tokenizer: str
    episodes: int
    heldout: int
    rebuild_every: int
    inverse: InverseConfig
    optimizer: OptimizerConfig
    ema: float
    loop: LoopConfig
    run: RunConfig


def places(episode: Episode) -> np.ndarray:
    """(x, y) noted beside every step, (T, 2); nan where a game notes none."""
    lines = (episode.path / "actions.jsonl").read_text().splitlines()[: episode.num_steps]
    return np.asarray([place_in(json.loads(line)) for line in lines], np.float32)


def episodes_of(data: str, split: str, most: int) -> list[Episode]:
    """The first episodes of a split; ValueError if there are none."""
    paths = [path for path in list_episodes(data) if read_json(path / "meta.json")["split"] == split][:most]
    if not paths:
        raise ValueError(f"{data}: no {split} episodes. Make some with python -m train.collect.")
    return [load_episode(path) for path in paths]


def lesson(cfg: Config, episode: Episode, frames: np.ndarray) -> Lesson:
    """What one film of an episode teaches: windows are cut from it later."""
    space, actions, where = episode.meta.action_space, episode.action_vectors(), places(episode)
    inner = slice(BEFORE - 1, episode.num_steps - AFTER)  # action t led to frame t + 1
    truth = labels(actions, space, cfg.probes)[inner]
    mask = seen(actions, where, space, cfg.probes)[inner]
    grey = shrunk(frames, cfg.inverse.size_hw)
    return Lesson(grey, view_motion(grey), torch.from_numpy(truth).float(), torch.from_numpy(mask))


def told(inverse: Inverse, lessons: list[Lesson]) -> np.ndarray:
    """Counts (L, 3) of right, made up and missed labels over all lessons."""
    counts = []
    for one in lessons:
        odds = read_film(inverse, one.grey, one.motion)[0][None]
        counts.append(f1_counts(odds, one.truth[None].numpy(), one.mask[None].numpy()))
    return np.concatenate(counts).sum(0)


def by_label(counts: np.ndarray, names: list[str]) -> str:
    """F1, precision and recall of each label as text."""
    lines = []
    for name, (hit, false, missed) in zip(names, counts.astype(float), strict=True):
        precision, recall = hit / max(1, hit + false), hit / max(1, hit + missed)
        f1 = 2 * hit / max(1, 2 * hit + false + missed)
        lines.append(f"{name} {f1:.2f} (P {precision:.2f} R {recall:.2f})")
    return ", ".join(lines)


@stage("inverse")
def main(raw: DictConfig) -> None:
    """Learn, and say how well real and reconstructed held-out frames are read."""
    cfg = typed(Config, raw)
    run = start("inverse", cfg.run, plain(raw))
    tokenizer = load_tokenizer(cfg.tokenizer).to(run.device)

    def both(split: str, most: int) -> tuple[list[Lesson], list[Lesson]]:
        real, rebuilt = [], []
        for k, episode in enumerate(episodes_of(cfg.data, split, most)):
            frames = episode.frames()
            real.append(lesson(cfg, episode, frames))
            if k % cfg.rebuild_every == 0:
                rebuilt.append(lesson(cfg, episode, reconstruct_with(tokenizer, frames)))
        return real, rebuilt

    real, rebuilt = both("train", cfg.episodes)
    unseen, unseen_rebuilt = both("heldout", cfg.heldout)
    run.say(f"{len(real)} real and {len(rebuilt)} reconstructed episodes")
    inverse = Inverse(cfg.inverse, cfg.probes.label_names)
    inverse.scale.copy_(motion_scale(real))
    inverse.to(run.device)
    ema, optimizer = EMA(inverse, cfg.ema), Optimizer(inverse, cfg.optimizer)

    def update(step: int, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Metrics:
        frames, motion, truth, mask = (part.to(run.device) for part in batch)
        wrong = F.binary_cross_entropy_with_logits(inverse(frames, motion), truth, reduction="none")
        loss = (wrong * mask).sum() / mask.sum().clamp_min(1)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(inverse, step)
        return metrics

    def measure(step: int) -> None:
        own, rebuilt_too = (told(ema.model, lessons) for lessons in (unseen, unseen_rebuilt))
        f1, f1_rebuilt = (float(macro_f1(counts[None])[0]) for counts in (own, rebuilt_too))
        run.log(step, {"f1_real": f1, "f1_rebuilt": f1_rebuilt})
        run.say(f"step {step}: held-out macro F1 {f1:.3f}, reconstructed {f1_rebuilt:.3f}")
        run.say(by_label(own, inverse.names))
        save_judge(Path(cfg.run.dir) / "inverse.safetensors", ema.model)

    train(run, update, Lessons([*real, *rebuilt], cfg.run.seed),
          state={"model": inverse, "ema": ema, "optimizer": optimizer}, loop=cfg.loop, preview=measure)  # fmt: skip


if __name__ == "__main__":
    main()
