"""Engine: an Env whose world is the student. Actions in, frames out, in real time.

One step is: denoise the next latent in a few passes, decode it, and give the frame. The frame's commit to the memory
shares a pass with the next frame's first denoising (merge), or has a pass of its own, for which `settle` uses the time
after the frame is on screen.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.action import Action
from worldmodel.bundle import World, WorldError
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import commit_block, consistency, denoise_block, merged_block, prefill
from worldmodel.env import Frame
from worldmodel.model.cache import KVCache

REMEMBERED = 400  # frames one can go back: 0.3 MB each with the first world in bfloat16


@dataclass
class Moment:
    """One dreamed frame: what it takes to show it and to have been there.

    past: its keys and values, None until it is committed.
    """

    latent: Tensor  # (1, 1, C, h, w)
    action: Tensor  # (1, 1, A)
    frame: Frame
    past: Tensor | None = None


class Engine:
    """Plays a World. Env and Rewindable. Equal (start, seed, actions) give equal frames on one machine and build."""

    def __init__(
        self, world: World, device: str = "auto", steps: int | None = None, seed: int = 0, *, dtype: str = "auto",
        threads: int | None = None, merge: bool = True, compile: bool = False,
    ) -> None:  # fmt: skip
        """steps: denoising passes a frame, by default the world's. dtype: float32, bfloat16 or auto. threads: of a
        CPU. merge: commit a frame together with the first pass of the next instead of by a pass of its own: the same
        function for fewer passes, 1.6 times as fast where each pass is mostly overhead. compile: make machine code of
        the layers first, which takes half a minute and a C++ compiler and makes a CPU 1.35 times as fast.

        Raises WorldError if the world has no noise levels for `steps`, or the device or the compiler is missing.
        """
        self.world, self.seed, self.merge = world, seed, merge
        self.actions, self.fps, self.size_hw = world.actions, world.fps, world.size_hw
        self.device = _device(device)
        if threads:
            torch.set_num_threads(threads)
        self.dtype = _dtype(dtype, self.device)
        self.model = world.model.to(self.device, self.dtype)
        self.tokenizer = world.tokenizer.to(self.device, self.dtype)
        self.steps = steps or world.steps
        self._sampler = partial(consistency, noise_scale=world.noise_scale)
        self._shape = (1, 1, *self.model.latent_shape)
        self._cache: KVCache = self.model.new_cache(1)
        self._moments: deque[Moment] = deque(maxlen=REMEMBERED)
        self._begun: dict[str, Any] = {}  # the memory as it was before the oldest moment
        self._index = 0  # frames dreamed since the start
        self._first_time = 0  # what the memory calls frame 0
        self._start_frame: Frame | None = None
        self._is_compiled = compile
        if compile:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compile the passes of steady play. Those over a short memory, right after a start, stay as they are."""
        from torch._dynamo.exc import BackendCompilerFailed  # a second of imports that only this needs

        sight = self.model.config.sight
        frames = sight.sink + sight.window + 1
        latents = torch.zeros(1, frames, *self.model.latent_shape, device=self.device, dtype=self.dtype)
        actions = torch.zeros(1, 2, self.actions.size, device=self.device)
        cache, levels = self.model.new_cache(1), torch.ones(1, 1, device=self.device)
        prefill(self.model, cache, latents, actions[:, :1].expand(-1, frames, -1))
        self.model.compile_blocks()
        try:
            merged_block(self.model, cache, latents[:, :1], actions, latents[:, :1], 1.0)
            self.model(latents[:, :1], levels, actions[:, :1], cache)
        except BackendCompilerFailed as error:
            raise WorldError("compile=true needs a C++ compiler such as g++; play without compile=true") from error

    def _known_code(self) -> AbstractContextManager[Any]:
        """Run what is compiled as such, and what is not without compiling it in the middle of play."""
        return torch.compiler.set_stance("eager_on_recompile") if self._is_compiled else nullcontext()

    @property
    def steps(self) -> int:
        """Denoising passes a frame; may be set while playing."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        if steps not in self.world.sigmas:
            raise WorldError(f"{self.world.name} has noise levels for {sorted(self.world.sigmas)} steps, not {steps}")
        self._steps = steps

    @torch.inference_mode()
    def reset(self, *, start: Any = 0, seed: int | None = None) -> Frame:
        """Begin at a start of the world (a number), at a picture uint8 (H, W, 3), or after real play:
        (frames uint8 (T + 1, H, W, 3), actions [T]). Gives the last of the frames the dream begins with.
        """
        self.seed = self.seed if seed is None else seed
        frames, moves = self._context(start)
        latents = self.tokenizer.encode(frames.to(self.device))[None]  # (1, T, C, h, w)
        led_by = torch.cat([torch.zeros(1, self.actions.size), moves])[None].to(self.device)  # (1, T, A)
        self._cache = self.model.new_cache(1)
        with self._known_code():
            prefill(self.model, self._cache, latents.to(self.dtype), led_by)
        self._begin(0, frames[-1].numpy().copy())
        assert self._start_frame is not None
        return self._start_frame

    def _begin(self, index: int, frame: Frame) -> None:
        self._moments.clear()
        self._begun = self._cache.state()
        self._index, self._first_time = index, self._cache.length - index
        self._start_frame = frame

    def step(self, action: Action) -> Frame:
        """The next frame under the action."""
        if self._start_frame is None:
            self.reset()
        with self._known_code():
            return self._step(action)

    @torch.inference_mode()
    def _step(self, action: Action) -> Frame:
        vector = torch.from_numpy(self.actions.to_vector(action)).view(1, 1, -1).to(self.device)
        sigmas = self.world.sigmas[self._steps]
        first = None
        last = self._pending
        if last is not None and self.merge:
            moves = torch.cat([last.action, vector], 1)
            first = merged_block(self.model, self._cache, last.latent, moves, self._noise(0), sigmas[0])
        elif last is not None:
            commit_block(self.model, self._cache, last.latent, last.action)
        if last is not None:
            last.past = self._cache.frame(self._cache.length - 1)
        latent = denoise_block(self.model, self._cache, vector, sigmas, self._noise, self._sampler, first=first)
        frame = self.tokenizer.decode(latent[0, 0]).cpu().numpy()
        self._moments.append(Moment(latent, vector, frame))
        self._index += 1
        return frame

    @property
    def _pending(self) -> Moment | None:
        """The newest moment while it is not committed."""
        return self._moments[-1] if self._moments and self._moments[-1].past is None else None

    @torch.inference_mode()
    def settle(self) -> None:
        """Do what a step needs no new action for: without merging, commit the newest frame."""
        last = self._pending
        if last is not None and not self.merge:
            with self._known_code():
                commit_block(self.model, self._cache, last.latent, last.action)
            last.past = self._cache.frame(self._cache.length - 1)

    def state(self) -> dict[str, Any]:
        """Everything that decides the future: memory, place in time, seed and steps, as tensors and builtins."""
        last, frame = self._pending, self._moments[-1].frame if self._moments else self._start_frame
        pending = None if last is None else {"latent": last.latent.clone(), "action": last.action.clone()}
        return {
            "world": self.world.sha256, "cache": self._cache.state(), "index": self._index, "seed": self.seed,
            "steps": self._steps, "frame": torch.from_numpy(np.array(frame)), "pending": pending,
        }  # fmt: skip

    @torch.inference_mode()
    def load_state(self, state: dict[str, Any]) -> Frame:
        """Return to a state of this world. Raises WorldError for a state of another world."""
        if state["world"] != self.world.sha256:
            raise WorldError(f"this state was saved in another world or version than {self.world.name}")
        self._cache.load_state(state["cache"])
        self.seed, self.steps = state["seed"], state["steps"]
        frame, pending = state["frame"].numpy().copy(), state["pending"]
        self._begin(state["index"] - (pending is not None), frame)
        if pending is not None:
            self._moments.append(Moment(pending["latent"], pending["action"], frame))
            self._index += 1
        return frame  # type: ignore[no-any-return]

    @torch.inference_mode()
    def rewind(self, frames: int) -> Frame:
        """Go back that many frames, or as far as is remembered; what follows is as if they had never been."""
        oldest = self._index - len(self._moments)
        if self._first_time + oldest > self._begun["length"]:  # a moment's window must be remembered as well
            oldest += self._cache.slots
        goal = max(self._index - frames, oldest)
        kept = list(self._moments)[: len(self._moments) - (self._index - goal)]
        if kept:
            kept[-1].past = None  # it is committed again, in the way that it was
        committed = kept[:-1]
        self._cache.load_state(self._begun)
        first = goal - len(kept) + self._first_time
        window = committed[-self._cache.slots :]
        times = range(first + len(committed) - len(window), first + len(committed))
        past = {time: moment.past for time, moment in zip(times, window, strict=True) if moment.past is not None}
        self._cache.restore(past, first + len(committed))
        self._moments = deque(kept, maxlen=REMEMBERED)
        self._index = goal
        assert self._start_frame is not None
        return kept[-1].frame if kept else self._start_frame

    def close(self) -> None:
        """Give the memory back."""
        self._moments.clear()

    def _noise(self, step: int) -> Tensor:
        return frame_noise(self.seed, self._index, step, self._shape).to(self.device)

    def _context(self, start: Any) -> tuple[Tensor, Tensor]:
        """Frames uint8 (T, H, W, 3) and actions (T - 1, A) to begin with."""
        if isinstance(start, int | np.integer):
            number = len(self.world.starts)
            if not 0 <= start < number:
                raise WorldError(f"{self.world.name} has starts 0 to {number - 1}, not {start}")
            return self.world.start_frames[int(start)], self.world.start_actions[int(start)]
        frames, moves = start if isinstance(start, tuple) else (np.asarray(start)[None], [])
        frames = torch.from_numpy(np.ascontiguousarray(frames))
        if frames.dtype != torch.uint8 or frames.shape[1:] != (*self.size_hw, 3) or len(moves) != len(frames) - 1:
            h, w = self.size_hw
            raise WorldError(f"a start is a number, a picture uint8 ({h}, {w}, 3), or T + 1 such frames and T actions")
        vectors = [torch.from_numpy(self.actions.to_vector(move)) for move in moves]
        return frames, torch.stack(vectors) if vectors else torch.zeros(0, self.actions.size)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise WorldError(f"device={name}, but torch sees no GPU. Use device=cpu.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise WorldError(f"device={name} is unknown. Use auto, cpu or cuda.") from error


def _dtype(name: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cuda" else torch.float32
