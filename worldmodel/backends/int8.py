"""Products in eight bits: where they are worth it, and what they are, in torch.

wants_int8     whether frames are to be made so, by what the player wishes
has_int8       whether this processor multiplies bytes
Int8Linear     a linear layer in the arithmetic of cpp/bytes.h, for tests and the evaluation; not faster than another
in_int8        a copy of a network with the layers that the written code makes so

A row of inputs and a column of weights each become whole levels, from -127 to 127, of a scale that is the largest
magnitude over 127: dynamic quantisation by row, as LLM.int8() without outliers (arXiv:2208.07339, section 2.1).
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.backends.place import processor
from worldmodel.model.dit import Block, CausalDiT

FINEST = 127
LAYERS = ("qkv", "out", "expand", "contract")


def wants_int8(backend: str, dtype: torch.dtype, *, accepted: bool) -> bool:
    """Asked for, or left to us (auto) where products would be in float32 otherwise and the world's evaluation accepted
    eight bits (World.int8).
    """
    return backend == "int8" or (backend == "auto" and accepted and dtype == torch.float32 and has_int8())


def has_int8() -> bool:
    """The VNNI instructions of AVX-512 or of AVX2."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return ("avx512_vnni" if wide else "avx_vnni") in processor().split()


class Int8Linear(nn.Module):
    """x W^T + b of levels."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(_levels(layer.weight.detach()), requires_grad=False), layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(_levels(x), self.weight, self.bias)


def _levels(x: Tensor) -> Tensor:
    """Each row (..., N) rounded to whole levels of its scale, in its own precision."""
    wide = x.float()
    scale = wide.abs().amax(-1, keepdim=True).clamp_min(1e-30) / FINEST
    return ((wide / scale).round() * scale).to(x.dtype)


def in_int8(model: CausalDiT) -> CausalDiT:
    """All other weights are shared."""
    twin = copy.deepcopy(model, memo={id(u): u for u in (*model.parameters(), *model.buffers())})
    for block in twin.blocks:
        assert isinstance(block, Block)
        for name in LAYERS:
            setattr(block, name, Int8Linear(getattr(block, name)))
    return twin
