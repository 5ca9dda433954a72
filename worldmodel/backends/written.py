"""The whole frame written by hand, in C++ (cpp/): no compiler of networks, built in seconds, no allocation in play.

Sizes      what the code is made for
can_write  whether there is such code for them here
build      make it: some seconds of g++ or clang++
Written    the code with one world's weights, called like WholeFrame
choose_threads   one, or as many as may be, by a short trial

Faster than torch's compiler because nothing lies between two products: no call of a library, no memory taken and given
back, no tensor written only to be read again. It knows batches of one on x86 processors, and sizes that fill its
vectors; other networks are left to compiled.py. Any number of threads makes the same bytes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.int8 import has_int8
from worldmodel.model.cache import num_slots
from worldmodel.model.dit import Block, CausalDiT
from worldmodel.tokenizer.autoencoder import TokenizerConfig

SOURCE = Path(__file__).parent / "cpp"
COMPILERS = ("g++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden",
    "-shared", "-fPIC", "-pthread",
)  # fmt: skip
MOST_THREADS = 16  # of the code (crew.h)
TRIAL = 7  # frames of choose_threads, of which the fastest counts
BETTER = 0.9  # of the time on one thread: what more threads must stay below
LANES = 16  # floats of the widest vectors that the code knows


@dataclass(frozen=True)
class Sizes:
    """Names as in the code, where they are written large. bfloat16: whether products are, or in float32; int8: whether
    those of the network's layers are in eight bits instead (int8.py). relu2, temporal_every: of ModelConfig.
    """

    places_h: int
    places_w: int
    channels: int
    width: int
    layers: int
    heads: int
    temporal: int
    mlp: int
    slots: int
    near: int
    num_ages: int
    num_near: int
    actions: int
    steps: int
    patch: int
    wide: int
    middle: int
    narrow: int
    bfloat16: bool
    int8: bool
    relu2: bool
    temporal_every: int

    @property
    def problem(self) -> str | None:
        """Why there is no such code, or None."""
        full = {
            "the latent's channels": self.channels, "the width": self.width,
            "half a head": self.width // self.heads // 2,
            "the decoder's wide layers": self.wide, "its middle layers": self.middle, "its narrow layers": self.narrow,
        }  # fmt: skip
        odd = [f"{name} {size}" for name, size in full.items() if size % LANES or not size]
        if not self.relu2 or self.temporal_every != 1:
            return "an activation other than relu2, or layers without temporal heads"
        return f"not a multiple of {LANES}: {', '.join(odd)}" if odd else None

    def definitions(self) -> list[str]:
        """As options of a compiler."""
        return [f"-D{field.name.upper()}={int(getattr(self, field.name))}" for field in fields(self)]


def sizes_of(model: CausalDiT, tokenizer: TokenizerConfig, steps: int, dtype: torch.dtype, *, int8: bool) -> Sizes:
    """Of whole frames in so many steps."""
    config, (channels, height, width) = model.config, model.latent_shape
    wide, middle, narrow = tokenizer.widths
    return Sizes(
        places_h=height, places_w=width, channels=channels, width=config.width, layers=config.layers,
        heads=config.heads, temporal=config.temporal_heads, mlp=config.mlp, slots=num_slots(config.sight),
        near=config.sight.num_whole, num_ages=config.sight.num_ages, num_near=config.sight.num_near,
        actions=model.num_actions, steps=steps, patch=tokenizer.patch, wide=wide, middle=middle, narrow=narrow,
        bfloat16=dtype == torch.bfloat16, int8=int8, relu2=config.activation == "relu2",
        temporal_every=config.temporal_every,
    )  # fmt: skip


def can_write(sizes: Sizes) -> bool:
    """Whether there is code of these sizes for this machine, and a compiler for it."""
    is_known = platform.machine() in ("x86_64", "AMD64") and sys.platform != "win32"
    capable = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return is_known and capable and (has_int8() or not sizes.int8) and sizes.problem is None and compiler() is not None


def compiler() -> str | None:
    """CXX, or the first C++ compiler there is."""
    return shutil.which(os.environ.get("CXX", "")) or next(filter(None, map(shutil.which, COMPILERS)), None)


def vectors() -> list[str]:
    """Options for a processor that torch was told to take for a plainer one (ATEN_CPU_CAPABILITY=avx2)."""
    return ["-mno-avx512f"] if torch.backends.cpu.get_cpu_capability() == "AVX2" else []


def build(sizes: Sizes, path: Path) -> None:
    """Compile into a file, whole or not at all. RuntimeError if that cannot be."""
    command = compiler()
    if command is None:
        raise RuntimeError("no C++ compiler such as g++")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.so")
    words = [command, *OPTIONS, *vectors(), *sizes.definitions(), str(SOURCE / "frame.cpp"), "-o", str(temporary)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{Path(command).name} failed: {done.stderr[-500:]}")
    os.replace(temporary, path)


class Written:
    """Code from the disk, with a world's weights, on one thread to begin with. Its inputs must be contiguous; rings in
    the code's precision.
    """

    def __init__(self, path: Path, whole: WholeFrame) -> None:
        """Raises OSError if there is no such library, RuntimeError if it is for other sizes."""
        library = ctypes.CDLL(str(path))
        arrays = weights(whole)
        pointers = (ctypes.c_void_p * len(arrays))(*[u.data_ptr() for u in arrays])
        lengths = (ctypes.c_int64 * len(arrays))(*[u.numel() for u in arrays])
        library.frame_new.restype = ctypes.c_void_p
        self._frame = ctypes.c_void_p(library.frame_new(pointers, lengths, len(arrays)))
        if not self._frame:
            raise RuntimeError(f"{path} is code for other sizes, or memory is short")
        self._run, self._free = library.frame_run, library.frame_free
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        self._run.restype, self._free.restype = None, None
        self._hire, self._threads = library.frame_threads, 1
        self._model = whole.model
        self._fixed: Tensor | None = None  # rotary positions that do not turn with the view
        self._latent = (1, 1, *whole.model.latent_shape)
        self._picture = (1, *whole.tokenizer.config.size_hw, 3)

    @property
    def threads(self) -> int:
        """Threads that make a frame; may be set between two. Fewer where the machine or the code gives no more."""
        return self._threads

    @threads.setter
    def threads(self, number: int) -> None:
        self._threads = self._hire(self._frame, number)

    def __call__(
        self, keys: list[Tensor], values: list[Tensor], looks: list[list[Tensor]],
        x0: Tensor, moves: Tensor, noise: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """WholeFrame.forward. The interpreter's lock is free meanwhile."""
        given = [*keys, *values, *looks[0], *looks[1], x0, moves, noise, self._rotation(moves)]
        pointers = (ctypes.c_void_p * len(given))(*[u.data_ptr() for u in given])
        latent, picture = torch.empty(self._latent), torch.empty(self._picture, dtype=torch.uint8)
        self._run(self._frame, pointers, latent.data_ptr(), picture.data_ptr())
        return latent, picture

    def _rotation(self, moves: Tensor) -> Tensor:
        """(2, 2, N, d / 2): cosines and sines of both frames' places."""
        if self._fixed is not None:
            return self._fixed
        rotation = self._model.turned(moves).float()
        if self._model.config.pan:
            return rotation[:, 0].contiguous()
        self._fixed = rotation[:, None].expand(-1, 2, -1, -1).contiguous()
        return self._fixed

    def __del__(self) -> None:
        if getattr(self, "_frame", None):
            self._free(self._frame)


