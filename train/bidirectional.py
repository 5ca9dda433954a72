"""Stage 4 of 9: full-attention diffusion model of whole clips, later the real score of dmd.

python -m train.bidirectional game=doom_garden  reads data/.../latents, writes runs/doom_garden/bidirectional/
Run the same command again to continue where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from train.cli import stage
from train.load import begin_with, check_heading, load_tokenizer
from train.preview import Preview
from worldmodel.config import plain, typed
from worldmodel.data.clips import Clip, ClipConfig, LatentClips, of_one_length, told_of
from worldmodel.diffusion.bidirectional import SHIFT, bidirectional_loss, dream_clip
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.rollout import euler
from worldmodel.games import GameConfig
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start

FrameNoise = Callable[[int, int], Tensor]


@dataclass(kw_only=True)
class ClipPreviewConfig:
    """clips dreamed whole, of frames each, with nothing given, in `steps` Euler steps."""

    clips: int
    frames: int
    steps: int


@dataclass(kw_only=True)
class Config:
    """See conf/bidirectional.yaml."""

    game: GameConfig
    model: ModelConfig
    latents: str
    tokenizer: str
    init: str | None
    clips: ClipConfig
    compass: bool
    given: tuple[int, int]
    optimizer: OptimizerConfig
    ema: float
    preview: ClipPreviewConfig
    loop: LoopConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if not 0 <= self.given[0] <= self.given[1] < self.clips.frames:
            raise ValueError(f"given={list(self.given)} must be two numbers in order, from 0 to below clips.frames")


@stage("bidirectional")
def main(raw: DictConfig) -> None:
    """Train; previews are clips dreamed whole, and losses on held-out clips, with their own and another's actions."""
    cfg = typed(Config, raw)
    check_heading(cfg.model, compass=cfg.compass)
    told = told_of(cfg.latents, compass=cfg.compass)
    clips = LatentClips(cfg.latents, cfg.clips, split="train", seed=cfg.run.seed, told=told)
    unseen = LatentClips(cfg.latents, of_one_length(cfg.clips.frames), split="heldout", seed=1, told=told)
    facts = {"latent_shape": list(clips.shape), "num_actions": clips.num_actions}
    run = start("bidirectional", cfg.run, plain(raw) | facts)

    model = CausalDiT(cfg.model, clips.shape, clips.num_actions)
    if cfg.init:
        begin_with(cfg.init, model)
    model.to(run.device)
    ema = EMA(model, cfg.ema)
    optimizer = Optimizer(model, cfg.optimizer)
    if cfg.run.compile:
        model.compile_blocks()

    preview = Preview(cfg.latents, load_tokenizer(cfg.tokenizer), clips=cfg.preview.clips, given=0,
                      frames=cfg.preview.frames, told=told)  # fmt: skip

    def loss_of(network: CausalDiT, batch: Clip) -> torch.Tensor:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        with torch.autocast(run.device.type, torch.bfloat16):
            return bidirectional_loss(network, latents, actions, given=cfg.given)

    def update(step: int, batch: Clip) -> dict[str, Any]:
        metrics = optimizer.step(loss_of(model, batch), step, run.progress)
        ema.update(model, step)
        return metrics

    def whole(
        network: CausalDiT, _: object, actions: Tensor, sigmas: list[float], noise: FrameNoise, __: object
    ) -> Tensor:
        return dream_clip(network, actions, sigmas, lambda t: noise(t, 0))

    @torch.no_grad()
    def look(step: int) -> None:
        sigmas = grid(cfg.preview.steps, SHIFT)[:-1].tolist()
        figures = preview.measure(ema.model, sigmas, euler, run.dir / f"preview-{step:06d}.png", whole)
        figures = {name: value for name, value in figures.items() if not name.startswith("psnr")}  # nothing was given
        batches = [unseen.batch(i, 8) for i in range(4)]
        for name, order in (("heldout", 1), ("heldout_wrong_actions", -1)):
            torch.manual_seed(1)
            figures[name] = (
                sum(loss_of(ema.model, Clip(b.latents, b.actions[::order].copy())).item() for b in batches) / 4
            )
        run.log(step, figures)
        run.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    train(run, update, clips, state={"model": model, "ema": ema, "optimizer": optimizer}, loop=cfg.loop,
          preview=look)  # fmt: skip


if __name__ == "__main__":
    main()
