"""What fewer passes of the network a frame cost in quality: the same student dreams the same held-out clips on.

python -m train.passes game=doom_garden        a line for each way, pictures in out/passes/

A frame of N steps takes N passes and one that commits it, whose work play merges with the next frame's first pass. The
keys and values of the last step could stay instead (`from the last step`): N passes, but what is remembered is a frame
that still carries noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

import worldmodel
from train.cli import stage
from train.preview import Preview
from worldmodel.config import typed
from worldmodel.diffusion.rollout import KVCache, Sampler, Velocity, consistency, denoise_block, rollout
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


@torch.no_grad()
def from_the_last_step(
    model: Velocity,
    cache: KVCache,
    actions: Tensor,
    sigmas: Sequence[float],
    noise: Callable[[int, int], Tensor],
    sampler: Sampler = consistency,
) -> Tensor:
    """As rollout, but a frame's past is what its last denoising step saw: xt at the lowest level, not x0."""
    frames = []
    for t in range(actions.shape[1]):
        action, seen = actions[:, t : t + 1], [torch.empty(0)]

        def keep(step: int, xt: Tensor, seen: list[Tensor] = seen) -> None:
            seen[0] = xt

        frames.append(denoise_block(model, cache, action, sigmas, partial(noise, t), sampler, keep))
        model(seen[0], torch.full(action.shape[:2], sigmas[-1], device=actions.device), action, cache)
        cache.advance()
    return torch.cat(frames, 1)


@stage("passes")
def main(raw: DictConfig) -> None:
    """Print a line for each number of steps that the world has, committed and not."""
    cfg = typed(Config, raw)
    world, out = worldmodel.load(cfg.world), Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    preview = Preview(cfg.latents, world.tokenizer, clips=cfg.clips, given=cfg.given, frames=cfg.frames)
    sampler = partial(consistency, noise_scale=world.noise_scale)
    for steps, sigmas in sorted(world.sigmas.items(), reverse=True):
        for name, roll in (("committed", rollout), ("from the last step", from_the_last_step)):
            picture = out / f"{steps}-{name.replace(' ', '-')}.png"
            figures = preview.measure(world.model, sigmas, sampler, picture, roll)
            line = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
            print(f"levels {sigmas}, {name:<18}  {line}", flush=True)


if __name__ == "__main__":
    main()
