"""Keys and values that grow by torch.cat and are cut at the window: the memory that most public engines have.

Grown   a memory and its commits; for the ladder only
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.model.dit import CausalDiT
from worldmodel.model.masks import View, age_rows, visible


class Grown:
    """The past of one world, batch 1."""

    def __init__(self, model: CausalDiT) -> None:
        self._model, self._sight = model, model.config.sight
        self._times: list[int] = []
        self._past: list[tuple[Tensor, Tensor] | None] = [None] * len(model.blocks)
        self._fresh: list[tuple[Tensor, Tensor]] = []

    def velocity(self, xt: Tensor, sigma: Tensor, action: Tensor, memory: Grown) -> Tensor:
        """v of the next frame; a Velocity, which keeps nothing."""
        self._fresh = []
        now = self._times[-1] + 1 if self._times else 0
        times = torch.tensor([*self._times, now])
        age = now - times[None]
        near = [0, *(a for a in self._sight.near if now - a >= 0)]
        self._view = View(age_rows(age, self._sight), torch.zeros(age.shape), torch.arange(len(near)), None)
        self._whole = torch.tensor([int((times == now - a).nonzero()[0]) for a in near])
        v: Tensor = self._model(xt, sigma, action, self)
        return v

    def recalling(self, told: Tensor) -> Grown:
        """Itself: it serves networks that recall nothing."""
        return self

    def layer(self, index: int) -> _Layer:
        """What one layer sees."""
        return _Layer(self._view, self._past[index], self._whole, self._fresh)

    def commit(self, x0: Tensor, action: Tensor) -> None:
        """Make x0 part of the past: one pass, whose keys and values are joined to those before."""
        self.velocity(x0, torch.zeros(1, 1), action, self)
        times = [*self._times, self._times[-1] + 1 if self._times else 0]
        seen = visible(times[-1] + 1 - torch.tensor(times), torch.tensor(times), self._sight)  # by the next frame
        chosen = seen.nonzero()[:, 0]
        self._past = [(k.index_select(1, chosen), v.index_select(1, chosen)) for k, v in self._fresh]
        self._times = [times[i] for i in chosen.tolist()]


class _Layer(NamedTuple):
    view: View
    past: tuple[Tensor, Tensor] | None
    whole: Tensor
    fresh: list[tuple[Tensor, Tensor]]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.past is not None:
            k, v = torch.cat([self.past[0], k], 1), torch.cat([self.past[1], v], 1)
        self.fresh.append((k, v))
        return k, v

    def near(self, frames: Tensor) -> Tensor:
        return frames.index_select(1, self.whole)[:, None]
