"""What fewer passes of the network a frame cost in quality: the same student dreams the same held-out clips on.

python -m train.passes game=doom_garden        a line for each way, pictures in out/passes/

A frame of N steps takes N passes and one that commits it, whose work play merges with the next frame's first pass. The
keys and values of the last step could stay instead (`from the last step`): N passes, but what is remembered is a frame
that still carries noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

import worldmodel
from train.cli import stage
from train.preview import Preview
from worldmodel.config import typed
from worldmodel.diffusion.rollout import KVCache, Sampler, Velocity, consistency, rollout
from worldmodel.games import GameConfig


@dataclass(kw_only=True)
class Config:
    """See conf/passes.yaml."""

    game: GameConfig
    world: str
    latents: str
    clips: int
    given: int
    frames: int
    out: str


def from_the_last_step(
    model: Velocity, cache: KVCache, actions: Tensor, sigmas: Sequence[float], noise: Any, sampler: Sampler
) -> Tensor:
    """As rollout, but a frame's past is what its last denoising step saw: xt at the lowest level, not x0."""
    seen = torch.empty(0)

    def keep(t: int, step: int, xt: Tensor) -> None:
        nonlocal seen
        seen = xt

    def commit(model: Velocity, cache: KVCache, x0: Tensor, action: Tensor) -> None:
        model(seen, torch.full(action.shape[:2], sigmas[-1], device=x0.device), action, cache)
        cache.advance()

    return rollout(model, cache, actions, sigmas, noise, sampler, keep, commit)


@stage("passes")
def main(raw: DictConfig) -> None:
    """Print a line for each number of steps that the world has, committed and not."""
    cfg = typed(Config, raw)
    world, out = worldmodel.load(cfg.world), Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    preview = Preview(
        cfg.latents, world.tokenizer, clips=cfg.clips, given=cfg.given, frames=cfg.frames, told=world.actions.told
    )
    sampler = partial(consistency, noise_scale=world.noise_scale)
    for steps, sigmas in sorted(world.sigmas.items(), reverse=True):
        for name, roll in (("committed", rollout), ("from the last step", from_the_last_step)):
            picture = out / f"{steps}-{name.replace(' ', '-')}.png"
            figures = preview.measure(world.model, sigmas, sampler, picture, roll)
            line = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
            print(f"levels {sigmas}, {name:<18}  {line}", flush=True)


if __name__ == "__main__":
    main()
