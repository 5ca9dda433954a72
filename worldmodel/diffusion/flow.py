"""Rectified flow between latents and noise; sigma = 0 is clean, sigma = 1 is pure noise, everywhere.

add_noise, velocity, x0_from_velocity   the interpolant and its two readings
shift, grid                             warped noise levels

Noise levels are float32 and carried as they are, never looked up in a table.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expand(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma (B, T) with ones appended until it broadcasts against `like` (B, T, C, h, w)."""
    return sigma.reshape(*sigma.shape, *(1,) * (like.ndim - sigma.ndim))


def add_noise(x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    """Mix latents with noise: xt = (1 - sigma) x0 + sigma eps.

    x0, eps (B, T, C, h, w); sigma (B, T) in [0, 1]. Rectified flow, arXiv:2209.03003 eq. 1, whose t is 1 - sigma.
    """
    s = expand(sigma, x0)
    return (1 - s) * x0 + s * eps


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """v = d xt / d sigma = eps - x0."""
    return eps - x0


def x0_from_velocity(xt: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
    """x0 = xt - sigma v; the identity at sigma 0, which is the boundary condition of consistency models."""
    return xt - expand(sigma, xt) * v


def shift(sigma: Tensor, factor: float) -> Tensor:
    """factor sigma / (1 + (factor - 1) sigma): a factor over 1 spends more levels on strong noise."""
    return factor * sigma / (1 + (factor - 1) * sigma)


def grid(steps: int, factor: float) -> Tensor:
    """Noise levels (steps + 1,) from 1 to 0, shifted."""
    return shift(torch.linspace(1, 0, steps + 1), factor)
