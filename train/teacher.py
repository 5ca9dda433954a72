"""Stage 5 of 9: the teacher learns the next latent frame from past frames and actions.

python -m train.teacher game=doom_garden model=small    reads data/.../latents, writes runs/doom_garden/teacher/
Run the same command again to continue where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import begin_with, check_heading, load_model, load_tokenizer
from train.preview import Preview
from worldmodel.config import plain, typed
from worldmodel.data.clips import Clip, ClipConfig, LatentClips, of_one_length, told_of
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.noise import NoiseConfig
from worldmodel.diffusion.rollout import euler
from worldmodel.diffusion.teacher import teacher_forcing_loss
from worldmodel.games import GameConfig
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start


@dataclass(kw_only=True)
class PreviewConfig:
    """clips dreamed on from `given` true frames for `frames`, in `steps` Euler steps."""

    clips: int
    given: int
    frames: int
    steps: int


@dataclass(kw_only=True)
class Config:
    """See conf/teacher.yaml."""

    game: GameConfig
    model: ModelConfig
    latents: str
    tokenizer: str
    init: str | None
    dreamer: str | None
    clips: ClipConfig
    compass: bool
    draws: int
    noise: NoiseConfig
    optimizer: OptimizerConfig
    ema: float
    preview: PreviewConfig
    loop: LoopConfig
    run: RunConfig


@stage("teacher")
def main(raw: DictConfig) -> None:
    """Train; previews dream held-out clips on with the averaged weights."""
    cfg = typed(Config, raw)
    check_heading(cfg.model, compass=cfg.compass)
    told = told_of(cfg.latents, compass=cfg.compass)
    clips = LatentClips(cfg.latents, cfg.clips, split="train", seed=cfg.run.seed, told=told)
    facts = {"latent_shape": list(clips.shape), "num_actions": clips.num_actions}
    run = start("teacher", cfg.run, plain(raw) | facts)

    teacher = CausalDiT(cfg.model, clips.shape, clips.num_actions)
    if cfg.init:
        begin_with(cfg.init, teacher)
    teacher.to(run.device)
    dreamer = load_model(cfg.dreamer).to(run.device).requires_grad_(False) if cfg.dreamer else None
    if dreamer and (dreamer.latent_shape, dreamer.num_actions) != (teacher.latent_shape, teacher.num_actions):
        theirs, ours = ((m.latent_shape, m.num_actions) for m in (dreamer, teacher))
        raise ValueError(
            f"dreamer={cfg.dreamer} has latents and numbers of an action {theirs}, this run {ours}: "
            "both need the same tokenizer and compass="
        )
    ema = EMA(teacher, cfg.ema)
    optimizer = Optimizer(teacher, cfg.optimizer)
    if cfg.run.compile:
        teacher.compile_blocks()
    preview = Preview(cfg.latents, load_tokenizer(cfg.tokenizer), clips=cfg.preview.clips, given=cfg.preview.given,
                      frames=cfg.preview.frames, told=told)  # fmt: skip
    unseen = LatentClips(cfg.latents, of_one_length(cfg.clips.frames), split="heldout", seed=1, told=told)
    true_past = replace(cfg.noise, own_chance=0.0)

    def loss_of(model: CausalDiT, batch: Clip, draws: int, noise: NoiseConfig) -> torch.Tensor:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        with torch.autocast(run.device.type, torch.bfloat16):
            return teacher_forcing_loss(model, latents, actions, noise, draws, dreamer)

    def update(step: int, batch: Clip) -> dict[str, Any]:
        metrics = optimizer.step(loss_of(teacher, batch, cfg.draws, cfg.noise), step, run.progress)
        ema.update(teacher, step)
        return metrics

    @torch.no_grad()
    def look(step: int) -> None:
        torch.manual_seed(1)
        batches = [unseen.batch(i, 8) for i in range(4)]
        losses = [loss_of(ema.model, batch, 1, true_past).item() for batch in batches]
        torch.manual_seed(1)
        mixed = [loss_of(ema.model, Clip(b.latents, b.actions[::-1].copy()), 1, true_past).item() for b in batches]
        sigmas = grid(cfg.preview.steps, 1.0)[:-1].tolist()
        figures = preview.measure(ema.model, sigmas, euler, run.dir / f"preview-{step:06d}.png")
        figures |= {"heldout": sum(losses) / 4, "heldout_wrong_actions": sum(mixed) / 4}
        run.log(step, figures)
        run.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    train(run, update, clips, state={"model": teacher, "ema": ema, "optimizer": optimizer}, loop=cfg.loop,
          preview=look)  # fmt: skip


if __name__ == "__main__":
    main()
