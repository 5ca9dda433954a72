"""Teacher forcing: the next frame is denoised with the true past in sight (Causal Forcing stage 1)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise, expand, velocity, x0_from_velocity
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


def forced_velocity(model: CausalDiT, context: Context, xt: Tensor, sigma: Tensor, *, first: int = 1) -> Tensor:
    """v of the noisy frames first..T, all in one pass with the clean half.

    xt (B, R n, C, h, w), sigma (B, R n): R independent noise draws of these n = T + 1 - first frames, one after
    another.
    """
    frames = context.latents.shape[1]
    draws = xt.shape[1] // (frames + 1 - first)
    mask = forcing_mask(frames, draws, model.config.sight.key, xt.device, first=first)
    v = model(
        torch.cat([context.latents, xt], 1),
        torch.cat([context.sigma, sigma], 1),
        torch.cat([context.actions[:, :-1], *[context.actions[:, first:]] * draws], 1),
        mask,
    )
    return v[:, frames:]


def teacher_forcing_loss(
    model: CausalDiT,
    latents: Tensor,
    actions: Tensor,
    config: NoiseConfig,
    draws: int = 1,
    dreamer: CausalDiT | None = None,
) -> Tensor:
    """Flow-matching loss mean ||v - (eps - x0)||^2 over frames 1..T of clips (B, T + 1, C, h, w).

    Each frame of each draw has its own noise level; frame 0 is given and never a target. dreamer: makes the own past;
    None: the model itself.
    """
    context, target = split_clip(latents, actions, config)
    context = own_past(dreamer or model, context, target, config)
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


@torch.no_grad()
def own_past(model: CausalDiT, context: Context, target: Tensor, config: NoiseConfig) -> Context:
    """The past as a running world has it, in config.own_chance of the clips: true, and from some frame on the model's.

    An own frame is the x0 that the model sees in the true frame under noise of a training level (or of own_level), with
    the past in sight that the pass before has left, at first the true one; target (B, T, C, h, w) are frames 1..T. What
    is learnt from it still leads to the true next frame, so the model learns to mend its own errors (error recycling,
    arXiv:2510.09212). From noise alone, after n passes the first n own frames are those of play, one after another.
    """
    b, t = context.sigma.shape
    device = context.sigma.device
    first = 1 + torch.randint(0, t, (b, 1), device=device)  # t: none of the past
    own = (torch.arange(t, device=device) >= first) & (torch.rand(b, 1, device=device) < config.own_chance)
    if config.own_chance == 0 or not own.any():
        return context
    sigma = draw_sigma((b, t), config, device)
    if config.own_level is not None:
        sigma = torch.full_like(sigma, config.own_level)
    xt = add_noise(target, torch.randn_like(target), sigma)
    least, most = config.own_errors
    times = expand(least + (most - least) * torch.rand(b, 1, device=device), target)

    def dreamed(past: Context, times: Tensor | float) -> Context:
        x0 = x0_from_velocity(xt, forced_velocity(model, past, xt, sigma), sigma)
        frames = torch.cat([context.latents[:, :1], (target + times * (x0 - target))[:, :-1]], 1)
        return context._replace(
            latents=torch.where(expand(own, frames), frames, context.latents), sigma=context.sigma.masked_fill(own, 0.0)
        )

    past = context
    for _ in range(int(torch.randint(config.own_depth, ()))):
        past = dreamed(past, 1.0)
    return dreamed(past, times)


@lru_cache(maxsize=16)
def forcing_mask(frames: int, draws: int, sight: SightKey, device: torch.device, *, first: int = 1) -> Mask:
    """The teacher-forcing mask of clean frames 0..T-1 and noisy frames first..T."""
    with torch.inference_mode(False):  # kept for later passes, which may need gradients
        return teacher_forcing(range(frames), range(first, frames + 1), Sight.of(sight), draws=draws).to(device)
