"""Weights laid out once for oneDNN, which otherwise does it again at every call.

pack          a copy of a network or tokenizer whose products run on packed weights
PackedLinear, PackedConv   what its layers become

For inference on a CPU: gradients do not pass. A packed layer takes any number of rows; num_rows is what it is best at.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def can_pack(device: torch.device) -> bool:
    """Whether this build of torch packs weights for that device."""
    return device.type == "cpu" and torch.backends.mkldnn.is_available()


def pack(network: Network, num_rows: int) -> Network:
    """A copy of the network with all linear layers and plain convolutions packed; the rest shares its weights."""
    shared = {id(p): p for p in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, memo=cast(Any, shared))
    for parent in [*twin.modules()]:
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                setattr(parent, name, PackedLinear(layer, num_rows))
            elif type(layer) is nn.Conv2d:
                setattr(parent, name, PackedConv(layer))
    return twin


class PackedLinear(nn.Module):
    """x W^T + b."""

    def __init__(self, layer: nn.Linear, num_rows: int) -> None:
        super().__init__()
        self.out_features, self.bias = layer.out_features, layer.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), num_rows)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], ""))


class PackedConv(nn.Module):
    """A convolution of channels-last pictures, packed for each size of picture it meets.

    Packed without knowing the size it took 12 times as long as not packed (float32, AVX2, 128 channels).
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        assert isinstance(layer.padding, tuple)
        self.weight, self.bias = layer.weight.detach(), layer.bias
        self.shape = (list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups)
        self._packed: dict[torch.Size, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        if x.shape not in self._packed:
            size = list(x.shape)
            self._packed[x.shape] = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.shape, size)
        packed = self._packed[x.shape]
        return cast(Tensor, torch.ops.mkldnn._convolution_pointwise(x, packed, self.bias, *self.shape, "none", [], ""))
