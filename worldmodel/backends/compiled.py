"""Machine code of the whole frame: made once beside play, kept on disk, taken over between two frames.

Recipe       what the code depends on, and where it lies on the disk
recipe_for   the best there is: written by hand (written.py) where that fits, else made by torch's compiler
build        make code by torch's compiler: a minute or two of a core, and a C++ compiler
Compiled     such code as a function, called like WholeFrame
Candidate    code on its way: a quiet process builds it, a thread loads it and checks it against a frame of play

python -m worldmodel.backends.compiled WORLD TIER STEPS DTYPE THREADS plain|int8 builds in this process, at the lowest
priority.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worldmodel.backends import written
from worldmodel.backends.frame import WholeFrame, looks_at
from worldmodel.backends.native import Native
from worldmodel.backends.place import processor
from worldmodel.bundle import DEFAULT_TIER, World, read_bundle
from worldmodel.folders import cache_folder

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
SOURCES = ("backends/frame.py", "diffusion/flow.py", "diffusion/rollout.py", "model/*.py", "tokenizer/autoencoder.py")
WRITTEN = ("backends/cpp/*", "backends/written.py")
# Relative error of one frame's latent beyond which code is refused.
FAR = {"float32": 1e-3, "bfloat16": 5e-2, "int8": 5e-2}
POLL_S = 0.1
LIBRARY = (".so", ".dll", ".pyd")
Made = tuple[Tensor, ...]  # latent and picture
Frame = Callable[..., Made]  # called like WholeFrame.forward


class Inputs(NamedTuple):
    """What WholeFrame.forward takes."""

    keys: list[Tensor]
    values: list[Tensor]
    looks: list[list[Tensor]]
    x0: Tensor
    moves: Tensor
    noise: Tensor

    def copy(self) -> Inputs:
        """The same in other memory."""
        looks = [[u.clone() for u in look] for look in self.looks]
        keys, values = ([u.clone() for u in ring] for ring in (self.keys, self.values))
        return Inputs(keys, values, looks, self.x0.clone(), self.moves.clone(), self.noise.clone())


@dataclass(frozen=True)
class Recipe:
    """Whole frames of a world with so many steps, in a precision (float32, bfloat16), on so many threads. sizes: of
    code written by hand, which serves every world of these sizes; None: torch's compiler makes it for this world, in
    this tier.
    """

    world: Path
    sha256: str
    steps: int
    dtype: str
    threads: int
    sizes: written.Sizes | None = None
    tier: str = DEFAULT_TIER

    @property
    def is_int8(self) -> bool:
        """Whether products of the network's layers are in eight bits."""
        return self.sizes is not None and self.sizes.int8

    @property
    def path(self) -> Path:
        """Where the code lies: the name says of which world or sizes, sources, torch and processor it is."""
        if self.sizes:
            parts = [*self.sizes.definitions(), *written.vectors(), processor()]
            return cache_folder() / f"written-{digest(parts, WRITTEN)}.so"
        capability = torch.backends.cpu.get_cpu_capability()
        made_for = [self.sha256, self.tier, self.steps, self.dtype, self.threads, torch.__version__, capability]
        return cache_folder() / f"frame-{digest(made_for, SOURCES)}.so"


def recipe_for(world: World, steps: int, dtype: torch.dtype, threads: int, *, int8: bool = False) -> Recipe:
    """Of the best code for these frames on this machine. int8: with products in eight bits, if there is such code."""
    model, tokenizer = world.model, world.tokenizer.config
    sizes = [
        written.sizes_of(model, tokenizer, steps, dtype, int8=eight) for eight in ([True, False] if int8 else [False])
    ]
    name = str(dtype).removeprefix("torch.")
    best = next(filter(written.can_write, sizes), None)
    return Recipe(world.path, world.sha256, steps, name, threads, best, world.tier)


def digest(parts: list[Any], patterns: tuple[str, ...]) -> str:
    """A short name for values and for the text of our own files."""
    sources = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return hashlib.sha256("/".join(map(str, parts)).encode() + b"".join(p.read_bytes() for p in sources)).hexdigest()[
        :24
    ]


def example(world: World, dtype: torch.dtype, steps: int) -> Inputs:
    """Inputs of the right shapes, in steady play."""
    model = world.model
    cache = model.to(dtype).new_cache(1)
    cache.length = 2 * cache.slots
    latent = (1, 1, *model.latent_shape)
    moves, noise = torch.zeros(1, 2, model.num_actions), torch.zeros(steps, *latent)
    return Inputs(cache.keys, cache.values, looks_at(cache, moves), torch.zeros(latent), moves, noise)


