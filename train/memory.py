"""Is what was seen still there after a look away? A line and a sheet for each angle, of the manifest's looks.

python -m train.memory world=doom_garden                      its student, as it is played
python -m train.memory world=doom_garden euler=8              the teacher that it carries
python -m train.memory run=runs/doom_garden/teacher euler=8 tokenizer=assets/worlds/doom_garden
python -m train.memory run=runs/doom_garden/consistency tokenizer=assets/worlds/doom_garden

A minute instead of train.evaluate's half hour: for choosing, not for reporting. The looks are those of its report and
are played and kept likewise. A sheet has a row a look: the last frame of the context, the
real frame farthest away and the dreamt one, the real return and the dreamt one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from train.cli import stage
from train.evaluate import Judged
from train.load import load_teacher
from train.reference import manifest_of, reality
from worldmodel import load
from worldmodel.compass import Compass
from worldmodel.config import typed
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.rollout import Sampler, consistency, euler
from worldmodel.evaluation.dreamer import Dreamer
from worldmodel.evaluation.protocol import looked
from worldmodel.evaluation.reference import Looks, first


@dataclass(kw_only=True)
class Config(Judged):
    """See conf/memory.yaml."""

    euler: int | None
    sigmas: list[float] | None
    noise_scale: float | None
    looks: int
    reference: str
    out: str
    half: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.looks < 2:
            raise ValueError(f"looks={self.looks} must be at least 2: one is told from the others")


def dreamer_of(cfg: Config) -> Dreamer:
    """The student at its levels, or the teacher in Euler steps; told no heading yet."""
    world = load(cfg.world, cfg.world_tier) if cfg.world else None
    model, tokenizer = cfg.student(world)
    sigmas, scale, resting = [1.0], 1.0, None
    if world:
        sigmas, scale, resting = world.sigmas[world.steps], world.noise_scale, world.rest_sigmas
    if cfg.sigmas:
        sigmas, resting = cfg.sigmas, None
    sampler: Sampler = partial(consistency, noise_scale=scale if cfg.noise_scale is None else cfg.noise_scale)
    if cfg.euler:
        model = load_teacher(str(cfg.world)) if world else model
        sigmas, sampler, resting = grid(cfg.euler, 1.0)[:-1].tolist(), euler, None
    dtype = torch.bfloat16 if cfg.half else torch.float32
    return Dreamer(
        model=model.to(dtype).eval(), tokenizer=tokenizer.to(dtype).eval(), batch=cfg.looks, sigmas=sigmas,
        rest_sigmas=resting, sampler=sampler,
    )  # fmt: skip


def sheet(part: Looks, shown: np.ndarray) -> np.ndarray:
    """uint8 (rows, columns, 3): a row a look."""
    away, home = (part.frames.shape[1] - 1) // 2, -1
    rows = [
        [context[-1], real[away], dreamt[away], real[home], dreamt[home]]
        for context, real, dreamt in zip(part.context, part.frames, shown, strict=True)
    ]
    return contact_sheet([frame for row in rows for frame in row], columns=len(rows[0]))


def line(angle: int, looks: int, figures: dict[str, Any]) -> str:
    """Memory of an angle, its interval, and how many looked away at all."""
    memory, away = figures["memory"], figures["away"]
    return (
        f"{angle} degrees and back in {figures['frames']} frames: memory {memory.value:.2f} "
        f"[{memory.low:.2f}, {memory.high:.2f}] of {looks} looks, {away.value:.2f} of them away"
    )


@stage("memory")
@torch.inference_mode()
def main(raw: DictConfig) -> None:
    """Print a line an angle: memory (evaluation/memory.py) with its interval, and who looked away at all."""
    cfg = typed(Config, raw)
    dreamer = dreamer_of(cfg)
    reference, space = reality(manifest_of(cfg.game, cfg.probes, cfg.tier), cfg.game, cfg.probes, Path(cfg.reference))
    if not reference.looks:
        raise ValueError(f"{cfg.game.name} has no looks: nobody turns there, or tier.looks={cfg.tier.looks}")
    dreamer.compass = Compass.of(space.known_to(dreamer.model.num_actions))
    name, out = Path(str(cfg.world or cfg.run)).name, Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    for angle, whole in reference.looks.items():
        part = first(whole, cfg.looks)
        figures, rows = looked(dreamer, part)
        print(line(angle, len(part.context), figures), flush=True)
        save_image(out / f"{name}-{angle}.png", sheet(part, rows["student"]))


if __name__ == "__main__":
    main()
