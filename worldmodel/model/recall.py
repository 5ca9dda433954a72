"""Which remembered frame looked the same way: the one that spatial heads see whole besides the near ones.

Poses    of frames: heading, and how much has happened before them
poses    of frames in a row, from what a network is told of their actions (compass.py)
offers   what a query frame can choose from
recalled the choice

A frame that turns away and back sees the same place again, some twenty frames later. Attention through time finds the
same place of the picture, not of the world; here the frame is found by its heading instead, which turns that are never
blocked tell exactly (retrieval by pose: WorldMem, arXiv:2504.12369).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STALE = 0.5  # degrees of heading that a frame's worth of doing something costs: who walks on looks at what is new
OLDER = 1e-3  # degrees that a frame of age gains: of frames that are alike, the oldest has the fewest errors
NEVER = 1e9


class Poses(NamedTuple):
    """heading (B, K) in degrees; moved (B, K): of the frames up to it, how many were no rest; from any beginning."""

    heading: Tensor
    moved: Tensor


def poses(told: Tensor) -> Poses:
    """Of frames whose actions were told as (B, K, A + 2); moved is of each frame alone, 0 or 1, and not yet summed."""
    heading = torch.rad2deg(torch.atan2(told[..., -2].float(), told[..., -1].float()))
    return Poses(heading, (told[..., :-2] != 0).any(-1).float())


def offers(age: Tensor, allowed: Tensor, least: int) -> Tensor:
    """Degrees (Q, K) that choosing a key frame costs beside heading and stir; NEVER where it cannot be chosen.

    age (Q, K); allowed (Q, K) bool. Frames of the age `least` and more; where there are none, the older ones there are.
    """
    past = allowed & (age >= 1)
    old = past & (age >= least)
    there = torch.where(old.any(1, keepdim=True), old, past)
    return torch.where(there, -OLDER * age, NEVER)


def recalled(offer: Tensor, asking: Poses, held: Poses) -> Tensor:
    """Key frame (B, Q) int64 that each of the asking frames (B, Q) recalls of the held ones (B, K)."""
    turn = (asking.heading[..., None] - held.heading[:, None] + 180) % 360 - 180
    stir = asking.moved[..., None] - held.moved[:, None]
    return (offer + turn.abs() + STALE * stir).argmin(-1)
