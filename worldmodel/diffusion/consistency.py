"""Causal consistency distillation: the student learns to jump along the teacher's flow (Causal Forcing++ stage 2).

For a pair of neighbouring levels s > s' of a grid, the student's x0 at s must equal its slow copy's x0 at s', where
the teacher's own step from s has led (arXiv:2605.15141). Student, slow copy and teacher see the same true past.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise, expand, grid, x0_from_velocity
from worldmodel.diffusion.teacher import Context, forced_velocity
from worldmodel.model.dit import CausalDiT


@dataclass(kw_only=True)
class ConsistencyConfig:
    """levels: pairs in the grid; shift: of the grid; solver: euler or heun; first_share: share of the frames that are
    put at sigma 1, where play begins.
    """

    levels: int
    shift: float
    solver: str
    first_share: float

    def __post_init__(self) -> None:
        if self.solver not in ("euler", "heun"):
            raise ValueError(f"consistency.solver must be euler or heun, got {self.solver!r}")


def draw_pair(shape: tuple[int, int], config: ConsistencyConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Neighbouring levels (s, s') for each frame, float32; the pair that ends at 0 is among them."""
    levels = grid(config.levels, config.shift).to(device)
    k = torch.randint(0, config.levels, shape, device=device)
    k = torch.where(torch.rand(shape, device=device) < config.first_share, 0, k)
    return levels[k], levels[k + 1]


@torch.no_grad()
def teacher_step(
    teacher: CausalDiT, context: Context, xt: Tensor, sigma: Tensor, lower: Tensor, *, heun: bool
) -> Tensor:
    """Where the teacher's flow leads from sigma to lower.

    Heun's second slope is not taken at 0, where v is ill-posed.
    """
    v = forced_velocity(teacher, context, xt, sigma)
    end = xt + expand(lower - sigma, xt) * v
    if heun:
        slope = forced_velocity(teacher, context, end, lower)
        v = torch.where(expand(lower > 0, v), (v + slope) / 2, v)
        end = xt + expand(lower - sigma, xt) * v
    return end


def consistency_loss(
    student: CausalDiT, slow: CausalDiT, teacher: CausalDiT, context: Context, x0: Tensor, config: ConsistencyConfig
) -> Tensor:
    """Mean over frames 1..T of the root mean square between the two x0's; x0 (B, T, C, h, w) are the true frames.

    The root weighs frames alike: those with a surprise in them do not drown the rest.
    """
    sigma, lower = draw_pair((x0.shape[0], x0.shape[1]), config, x0.device)
    xt = add_noise(x0, torch.randn_like(x0), sigma)
    with torch.no_grad():
        end = teacher_step(teacher, context, xt, sigma, lower, heun=config.solver == "heun")
        goal = x0_from_velocity(end, forced_velocity(slow, context, end, lower), lower)  # end itself at lower = 0
    ours = x0_from_velocity(xt, forced_velocity(student, context, xt, sigma), sigma)
    return (ours - goal).square().mean((2, 3, 4)).add(1e-6).sqrt().mean()
