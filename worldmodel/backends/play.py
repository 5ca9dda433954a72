"""Which code makes the frames of a running world, and when another takes over.

Frames   one world's frames by number of steps, by the fastest code there is
Timed    a tokenizer that takes its time

    eager      packed weights: there at once, everywhere
    compiled   machine code of the whole frame, waited for the first time: ten seconds of a core where it is written
               by hand, a minute or two where torch's compiler makes it
    int8       compiled, by hand only, with products of the network's layers in eight bits: for processors with VNNI
    auto       eager until the machine code is ready and has made one frame of play alike, then that: int8 where
               products would be in float32 otherwise and the world allows it
    (on a GPU: eager is launched kernel by kernel; auto is one CUDA graph, compiled or int8 one of fused kernels)
    compiled:2 compiled for frames of 2 steps (or of 1,2), eager for others: what a recording says it was made by;
               likewise int8:2
    eager@3    on 3 threads of a CPU: sums are cut between threads, so their number is a part of the code

Code changes only between two frames and only while may_change: frames by different code are equal up to rounding, so
what must be repeatable to the byte is made by one. While frames take longer than budget_s, other numbers of threads
are tried (threads.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from worldmodel.backends.compiled import Candidate, Frame, Inputs, Made, Recipe, build_beside, example, load, recipe_for
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.graph import Graphed
from worldmodel.backends.int8 import wants_int8
from worldmodel.backends.packed import can_pack, pack
from worldmodel.backends.place import cores
from worldmodel.backends.threads import Tuner, ladder
from worldmodel.backends.written import MOST_THREADS, Written, choose_threads
from worldmodel.bundle import World, WorldError

log = logging.getLogger(__name__)
BACKENDS = ("auto", "eager", "compiled", "int8")
NAMED_THREADS = 256  # at most in a wish: recordings are read from strangers
PATIENCE = 150  # frames of play before building begins: a short visit costs nobody a minute of a core


class Timed(nn.Module):
    """A tokenizer whose decode notes how many seconds it took: true where code runs when it is called, as on a CPU."""

    def __init__(self, tokenizer: nn.Module) -> None:
        super().__init__()
        self.tokenizer, self.seconds = tokenizer, 0.0

    def decode(self, latents: Tensor) -> Tensor:
        """The tokenizer's."""
        begun = time.perf_counter()
        frames = cast(Any, self.tokenizer).decode(latents)
        self.seconds = time.perf_counter() - begun
        return cast(Tensor, frames)


