"""Stage 4 of 9: full-attention diffusion model of whole clips, later the real score of dmd.

python -m train.bidirectional game=doom_garden  reads data/.../latents, writes runs/doom_garden/bidirectional/
Run the same command again to continue where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import begin_with
from worldmodel.config import plain, typed
from worldmodel.data.clips import Clip, ClipConfig, LatentClips, of_one_length, told_of
from worldmodel.diffusion.bidirectional import bidirectional_loss
from worldmodel.games import GameConfig
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start


@dataclass(kw_only=True)
class Config:
    """See conf/bidirectional.yaml."""

    game: GameConfig
    model: ModelConfig
    latents: str
    init: str | None
    clips: ClipConfig
    compass: bool
    given: tuple[int, int]
    optimizer: OptimizerConfig
    ema: float
    loop: LoopConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if not 0 <= self.given[0] <= self.given[1] < self.clips.frames:
            raise ValueError(f"given={list(self.given)} must be two numbers in order, from 0 to below clips.frames")


@stage("bidirectional")
def main(raw: DictConfig) -> None:
    """Train; previews are losses on held-out clips, with their own actions and with another clip's."""
    cfg = typed(Config, raw)
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

    def loss_of(network: CausalDiT, batch: Clip) -> torch.Tensor:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        with torch.autocast(run.device.type, torch.bfloat16):
            return bidirectional_loss(network, latents, actions, given=cfg.given)

    def update(step: int, batch: Clip) -> dict[str, Any]:
        metrics = optimizer.step(loss_of(model, batch), step, run.progress)
        ema.update(model, step)
        return metrics

    @torch.no_grad()
    def look(step: int) -> None:
        batches = [unseen.batch(i, 8) for i in range(4)]
        figures = {}
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
