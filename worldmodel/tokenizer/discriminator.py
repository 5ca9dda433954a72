"""Whether a picture could be the game's, judged place by place: the opponent of a tokenizer's decoder.

DiscriminatorConfig   how much it counts, and how it learns
Discriminator         scores of places; its loss, and the decoder's

A patch discriminator (arXiv:1611.07004) with hinge losses and spectral norm (arXiv:1802.05957). Terms that compare
statistics pay for any regular pattern that has them; to this one a pattern that the game has not gives a picture away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(kw_only=True)
class DiscriminatorConfig:
    """weight of its judgement in the decoder's loss, 0: there is none; width: channels at half resolution; lr and
    betas of its AdamW.
    """

    weight: float
    width: int
    lr: float
    betas: list[float]

    def __post_init__(self) -> None:
        if self.weight < 0 or self.width < 1 or self.lr <= 0:
            raise ValueError(f"discriminator: weight must be >= 0, width >= 1 and lr > 0, got {self}")


class Discriminator(nn.Module):
    """Floats (N, 3, H, W) in [-1, 1] -> scores (N, 1, h, w): each of 26 pixels, four apart."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        width = config.width
        sizes = [(3, width, 4, 2), (width, 2 * width, 4, 2), (2 * width, 2 * width, 3, 1), (2 * width, 1, 3, 1)]
        convs = [spectral_norm(nn.Conv2d(a, b, kernel, stride, padding=1)) for a, b, kernel, stride in sizes]
        self.layers = nn.Sequential(*[part for conv in convs for part in (nn.LeakyReLU(0.2), conv)][1:])

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores: above 0 for the game's pictures."""
        return self.layers(pixels)  # type: ignore[no-any-return]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What it learns by: scores of target at least 1, of output at most -1."""
        return F.relu(1 - self(target)).mean() + F.relu(1 + self(output.detach())).mean()

    def verdict(self, output: Tensor) -> Tensor:
        """What the decoder adds to its loss, lower where places pass for the game's. Leaves no gradient here."""
        self.requires_grad_(False)
        score = self(output)
        self.requires_grad_(True)
        return -score.mean()
