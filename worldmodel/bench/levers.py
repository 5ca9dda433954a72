"""What a value of the architecture costs in time: the default world's network with one value changed, all in turn.

    python -m worldmodel.bench.levers                          a whole frame of two steps, 100 of each
    python -m worldmodel.bench.levers steps=1 frames=300 world=racer

Packed eager code and the written code on one thread, weights at random, which changes no time. Values that the written
code does not know say so. What a value costs in quality is a training's to tell (docs/results.md).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, see play.py
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

import worldmodel
from worldmodel.backends.packed import pack
from worldmodel.backends.place import dtype_of
from worldmodel.bench.__main__ import options
from worldmodel.bench.fits import code_of, sample
from worldmodel.model.dit import ModelConfig

DEFAULTS = {"world": worldmodel.default_world(), "frames": 100, "steps": 2}
WARM = 10  # frames that are not counted
LEVERS: dict[str, dict[str, Any]] = {  # over model.*
    "as it is": {},
    "heads of 128": {"heads": 2, "temporal_heads": 1},
    "temporal heads in every second layer": {"temporal_every": 2},
    "temporal heads in every third layer": {"temporal_every": 3},
    "swiglu": {"activation": "swiglu"},
    "gelu": {"activation": "gelu"},
}


def possible(base: ModelConfig) -> dict[str, ModelConfig]:
    """The levers that a network of this kind can have."""
    found = {}
    for name, values in LEVERS.items():
        try:
            found[name] = replace(base, **values)
        except ValueError:
            continue
    return found


@torch.inference_mode()
def compare(name: str, frames: int, steps: int) -> None:
    """A line for each value: its weights, and a frame's median milliseconds by each code."""
    torch.set_num_threads(1)
    world, dtype = worldmodel.load(name), dtype_of("auto", torch.device("cpu"))
    codes: dict[tuple[str, str], Callable[[], object]] = {}
    weights = {}
    for lever, config in possible(world.model.config).items():
        whole, inputs = sample(world, config, dtype, steps)
        weights[lever] = sum(p.numel() for p in whole.model.parameters()) / 1e6
        for param in whole.model.parameters():
            param.normal_(0, 0.02)  # zeros in new layers are no weights to time
        packed = pack(whole, steps * whole.model.place.shape[0])
        codes[lever, "packed eager"] = partial(packed, *inputs)
        try:
            written = code_of(whole, int8=False)
        except RuntimeError:
            continue
        codes[lever, "written"] = partial(written, *inputs)
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in codes}
    for _ in range(WARM + frames):
        for key, frame in codes.items():
            begun = time.thread_time()
            frame()
            taken[key].append(1000 * (time.thread_time() - begun))
    sys.stdout.write(f"{'':38}{'packed eager':>14}{'written':>12}   {str(dtype).removeprefix('torch.')}\n")
    for lever, millions in weights.items():
        times = [taken.get((lever, kind)) for kind in ("packed eager", "written")]
        told = [f"{np.median(one[WARM:]):.1f} ms" if one else "not written" for one in times]
        sys.stdout.write(f"{f'{lever} ({millions:.1f} M)':46}{told[0]:>6}{told[1]:>12}\n")


def main(words: list[str]) -> int:
    """From the command line to an exit code."""
    try:
        told = options(words, DEFAULTS)
        compare(told["world"], told["frames"], told["steps"])
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
