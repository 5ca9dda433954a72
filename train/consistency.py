"""Stage 6 of 9: the student learns to jump where the teacher walks (causal consistency distillation).

python -m train.consistency game=doom_garden    reads runs/doom_garden/teacher/, writes runs/doom_garden/consistency/
Run the same command again to continue where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import load_teacher, load_tokenizer, model_config, student_begun
from train.preview import Preview
from worldmodel.config import plain, typed
from worldmodel.data.clips import Clip, ClipConfig, LatentClips
from worldmodel.diffusion.consistency import ConsistencyConfig, consistency_loss
from worldmodel.diffusion.noise import NoiseConfig
from worldmodel.diffusion.rollout import consistency
from worldmodel.diffusion.teacher import own_past, split_clip
from worldmodel.games import GameConfig
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start


@dataclass(kw_only=True)
class StudentPreviewConfig:
    """clips dreamed on from `given` true frames for `frames`, through these noise levels."""

    clips: int
    given: int
    frames: int
    sigmas: list[float]


@dataclass(kw_only=True)
class Config:
    """See conf/consistency.yaml."""

    game: GameConfig
    latents: str
    tokenizer: str
    teacher: str
    student: str | None
    since: str | None
    clips: ClipConfig
    noise: NoiseConfig
    optimizer: OptimizerConfig
    ema: float
    consistency: ConsistencyConfig
    preview: StudentPreviewConfig
    loop: LoopConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if self.since and not self.student:
            raise ValueError("since=... is added to a student that began before its teacher: say student=... as well")


@stage("consistency")
def main(raw: DictConfig) -> None:
    """Distil; the slow copy is both the target and what is kept."""
    cfg = typed(Config, raw)
    known = model_config(cfg.teacher)
    told = known["num_actions"]
    clips = LatentClips(cfg.latents, cfg.clips, split="train", seed=cfg.run.seed, told=told)
    run = start("consistency", cfg.run, plain(raw) | known)

    teacher, student = load_teacher(cfg.teacher), student_begun(cfg.teacher, cfg.student, cfg.since)
    teacher.to(run.device).requires_grad_(False)
    student.to(run.device)
    slow = EMA(student, cfg.ema)
    optimizer = Optimizer(student, cfg.optimizer)
    if cfg.run.compile:
        for model in (teacher, student, slow.model):
            model.compile_blocks()
    preview = Preview(cfg.latents, load_tokenizer(cfg.tokenizer), clips=cfg.preview.clips, given=cfg.preview.given,
                      frames=cfg.preview.frames, told=told)  # fmt: skip

    def update(step: int, batch: Clip) -> dict[str, Any]:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        context, x0 = split_clip(latents, actions, cfg.noise)
        with torch.autocast(run.device.type, torch.bfloat16):
            context = own_past(slow.model, context, x0, cfg.noise)
            loss = consistency_loss(student, slow.model, teacher, context, x0, cfg.consistency)
        metrics = optimizer.step(loss, step, run.progress)
        slow.update(student, step)
        return metrics

    def look(step: int) -> None:
        figures = preview.measure(slow.model, cfg.preview.sigmas, consistency, run.dir / f"preview-{step:06d}.png")
        run.log(step, figures)
        run.say(f"step {step}: " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))

    train(run, update, clips, state={"model": student, "ema": slow, "optimizer": optimizer}, loop=cfg.loop,
          preview=look)  # fmt: skip


if __name__ == "__main__":
    main()
