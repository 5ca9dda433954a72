"""Whether a clip could be recorded play, judged place by place on the fake score's own features.

Opponent       marks of places: above 0 for recorded play
heard          what a network's last layer makes of a question
marking_loss   what the opponent learns by
pull           where it would have a dream go

Matching scores alone leads far dreams to the likeliest picture; an opponent who sees recorded and dreamed clips tells a
picture that comes too often from one that is true (DMD2, arXiv:2405.14867 section 4.3). It reads the features and does
not shape them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.model.dit import CausalDiT, normalise


class Opponent(nn.Module):
    """Two layers over the features of each place by itself; width: that of the network whose features they are.

    size: how long its pull has been of late, 0 before the first; kept with the weights.
    """

    size: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width // 2), nn.SiLU(), nn.Linear(width // 2, 1))
        self.register_buffer("size", torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Features (B, T, N, D) -> marks (B, T, N)."""
        return self.layers(normalise(tokens)).squeeze(-1)  # type: ignore[no-any-return]


def heard(model: CausalDiT, ask: Callable[[], Tensor]) -> Tensor:
    """The last layer's features (B, F, N, D) of the frames that ask() gets a velocity (B, F, C, h, w) of model's of."""
    made: list[Tensor] = []
    listening = model.blocks[-1].register_forward_hook(lambda block, inputs, tokens: made.append(tokens))
    try:
        frames = ask().shape[1]
    finally:
        listening.remove()
    return made[-1][:, -frames:]


def marking_loss(opponent: Opponent, recorded: Tensor, dreamed: Tensor) -> Tensor:
    """-log of the chance it gives to what is so; features of both (B, F, N, D)."""
    return (F.softplus(-opponent(recorded)) + F.softplus(opponent(dreamed))).mean()


def pull(opponent: Opponent, tokens: Tensor, x: Tensor, gradient: Tensor, share: float) -> Tensor:
    """The gradient by x (B, F, ...) of -log of the chance that x is recorded play, as long as share of another one.

    tokens: features that were made from x. Lengths are those of whole clips, its own the mean over the last ten or so
    calls: a clip that could well be recorded is pulled less than one that could not.
    """
    (own,) = torch.autograd.grad(F.softplus(-opponent(tokens)).mean(), x)
    size, other = (g.flatten(1).norm(dim=1).mean() for g in (own, gradient))
    opponent.size.copy_(torch.lerp(opponent.size, size, 0.1) if opponent.size else size)
    return share * other / opponent.size.clamp_min(1e-12) * own