def choose_threads(code: Written, inputs: Sequence[Any], most: int) -> None:
    """Give it `most` threads where they make frames clearly sooner than one; writes into the inputs' rings."""
    if most == 1:
        return
    alone_s = _least_s(code, inputs)
    code.threads = most
    if _least_s(code, inputs) > BETTER * alone_s:
        code.threads = 1


def _least_s(code: Written, inputs: Sequence[Any]) -> float:
    taken = []
    for _ in range(TRIAL):
        begun = time.perf_counter()
        code(*inputs)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def weights(whole: WholeFrame) -> list[Tensor]:
    """All parameters as contiguous float32, in the order in which the code reads them."""
    model, tokenizer = whole.model, whole.tokenizer
    given: list[Any] = [torch.tensor(whole.sigmas), torch.tensor([whole.noise_scale]), whole.levels]
    given += [*_layer(model.action[0]), *_layer(model.action[2]), *_layer(whole.modulation), *_layer(model.embed)]
    given += [model.place]
    for block in model.blocks:
        assert isinstance(block, Block)
        for layer in (block.qkv, block.out, block.expand, block.contract):
            given += _layer(layer)
        given += [block.ages, block.nearness]
    given += [*_layer(model.head), tokenizer.scale, tokenizer.mean]
    back = tokenizer.linear_decode
    assert back.bias is not None
    given += [back.weight.flatten(1).T, (tokenizer.pixel_mean + back.bias.view(3, 1, 1)).flatten()]
    for part in tokenizer.decoder.modules():
        given += _layer(part) if isinstance(part, nn.Conv2d) else []
    return [u.detach().float().contiguous() for u in given]


def _layer(layer: Any) -> list[Tensor]:
    """Weight and bias; an empty tensor stands for no bias."""
    return [layer.weight, torch.empty(0) if layer.bias is None else layer.bias]
