"""Which noise: levels drawn in training, and play's noise as a function of (seed, frame, denoising step).

NoiseConfig, draw_sigma    training levels, logit-normal
ContextNoise, disturb      a little noise on the clean context
frame_noise                reproducible noise of a running world
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise


@dataclass(kw_only=True)
class NoiseConfig:
    """How training disturbs frames.

    mean, std: of logit(sigma), mean > 0 favours noise (logit-normal, arXiv:2403.03206 section 3.1);
    context_chance, context_most: a clean context frame gets noise of sigma ~ U(0, context_most) with that chance,
    so that a running world forgives its own errors. Its level is told to the network.
    own_chance: in that share of the clips the past is, from some frame on, the network's own work (teacher.own_past);
    own_errors: times its errors, uniform between the two for each clip: 1 as they are, -1 mirrored (blur: too sharp);
    own_depth: it is made in 1 to so many passes, each over the past that the last one left, so that errors add up as
    over so many frames of play; own_level: of the noise that its frames are made from, 1 as in play; None: training's.
    """

    mean: float
    std: float
    context_chance: float
    context_most: float
    own_chance: float = 0.0
    own_errors: list[float] = field(default_factory=lambda: [1.0, 1.0])
    own_depth: int = 1
    own_level: float | None = None

    def __post_init__(self) -> None:
        chances = (self.context_chance, self.own_chance)
        if self.std <= 0 or not all(0 <= chance <= 1 for chance in chances) or not 0 <= self.context_most < 1:
            raise ValueError(f"noise: std must be > 0, chances in [0, 1], most in [0, 1), got {self}")
        if len(self.own_errors) != 2 or self.own_errors[0] > self.own_errors[1]:
            raise ValueError(f"noise.own_errors must be [least, most], got {self.own_errors}")
        if self.own_depth < 1 or not (self.own_level is None or 0 < self.own_level <= 1):
            raise ValueError(f"noise: own_depth must be at least 1 and own_level null or in (0, 1], got {self}")


def draw_sigma(shape: tuple[int, ...], config: NoiseConfig, device: torch.device) -> Tensor:
    """Noise levels in (0, 1), float32."""
    return torch.sigmoid(config.mean + config.std * torch.randn(shape, device=device))


def disturb(x0: Tensor, config: NoiseConfig) -> tuple[Tensor, Tensor]:
    """Context latents (B, T, C, h, w) with a little fresh noise, and its levels (B, T)."""
    b, t = x0.shape[:2]
    sigma = config.context_most * torch.rand(b, t, device=x0.device)
    sigma = sigma * (torch.rand(b, t, device=x0.device) < config.context_chance)
    return add_noise(x0, torch.randn_like(x0), sigma), sigma


def frame_noise(seed: int, frame: int, step: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, a function of its arguments alone; float32 on the CPU."""
    digest = hashlib.blake2b(f"{seed}/{frame}/{step}".encode(), digest_size=8).digest()
    return torch.randn(shape, generator=torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1))
