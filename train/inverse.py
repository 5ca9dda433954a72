"""The judge of control: an inverse-dynamics model learns to read actions off four frames, real and reconstructed.

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
    label_names,
    labels,
    macro_f1,
    save_inverse,
    seen,
    shrunk,
    windows,
)
from worldmodel.evaluation.manifest import ProbesConfig
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
    return Lesson(shrunk(frames, cfg.inverse.size_hw), torch.from_numpy(truth).float(), torch.from_numpy(mask))


@torch.no_grad()
def told(inverse: Inverse, lessons: list[Lesson], device: torch.device) -> np.ndarray:
    """F1 of every label and, last, their mean, over all lessons: (L + 1,)."""
    counts = []
    for one in lessons:
        odds = torch.cat([inverse(part.to(device)).sigmoid().cpu() for part in windows(one.grey).split(256)])
        counts.append(f1_counts(odds[None].numpy(), one.truth[None].numpy(), one.mask[None].numpy()))
    total = np.concatenate(counts).sum(0)  # (L, 3)
    return np.concatenate([macro_f1(total[:, None]), macro_f1(total[None])])


@stage("inverse")
def main(raw: DictConfig) -> None:
    """Learn, and say how well real and reconstructed held-out frames are read."""
    cfg = typed(Config, raw)
    run = start("inverse", cfg.run, plain(raw))
    tokenizer = load_tokenizer(cfg.tokenizer).to(run.device)

    def both(split: str, most: int, rebuild_every: int) -> tuple[list[Lesson], list[Lesson]]:
        real, rebuilt = [], []
        for k, episode in enumerate(episodes_of(cfg.data, split, most)):
            frames = episode.frames()
            real.append(lesson(cfg, episode, frames))
            if k % rebuild_every == 0:
                rebuilt.append(lesson(cfg, episode, reconstruct_with(tokenizer, frames)))
        return real, rebuilt

    real, rebuilt = both("train", cfg.episodes, 2)
    unseen, unseen_rebuilt = both("heldout", cfg.heldout, 1)
    run.say(f"{len(real)} real and {len(rebuilt)} reconstructed episodes")
    inverse = Inverse(cfg.inverse, label_names(cfg.probes)).to(run.device)
    ema, optimizer = EMA(inverse, cfg.ema), Optimizer(inverse, cfg.optimizer)

    def update(step: int, batch: tuple[Tensor, Tensor, Tensor]) -> Metrics:
        frames, truth, mask = (part.to(run.device) for part in batch)
        wrong = F.binary_cross_entropy_with_logits(inverse(frames), truth, reduction="none").mean(1)
        loss = (wrong * mask).sum() / mask.sum().clamp_min(1)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(inverse, step)
        return metrics

    def measure(step: int) -> None:
        f1, f1_rebuilt = (told(ema.model, lessons, run.device) for lessons in (unseen, unseen_rebuilt))
        run.log(step, {"f1_real": float(f1[-1]), "f1_rebuilt": float(f1_rebuilt[-1])})
        each = ", ".join(f"{name} {value:.2f}" for name, value in zip(inverse.names, f1, strict=False))
        run.say(f"step {step}: held-out macro F1 {f1[-1]:.3f} ({each}), reconstructed {f1_rebuilt[-1]:.3f}")
        save_inverse(Path(cfg.run.dir) / "inverse.safetensors", ema.model)

    train(run, update, Lessons([*real, *rebuilt], cfg.run.seed),
          state={"model": inverse, "ema": ema, "optimizer": optimizer}, loop=cfg.loop, preview=measure)  # fmt: skip


if __name__ == "__main__":
    main()
