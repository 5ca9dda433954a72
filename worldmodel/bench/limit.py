"""The machine's limit for a whole frame: its matrix products and convolutions alone, each at its own shape.

environment  what machine, torch and settings this is
Product      one linear layer or convolution of a frame, and how often it runs
products     all of a frame
limit        what they take one by one on packed weights, and what their bytes would take
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worldmodel.backends.compiled import Inputs
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.packed import PackedConv, PackedLinear, can_pack

REPEATS = 60
STREAM_MB = 64


class Product(NamedTuple):
    """times: how often in a frame; flop: of one; num_bytes: its weights."""

    layer: nn.Module
    shape: tuple[int, ...]
    times: int
    flop: float
    num_bytes: int


def environment(threads: int) -> dict[str, Any]:
    """Machine, versions and settings, as far as they decide speed."""
    names = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": names[0].split(":", 1)[1].strip() if names else platform.processor(), "cores": os.cpu_count(),
        "isa": torch.backends.cpu.get_cpu_capability(), "bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(), "torch": torch.__version__, "python": platform.python_version(),
        "threads": threads, "load": load, "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
    }  # fmt: skip


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@torch.inference_mode()
def products(whole: WholeFrame, inputs: Inputs) -> list[Product]:
    """The linear layers and convolutions of one frame."""
    seen: Counter[tuple[nn.Module, tuple[int, ...]]] = Counter()
    kinds = (nn.Linear, nn.Conv2d)
    hooks = [
        layer.register_forward_hook(lambda layer, given, _: seen.update([(layer, tuple(given[0].shape))]))
        for layer in whole.modules()
        if isinstance(layer, kinds)
    ]
    whole(*inputs)
    for hook in hooks:
        hook.remove()
    return [_product(layer, shape, count) for (layer, shape), count in seen.items()]


def _product(layer: nn.Module, shape: tuple[int, ...], count: int) -> Product:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    places = torch.Size(shape[:-1]).numel() if isinstance(layer, nn.Linear) else shape[0] * shape[2] * shape[3]
    return Product(layer, shape, count, 2.0 * places * weight.numel(), weight.numel() * weight.element_size())


@torch.inference_mode()
def limit(found: list[Product]) -> dict[str, float]:
    """Milliseconds of a frame: linear layers, convolutions, both (the limit by arithmetic), and the weights' bytes at
    the speed of memory; with GFLOP, GFLOP/s and GB/s.
    """
    spent = {"linear_ms": 0.0, "conv_ms": 0.0}
    for one in found:
        spent["linear_ms" if isinstance(one.layer, nn.Linear) else "conv_ms"] += one.times * _alone(one)
    both, gflop = sum(spent.values()), sum(one.times * one.flop for one in found) / 1e9
    stream = torch.zeros(STREAM_MB * 2**18)
    speed = STREAM_MB / 1000 / (_best(lambda: stream.sum(), 10) / 1000) * 1.048576  # GB/s
    weights = sum(one.num_bytes for one in found) / 1e9
    return {**spent, "products_ms": both, "gflop": gflop, "gflop_per_s": 1000 * gflop / both,
            "stream_gb_per_s": speed, "bytes_ms": 1000 * weights / speed}  # fmt: skip


def _alone(one: Product) -> float:
    """Milliseconds of one product on packed weights."""
    layer, x = one.layer, torch.randn(one.shape, dtype=next(one.layer.parameters()).dtype)
    if isinstance(layer, nn.Conv2d):
        x = x.to(memory_format=torch.channels_last)
    if can_pack(x.device):
        rows = torch.Size(one.shape[:-1]).numel()
        layer = PackedLinear(layer, rows) if isinstance(layer, nn.Linear) else PackedConv(layer)  # type: ignore[arg-type]
    return _best(lambda: layer(x), REPEATS)


def _best(work: Callable[[], object], repeats: int) -> float:
    """The 25th percentile, in milliseconds of this thread: what others do beside does not count."""
    taken = []
    for _ in range(repeats):
        begun = time.thread_time()
        work()
        taken.append(time.thread_time() - begun)
    return 1000 * sorted(taken)[len(taken) // 4]
