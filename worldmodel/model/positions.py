"""Where and when a token is: rotary positions inside a frame, sinusoids for the noise level, features of actions.

Time between frames has no absolute position anywhere: it is the age of a key frame, see masks.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def axial_rotation(height: int, width: int, dim: int, base: float = 100.0) -> Tensor:
    """Cosines and sines (2, N, dim / 2) of the rotary positions of N = height * width places.

    Half of the angles turn with the row, half with the column. RoPE, arXiv:2104.09864 eq. 34, once an axis.
    """
    if dim % 4:
        raise ValueError(f"head size must be a multiple of 4 for axial positions, got {dim}")
    speeds = base ** (-torch.arange(dim // 4) / (dim // 4))  # (dim / 4,)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = torch.cat([rows.reshape(-1, 1) * speeds, columns.reshape(-1, 1) * speeds], -1)
    return torch.stack([angles.cos(), angles.sin()])


def panned_rotation(height: int, width: int, dim: int, heading: Tensor, degrees: float, base: float = 100.0) -> Tensor:
    """The same (2, ..., N, dim / 2) for pictures that look towards headings (...) in radians, to the right, and are
    `degrees` wide: a column is a direction in the world. Its faster angles turn a whole number of times in a full
    turn, so that two frames are as far apart as their headings; the slower ones stay with the picture.
    """
    half = math.radians(degrees) / 2
    speeds = base ** (-torch.arange(dim // 4, device=heading.device) / (dim // 4))
    a_radian = width / (2 * half)  # places
    turns = (speeds * a_radian).round()
    across = torch.where(turns > 0, turns / a_radian, speeds)
    column = (torch.arange(width, device=heading.device) - (width - 1) / 2) / (width / 2)
    place = torch.atan(column * math.tan(half)) * a_radian
    rows = torch.arange(height, device=heading.device).repeat_interleave(width)[:, None] * speeds
    columns = place.repeat(height)[:, None] * across + heading.float()[..., None, None] * turns  # (..., N, dim / 4)
    angles = torch.cat([rows.expand(columns.shape), columns], -1)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the pairs (x[i], x[i + dim / 2]) of x (..., N, heads, dim) by cosines and sines (2, ..., N, dim / 2)."""
    cos, sin = rotation.unsqueeze(-2).to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def sigma_features(sigma: Tensor, dim: int) -> Tensor:
    """Sinusoids (..., dim) of noise levels in [0, 1], always computed in float32: bf16 cannot tell levels apart."""
    speeds = torch.exp(-math.log(1000.0) * torch.arange(dim // 2, device=sigma.device) / (dim // 2))
    angles = 1000.0 * sigma.float()[..., None] * speeds
    return torch.cat([angles.cos(), angles.sin()], -1)


def action_features(actions: Tensor) -> Tensor:
    """(..., A) in [-1, 1] -> (..., 6 A): itself, its signed root and two octaves of sinusoids.

    The root spreads small mouse motions, which are the most frequent; the sinusoids tell large ones apart.
    """
    a = actions.float()
    waves = [f(math.pi * octave * a) for octave in (1, 3) for f in (torch.sin, torch.cos)]
    return torch.cat([a, a.sign() * a.abs().sqrt(), *waves], -1)
