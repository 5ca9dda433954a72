"""Which network fits into a frame's time on one core: networks of growing size, by the written code.

    python -m worldmodel.bench.fits                 at 30 frames a second, two steps a frame
    python -m worldmodel.bench.fits fps=17.5 steps=1 frames=40 head=128

Frame size, actions and decoder are the default world's; weights are random, which changes no time. With
ATEN_CPU_CAPABILITY=avx2 it is a processor without AVX-512. Each size is built once: fifteen seconds of g++. The limit
is that of the bench: the products alone, not in eight bits. Widths that are not two heads or more are left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, see play.py
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import copy
import sys
import time
from dataclasses import replace

import numpy as np
import torch

import worldmodel
from worldmodel.backends import written
from worldmodel.backends.compiled import WRITTEN, Inputs, digest, example
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.int8 import has_int8
from worldmodel.backends.place import dtype_of, processor
from worldmodel.bench.__main__ import options
from worldmodel.bench.limit import limit, products
from worldmodel.bundle import World
from worldmodel.folders import cache_folder
from worldmodel.model.dit import CausalDiT, ModelConfig

DEFAULTS = {"fps": 30.0, "steps": 2, "frames": 30, "head": 64}
SIZES = ((192, 6), (256, 6), (256, 12), (384, 8), (384, 12), (512, 10), (512, 14), (640, 14))  # width, layers
PATIENCE = 2.0  # of a frame's time: what is slower ends the search


def sized(world: World, width: int, layers: int, head: int) -> ModelConfig:
    """As wide and deep as told, heads of a size, half of them temporal, else like the world's."""
    heads = width // head
    return replace(world.model.config, width=width, layers=layers, heads=heads, temporal_heads=heads // 2)


def sample(world: World, config: ModelConfig, dtype: torch.dtype, steps: int) -> tuple[WholeFrame, Inputs]:
    """Whole frames of a network with weights at random and the world's decoder, and what they take in steady play."""
    twin = copy.copy(world)
    model = CausalDiT(config, world.model.latent_shape, world.actions.told).requires_grad_(False).eval()
    twin.model, tokenizer = model.to(dtype), world.tokenizer.to(dtype)
    sigmas = np.linspace(1, 0, steps, endpoint=False).tolist()
    return WholeFrame(twin.model, tokenizer, sigmas, world.noise_scale), example(twin, dtype, steps)


def code_of(whole: WholeFrame, *, int8: bool) -> written.Written:
    """The written code of a frame, built where it is not there yet. RuntimeError where there is none."""
    dtype, steps = whole.model.place.dtype, len(whole.sigmas)
    sizes = written.sizes_of(whole.model, whole.tokenizer.config, steps, dtype, int8=int8)
    if not written.can_write(sizes):
        raise RuntimeError(sizes.problem or "no code for this machine")
    path = cache_folder() / f"fits-{digest([*sizes.definitions(), *written.vectors(), processor()], WRITTEN)}.so"
    if not path.exists():
        written.build(sizes, path)
    return written.Written(path, whole)


@torch.inference_mode()
def frame_ms(whole: WholeFrame, inputs: Inputs, frames: int, *, int8: bool) -> float:
    """Milliseconds of a frame on one thread, the median. RuntimeError where there is no such code."""
    code, taken = code_of(whole, int8=int8), []
    for _ in range(frames):
        begun = time.thread_time()
        code(*inputs)
        taken.append(1000 * (time.thread_time() - begun))
    return float(np.median(taken))


def limit_ms(whole: WholeFrame, inputs: Inputs) -> float:
    """Of its products alone, one by one."""
    return limit(products(whole, inputs))["products_ms"]


def main(words: list[str]) -> int:
    """From the command line to an exit code."""
    try:
        told = options(words, DEFAULTS)
        search(**told)
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def search(fps: float, steps: int, frames: int, head: int) -> None:
    """A line for each size as soon as it is known, then the largest that fits."""
    torch.set_num_threads(1)
    most_ms, dtype = 1000 / fps, dtype_of("auto", torch.device("cpu"))
    kinds = {str(dtype).removeprefix("torch."): False} | ({"int8": True} if has_int8() else {})
    largest = dict.fromkeys(kinds, "none")
    sys.stdout.write(f"{most_ms:.1f} ms a frame; {torch.backends.cpu.get_cpu_capability()}, one thread\n")
    world = worldmodel.load(worldmodel.default_world())
    for width, layers in (size for size in SIZES if size[0] % head == 0 and size[0] >= 2 * head):
        spent: dict[str, float] = {}
        whole, inputs = sample(world, sized(world, width, layers, head), dtype, steps)
        size = f"{width} x {layers} ({sum(p.numel() for p in whole.model.parameters()) / 1e6:.1f} M)"
        for kind, int8 in kinds.items():
            spent[kind] = frame_ms(whole, inputs, frames, int8=int8)
            largest[kind] = size if spent[kind] <= most_ms else largest[kind]
        bound, times = limit_ms(whole, inputs), "".join(f"{kind:>10} {ms:6.1f} ms" for kind, ms in spent.items())
        sys.stdout.write(f"{size:20}{times}   limit {bound:5.1f} ms\n")
        sys.stdout.flush()
        if min(spent.values()) > PATIENCE * most_ms:
            break
    sys.stdout.write("largest that fits: " + ", ".join(f"{kind} {size}" for kind, size in largest.items()) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
