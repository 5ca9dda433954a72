"""Time, memory and truth of rungs that take turns frame by frame, so that whatever else the machine does hits all.

warm       the first frames of every rung, and how far its latents are from the reference
in_turn    milliseconds of wall clock and of this thread, frame by frame
batches    a frame's share of a batch of dreams
busy       a neighbour that computes for ever
first_frame, peak_mb   how long from nothing to the first dreamed frame; how much memory
"""

from __future__ import annotations

import copy
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldmodel.batch import Dreams
from worldmodel.bench.rungs import Frames, Rung
from worldmodel.bundle import World

FIRST = """
import json, sys, time
stamps = {"begun": time.time()}
import worldmodel
from worldmodel import Action
world = worldmodel.load(sys.argv[1], sys.argv[2])
stamps["weights"] = time.time()
engine = worldmodel.Engine(world, threads=1)
engine.reset()
stamps["start"] = time.time()
engine.step(Action())
stamps["dreamed"] = time.time()
print(json.dumps(stamps))
"""


class Warm(NamedTuple):
    """A rung that has begun. errors: relative latent errors of the first and of the last frame of the reference, and of
    the last one where every frame before it was the reference's; empty for rungs of another function.
    """

    rung: Rung
    frames: Frames
    errors: list[float]


@torch.inference_mode()
def warm(rung: Rung, truth: Tensor, least: int) -> Warm:
    """Make as many frames as the reference (F, C, h, w) has, or `least` where nothing is compared."""
    frames = rung.play(None)
    if not rung.is_same:
        for _ in range(least):
            next(frames)
        return Warm(rung, frames, [])
    made, taught = ([next(one)[0, 0].clone() for _ in truth] for one in (frames, rung.play(truth)))
    errors = [relative(made[0], truth[0]), relative(made[-1], truth[-1]), relative(taught[-1], truth[-1])]
    return Warm(rung, frames, errors)


def relative(ours: Tensor, truth: Tensor) -> float:
    """Distance over length."""
    return float((ours.float() - truth).norm() / truth.norm())


@torch.inference_mode()
def in_turn(rungs: list[Warm], frames: int) -> np.ndarray:
    """Milliseconds (rungs, frames, 2): wall clock, and time of this thread."""
    taken = np.zeros((len(rungs), frames, 2))
    for i in range(frames):
        for j, one in enumerate(rungs):
            wall, own = time.perf_counter(), time.thread_time()
            next(one.frames)
            taken[j, i] = 1000 * (time.perf_counter() - wall), 1000 * (time.thread_time() - own)
    return taken


@torch.inference_mode()
def batches(
    world: World, sizes: list[int], dtype: str, steps: int, frames: int, backends: dict[str, str]
) -> dict[str, float]:
    """Milliseconds of this thread that one dream's frame takes in a batch of each size, the median. backends: of
    Dreams, and what is added to the size's name.
    """
    taken = {}
    for size, (backend, name) in itertools.product(sizes, backends.items()):
        dreams = Dreams(copy.deepcopy(world), size, "cpu", steps, dtype=dtype, backend=backend)
        dreams.reset([i % len(world.starts) for i in range(size)], list(range(size)))
        spent = []
        for _ in range(frames):
            begun = time.thread_time()
            dreams.step(np.zeros((size, world.actions.size), np.float32))
            spent.append(1000 * (time.thread_time() - begun) / size)
        taken[f"{size}{name}"] = float(np.median(spent))
    return taken


@contextmanager
def busy(neighbours: int) -> Iterator[None]:
    """So many processes that compute for ever beside us."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def first_frame(world: str, tier: str) -> dict[str, float]:
    """Seconds from the start of a process until the weights are there, the start is committed, a frame is dreamed."""
    begun = time.time()
    done = subprocess.run([sys.executable, "-c", FIRST, world, tier], capture_output=True, text=True, check=True)
    stamps = json.loads(done.stdout.splitlines()[-1])
    return {name: stamp - begun for name, stamp in stamps.items()}


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