class Frames:
    """Makes whole frames. may_change: asked before other code takes over; changed: told so in a line when it has, in
    an empty one when it was for a trial.

    budget_s: seconds that a frame may take before other numbers of threads are tried; 0: they are tried anyway; None:
    never. decode_s: seconds that decoding the last frame took; None where whole frames are one piece of code, or on a
    GPU.
    """

    def __init__(self, world: World, device: torch.device, dtype: torch.dtype, wish: str, steps: int) -> None:
        """wish: one of BACKENDS, or compiled:STEPS or int8:STEPS, with or without @THREADS. steps: those to begin with,
        and at rest the world's.

        Raises WorldError if the wish is none of these, or if compiled code is wished and cannot be had.
        """
        name, at, threads = wish.partition("@")
        kind, _, numbers = name.partition(":")
        is_number = threads.isdecimal() and 1 <= int(threads) <= NAMED_THREADS
        is_known = kind in BACKENDS and (not numbers or (kind in BACKENDS[2:] and numbers.replace(",", "").isdigit()))
        if not is_known or (at and not is_number):
            raise WorldError(f"backend={wish} is unknown; it is one of {', '.join(BACKENDS)}")
        self.may_change: Callable[[], bool] = lambda: True
        self.changed: Callable[[str], object] = lambda name: None
        self.budget_s: float | None = None
        self.decode_s: float | None = None
        if at:
            torch.set_num_threads(int(threads))
        self._threads = torch.get_num_threads() if device.type == "cpu" else 0
        self._tuners: dict[int | None, Tuner] = {}  # by steps of code written by hand; None: of all other
        self._world, self._device, self._dtype = world, device, dtype
        self._eager: dict[int, WholeFrame] = {}
        self._compiled: dict[int, Frame] = {}
        self._candidates: dict[int, Candidate] = {}
        self._int8 = device.type == "cpu" and wants_int8(kind, dtype, accepted=world.int8)
        if self._int8 and not self._recipe(steps).is_int8:
            if kind == "int8":
                raise WorldError(
                    f"backend=int8: no code is written for {world.name} on this machine. Use backend=auto."
                )
            self._int8 = False
        kind = "compiled" if kind == "int8" else kind
        self._wish = kind if device.type == "cpu" else "eager"
        can_graph = device.type == "cuda" and not world.model.config.sight.recall
        self._graph_wish = kind if can_graph and kind != "eager" else ""
        self._graphs: dict[int, Graphed] = {}
        self._wished = {int(n) for n in numbers.split(",") if n} or set(world.sigmas)
        self._waiting: dict[int, int] = {}  # frames until building begins, by steps
        if self._wish == "compiled":
            for needed in sorted({steps, max(steps, world.rest_steps)} & self._wished):
                self._wait_for(needed)

    @property
    def backend(self) -> str:
        """What makes the frames now, as a wish: eager, or compiled with the numbers of steps it is there for, and on
        how many threads.
        """
        if self._graph_wish or not self._threads:
            return self._graph_wish or "eager"
        code = "int8" if self._int8 else "compiled"
        name = f"{code}:{','.join(map(str, sorted(self._compiled)))}" if self._compiled else "eager"
        return f"{name}@{self._threads}"

    @property
    def status(self) -> str | None:
        """What goes on beside play, in a few words; None if nothing does."""
        is_building = any(c.code is None and c.problem is None for c in [*self._candidates.values()])
        return "making machine code beside play" if is_building else None

    def make(self, inputs: Inputs, steps: int, length: int, *, is_usual: bool = True) -> Made:
        """Latent and picture of the next frame; writes into the rings, to which `length` frames are committed.

        is_usual: whether its time says what others take; one of more steps at rest does not.
        """
        if self._graph_wish:
            return self._graph(steps)(inputs, length)
        compiled = self._compiled.get(steps)
        if compiled is not None:
            self.decode_s = None  # here and not before: the meters read it at any time
            begun_s = time.perf_counter()
            made = compiled(*inputs)
            if isinstance(compiled, Written):
                self._tune_written(compiled, steps, time.perf_counter() - begun_s)
            return made
        if self._wish == "compiled" and steps in self._wished:
            self._wait_for(steps)
            return self.make(inputs, steps, length, is_usual=is_usual)
        sample = self._sample(inputs, steps) if self._wish == "auto" else None
        begun, begun_s = time.thread_time(), time.perf_counter()
        whole = self._eager_frame(steps)
        made = whole(*inputs)
        if is_usual and (self._wish == "eager" or steps not in self._candidates):
            self._tune(time.perf_counter() - begun_s)
        self.decode_s = whole.tokenizer.seconds if isinstance(whole.tokenizer, Timed) else None
        if sample is not None:
            self._candidates[steps].offer(sample, made[0].clone(), 1000 * (time.thread_time() - begun))
        return made

    def close(self) -> None:
        """Stop what is being built."""
        for candidate in self._candidates.values():
            candidate.close()
        self._candidates.clear()

    def _tune(self, frame_s: float) -> None:
        """Let the tuner see a frame's time, and do what it says for the next."""
        if self._threads and self.may_change():
            count = self._tuned(None, self._threads, cores(), frame_s)
            if count != self._threads:
                self._threads = count
                torch.set_num_threads(count)
                self.changed("")

    def _tune_written(self, code: Written, steps: int, frame_s: float) -> None:
        """The same for code that makes the same bytes on any number of threads: at any time, and unsaid."""
        count = self._tuned(steps, code.threads, min(cores(), MOST_THREADS), frame_s)
        if count != code.threads:
            code.threads = count

    def _tuned(self, kind: int | None, now: int, most: int, frame_s: float) -> int:
        """Threads for the next frame. Says which won."""
        if self.budget_s is None:
            return now
        if kind not in self._tuners:
            self._tuners[kind] = Tuner(ladder(most), now, self.budget_s)
        tuner = self._tuners[kind]
        was_trying, tuner.budget_s = tuner.is_trying, self.budget_s
        count = tuner.add(frame_s)
        if was_trying and not tuner.is_trying and count == now:
            old_ms, new_ms = tuner.pace_ms
            self.changed(f"threads from now on: {count}, 9 of 10 frames within {new_ms:.1f} ms instead of {old_ms:.1f}")
        return count

    def _graph(self, steps: int) -> Graphed:
        if steps not in self._graphs:
            self._graphs[steps] = Graphed(self._whole(steps), is_compiled=self._graph_wish == "compiled")
        return self._graphs[steps]

    def _whole(self, steps: int) -> WholeFrame:
        world = self._world
        return WholeFrame(world.model, world.tokenizer, world.sigmas[steps], world.noise_scale)

    def _eager_frame(self, steps: int) -> WholeFrame:
        if steps not in self._eager:
            whole, rows = self._whole(steps), 2 * self._world.model.place.shape[0]
            if can_pack(self._device):
                whole = pack(whole, rows)
                cast(Any, whole).tokenizer = Timed(whole.tokenizer)
            self._eager[steps] = whole
        return self._eager[steps]

    def _recipe(self, steps: int) -> Recipe:
        return recipe_for(self._world, steps, self._dtype, torch.get_num_threads(), int8=self._int8)

    def _wait_for(self, steps: int) -> None:
        try:
            build_beside(self._recipe(steps), threading.Event())
            code = load(self._recipe(steps), self._whole(steps))
            if isinstance(code, Written):
                with torch.inference_mode():
                    choose_threads(code, example(self._world, self._dtype, steps), self._threads)
            self._compiled[steps] = code
        except (OSError, RuntimeError) as error:
            raise WorldError(f"backend=compiled: {error}. Play with backend=eager.") from error

    def _sample(self, inputs: Inputs, steps: int) -> Inputs | None:
        """See how the machine code comes on; gives a copy of the inputs if it wants to try this frame beside play."""
        if steps not in self._candidates:
            if steps not in self._waiting:
                self._waiting[steps] = 0 if self._recipe(steps).path.exists() else PATIENCE
            self._waiting[steps] -= 1
            if self._waiting[steps] > 0 or (None in self._tuners and self._tuners[None].is_trying):
                return None
            self._candidates[steps] = Candidate(self._recipe(steps), self._whole(steps))
        candidate = self._candidates[steps]
        if candidate.problem is not None:
            log.warning("no machine code (%s): play goes on as it is", candidate.problem)
            self._wish = "eager"
        elif candidate.code is not None and self.may_change():
            self._compiled[steps] = candidate.code
            old_ms, new_ms = candidate.pace_ms
            name = self.backend.partition("@")[0]
            self.changed(f"frames are {name} from now on: {new_ms:.1f} ms instead of {old_ms:.1f}")
        return inputs.copy() if candidate.wants_sample else None
