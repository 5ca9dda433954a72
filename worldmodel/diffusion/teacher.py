"""Teacher forcing: the next frame is denoised with the true past in sight (Causal Forcing stage 1)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise, velocity
from worldmodel.diffusion.noise import NoiseConfig, disturb, draw_sigma
from worldmodel.model.dit import CausalDiT
from worldmodel.model.masks import Mask, Sight, SightKey, teacher_forcing


class Context(NamedTuple):
    """The clean half of a teacher-forced pass: frames 0..T-1 and all that is needed to predict frames 1..T.

    latents (B, T, C, h, w) with noise of level sigma (B, T); actions (B, T + 1, A), actions[:, i] led to frame i.
    """

    latents: Tensor
    sigma: Tensor
    actions: Tensor


def forced_velocity(model: CausalDiT, context: Context, xt: Tensor, sigma: Tensor) -> Tensor:
    """v of the noisy frames 1..T, all in one pass with the clean half.

    xt (B, R T, C, h, w), sigma (B, R T): R independent noise draws one after another.
    """
    frames = context.latents.shape[1]
    draws = xt.shape[1] // frames
    mask = forcing_mask(frames, draws, model.config.sight.key, xt.device)
    v = model(
        torch.cat([context.latents, xt], 1),
        torch.cat([context.sigma, sigma], 1),
        torch.cat([context.actions[:, :-1], *[context.actions[:, 1:]] * draws], 1),
        mask,
    )
    return v[:, frames:]


def teacher_forcing_loss(
    model: CausalDiT, latents: Tensor, actions: Tensor, config: NoiseConfig, draws: int = 1
) -> Tensor:
    """Flow-matching loss mean ||v - (eps - x0)||^2 over frames 1..T of clips (B, T + 1, C, h, w).

    Each frame of each draw has its own noise level; frame 0 is given and never a target.
    """
    context, target = split_clip(latents, actions, config)
    x0 = target.repeat(1, draws, 1, 1, 1)
    eps = torch.randn_like(x0)
    sigma = draw_sigma((x0.shape[0], x0.shape[1]), config, x0.device)
    v = forced_velocity(model, context, add_noise(x0, eps, sigma), sigma)
    return (v - velocity(x0, eps)).square().mean()


def split_clip(latents: Tensor, actions: Tensor, config: NoiseConfig | None) -> tuple[Context, Tensor]:
    """A clip (B, T + 1, ...) as clean half (disturbed, if a config says how) and targets, frames 1..T."""
    clean, target = latents[:, :-1], latents[:, 1:]
    sigma = torch.zeros(clean.shape[:2], device=clean.device)
    if config is not None:
        clean, sigma = disturb(clean, config)
    return Context(clean, sigma, actions), target


@lru_cache(maxsize=16)
def forcing_mask(frames: int, draws: int, sight: SightKey, device: torch.device) -> Mask:
    """The teacher-forcing mask of clean frames 0..T-1 and noisy frames 1..T."""
    with torch.inference_mode(False):  # kept for later passes, which may need gradients
        return teacher_forcing(range(frames), range(1, frames + 1), Sight.of(sight), draws=draws).to(device)
