"""The bidirectional model: all frames of a clip denoised together, past and future in sight. DMD's real score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise, shift, velocity
from worldmodel.diffusion.rollout import euler
from worldmodel.model.dit import CausalDiT
from worldmodel.model.masks import Mask, Sight, SightKey, bidirectional

SHIFT = 1.5  # of noise levels, in training and in previews


def clip_velocity(model: CausalDiT, xt: Tensor, sigma: Tensor, actions: Tensor) -> Tensor:
    """v of all frames of a clip xt (B, T, C, h, w), each at its own sigma (B, T)."""
    mask = _mask(xt.shape[1], model.config.sight.key, xt.device)
    return model(xt, sigma, actions, mask)


@torch.no_grad()
def dream_clip(model: CausalDiT, actions: Tensor, sigmas: Sequence[float], noise: Callable[[int], Tensor]) -> Tensor:
    """x0 (B, T, C, h, w) of whole clips under actions (B, T, A), all frames at once and none given, in Euler steps.

    sigmas descend from 1; noise(t) -> eps (B, 1, C, h, w) of frame t.
    """
    x = eps = torch.cat([noise(t) for t in range(actions.shape[1])], 1)
    for now, lower in pairwise([torch.full(actions.shape[:2], s, device=x.device) for s in (*sigmas, 0.0)]):
        x = euler(x, clip_velocity(model, x, now, actions), now, lower, eps)
    return x


def bidirectional_loss(model: CausalDiT, latents: Tensor, actions: Tensor, *, given: tuple[int, int]) -> Tensor:
    """Flow-matching loss over the frames that are not given.

    given: the least and the most of them: that many first frames of each clip (B, T, C, h, w) are clean, at sigma 0,
    no target. The rest share one level in 7 clips of 10 and have their own in the others, U(0, 1) shifted by SHIFT.
    """
    b, t = latents.shape[:2]
    device = latents.device
    level = torch.rand(b, t, device=device)
    level = torch.where(torch.rand(b, 1, device=device) < 0.7, level[:, :1], level)
    least, most = given
    is_given = torch.arange(t, device=device) < torch.randint(least, most + 1, (b, 1), device=device)
    sigma = torch.where(is_given, 0.0, shift(level, SHIFT).clamp(0.02, 0.98))
    eps = torch.randn_like(latents)
    v = clip_velocity(model, add_noise(latents, eps, sigma), sigma, actions)
    error = (v - velocity(latents, eps)).square().mean((2, 3, 4))  # (B, T)
    return error[~is_given].mean()


@lru_cache(maxsize=16)
def _mask(frames: int, sight: SightKey, device: torch.device) -> Mask:
    with torch.inference_mode(False):  # kept for later passes, which may need gradients
        return bidirectional(frames, Sight.of(sight)).to(device)
