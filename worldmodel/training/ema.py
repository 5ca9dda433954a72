"""EMA: a slowly following copy of a module's weights, the one to keep.

Not here: when to update (the stage script) and where it is saved (checkpoint.py).
"""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class EMA(Generic[M]):
    """Exponential moving average of a module: theta_ema += (1 - decay) (theta - theta_ema), buffers copied.

    Updates with step < start_step copy the weights instead. From there on, with warm-up, the n-th update (from 0)
    uses min(decay, (1 + n) / (10 + n)); without it, n updates towards a constant theta give
    theta + decay^n (theta0 - theta). The copy keeps the module's dtype: keep the module in float32.
    """

    def __init__(self, model: M, decay: float, start_step: int = 0, *, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema.decay must be in [0, 1), got {decay}")
        if start_step < 0:
            raise ValueError(f"ema.start_step must be >= 0, got {start_step}")
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.start_step = start_step
        self.warmup = warmup
        self.num_updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow `model`, which has the structure of the one given at construction, after its step `step`."""
        ours, theirs = _tensors(self.model.parameters()), _tensors(model.parameters())
        if step < self.start_step:
            torch._foreach_copy_(ours, theirs)
        else:
            n = self.num_updates
            decay = min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay
            torch._foreach_lerp_(ours, theirs, 1 - decay)
            self.num_updates = n + 1
        for our_buffer, their_buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            our_buffer.copy_(their_buffer)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights under the module's own names, and `ema_updates`, the counter."""
        return {**self.model.state_dict(), "ema_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what state_dict gave."""
        weights = dict(state)
        self.num_updates = int(weights.pop("ema_updates"))
        self.model.load_state_dict(weights)


def _tensors(parameters: Any) -> list[Tensor]:
    return [parameter.detach() for parameter in parameters]