@torch.no_grad()
def build(program: nn.Module, inputs: tuple[Any, ...], path: Path) -> None:
    """Compile a module for inputs of exactly these shapes into a file, whole or not at all.

    Weights become part of the code, packed for this processor. Raises whatever torch raises without a C++ compiler.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.pt2")
    exported = torch.export.export(program.eval(), inputs)
    options = {"freezing": True}
    torch._inductor.aoti_compile_and_package(exported, package_path=str(temporary), inductor_configs=options)
    with zipfile.ZipFile(temporary) as package:
        (library,) = (name for name in package.namelist() if name.endswith(LIBRARY))
        code = package.read(library)
    temporary.write_bytes(code)
    os.replace(temporary, path)


def build_world(world: World, recipe: Recipe) -> None:
    """Build what a recipe names."""
    if recipe.sizes:
        return written.build(recipe.sizes, recipe.path)
    torch.set_num_threads(recipe.threads)
    dtype = getattr(torch, recipe.dtype)
    inputs = example(world, dtype, recipe.steps)
    tokenizer = world.tokenizer.to(dtype)
    build(WholeFrame(world.model, tokenizer, world.sigmas[recipe.steps], world.noise_scale), inputs, recipe.path)


def load(recipe: Recipe, whole: WholeFrame) -> Frame:
    """The code that a recipe names, with the weights of `whole`. OSError or RuntimeError if it is not there."""
    return written.Written(recipe.path, whole) if recipe.sizes else Compiled(recipe.path)


class Compiled:
    """Code from the disk. Its inputs must have the strides it was built with: contiguous."""

    def __init__(self, path: Path) -> None:
        self._code = Native(path)

    def __call__(self, *inputs: Any) -> tuple[Tensor, ...]:
        """WholeFrame.forward, or what else was built."""
        return tuple(self._code(_flat(inputs)))


def _flat(inputs: Any) -> list[Tensor]:
    return [u for item in inputs for u in (_flat(item) if isinstance(item, list | tuple) else [item])]


class Candidate:
    """Code that is being built, loaded and checked while another plays.

    code: ready to take over, None until then; problem: why there will be none; wants_sample: offer() is awaited;
    pace_ms: of a frame, by the old code and by this.
    """

    def __init__(self, recipe: Recipe, whole: WholeFrame) -> None:
        """whole: what the code is to make, for its weights."""
        self.code: Frame | None = None
        self.problem: str | None = None
        self.wants_sample = False
        self.pace_ms = (0.0, 0.0)
        self._whole = whole
        self._recipe, self._samples = recipe, queue.SimpleQueue[tuple[Inputs, Tensor, float] | None]()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compile", daemon=True)
        self._thread.start()

    def offer(self, inputs: Inputs, latent: Tensor, frame_ms: float) -> None:
        """A frame of play: copies of its inputs before it was made, the latent that was made of them, and how long
        that took its thread.
        """
        self.wants_sample = False
        self._samples.put((inputs, latent, frame_ms))

    def close(self) -> None:
        """Stop building."""
        self._closed.set()
        self._samples.put(None)
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._recipe.threads)  # OpenMP counts anew in every thread
        try:
            build_beside(self._recipe, self._closed)
            code = load(self._recipe, self._whole)
            self.wants_sample = True
            sample = self._samples.get()
            if sample is None:
                return
            inputs, latent, old_ms = sample
            error = difference(code, inputs, latent)
            if error > FAR["int8" if self._recipe.is_int8 else self._recipe.dtype]:
                raise RuntimeError(f"its first frame is off by {error:.2g}")
            if isinstance(code, written.Written):
                written.choose_threads(code, inputs, self._recipe.threads)
            new_ms = pace(code, inputs)
            if new_ms > old_ms:
                raise RuntimeError(f"it is no faster: {new_ms:.1f} ms a frame instead of {old_ms:.1f}")
            self.pace_ms, self.code = (old_ms, new_ms), code
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            self.problem = " ".join(str(error).split())[:200]


@torch.inference_mode()
def difference(code: Frame, inputs: Inputs, latent: Tensor) -> float:
    """Relative error of the latent that code makes of the inputs; writes into their rings."""
    ours = code(*inputs)[0]
    return float((ours - latent).norm() / latent.norm())


@torch.inference_mode()
def pace(code: Frame, inputs: Inputs) -> float:
    """Milliseconds of this thread that a frame takes, the least of five; writes into the inputs' rings."""
    taken = []
    for _ in range(5):
        begun = time.thread_time()
        code(*inputs)
        taken.append(1000 * (time.thread_time() - begun))
    return min(taken)


def build_beside(recipe: Recipe, stop: threading.Event) -> None:
    """Build in a process of its own, unless it lies there already. RuntimeError if that fails or is stopped."""
    if recipe.path.exists():
        return
    recipe.path.parent.mkdir(parents=True, exist_ok=True)
    kind = "int8" if recipe.is_int8 else "plain"
    arguments = [str(recipe.world), recipe.tier, str(recipe.steps), recipe.dtype, str(recipe.threads), kind]
    command = [sys.executable, "-m", "worldmodel.backends.compiled", *arguments]
    note = recipe.path.with_suffix(".log")
    with note.open("w") as lines:
        paths = os.pathsep.join([str(ROOT.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=lines, stderr=lines, env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,
        )  # fmt: skip
    while process.poll() is None:
        if stop.wait(POLL_S):
            _end(process)
            raise RuntimeError("stopped")
    if process.returncode or not recipe.path.exists():
        raise RuntimeError(f"building failed, see {note}; it needs a C++ compiler such as g++")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a building process and the compilers it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, 15)
    else:
        process.terminate()
    process.wait()


def main(arguments: list[str]) -> None:
    """Build for WORLD TIER STEPS DTYPE THREADS KIND."""
    folder, tier, steps, dtype, threads, kind = arguments
    if hasattr(os, "nice"):
        os.nice(19)
    world = read_bundle(folder, tier)
    build_world(world, recipe_for(world, int(steps), getattr(torch, dtype), int(threads), int8=kind == "int8"))


if __name__ == "__main__":
    main(sys.argv[1:])
