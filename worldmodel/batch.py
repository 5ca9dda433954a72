"""Many dreams of one world, stepped as one batch: for agents, and for looking at many futures.

Dreams   reset and step of N dreams that begin together
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldmodel.backends.compiled import Frame, build_beside, load, recipe_for
from worldmodel.backends.frame import WholeFrame, least_past, looks_at
from worldmodel.backends.packed import can_pack, pack
from worldmodel.backends.place import device_of, dtype_of
from worldmodel.bundle import World, WorldError
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import prefill


class Dreams:
    """number: N; equal starts, seeds and actions give equal frames on one machine and build, whatever else is in the
    batch, up to the rounding of another batch size.
    """

    def __init__(
        self, world: World, number: int, device: str = "auto", steps: int | None = None, *, dtype: str = "auto",
        backend: str = "eager",
    ) -> None:  # fmt: skip
        """As Engine. backend: eager, all dreams at once; compiled, one after another by code written by hand, twice
        as fast on a core, and built the first time. Raises WorldError if the starts are too short for whole frames,
        if there is no such code for this world and machine, or as Engine does.
        """
        if number < 1:
            raise WorldError(f"at least one dream is needed, got {number}")
        self.world, self.number, self.num_starts = world, number, len(world.starts)
        self.actions, self.size_hw = world.actions, world.size_hw
        self._device = device_of(device)
        self._dtype = dtype_of(dtype, self._device)
        self.model = world.model.to(self._device, self._dtype)
        self.tokenizer = world.tokenizer.to(self._device, self._dtype)
        given, needed = world.start_frames.shape[1], least_past(self.model.config.sight) + 1
        if given < needed:
            raise WorldError(f"{world.name} begins with {given} frames, and a batch needs {needed}")
        self._steps = steps or world.steps
        if self._steps not in world.sigmas:
            raise WorldError(f"{world.name} has noise levels for {sorted(world.sigmas)} steps, not {self._steps}")
        if backend not in ("eager", "compiled"):
            raise WorldError(f"backend={backend} is unknown; of many dreams it is eager or compiled")
        self._frames = {n: self._code(n, backend) for n in {self._steps, max(self._steps, world.rest_steps)}}
        self._cache = self.model.new_cache(number)
        self._compass = Compass.of(world.actions)
        self._seeds: list[int] = []
        self._index = 0

    def _code(self, steps: int, backend: str) -> Frame:
        whole = WholeFrame(self.model, self.tokenizer, self.world.sigmas[steps], self.world.noise_scale)
        if backend == "compiled":
            return _InTurn(self.world, whole, steps, self._dtype)
        rows = 2 * self.number * self.model.place.shape[0]
        return pack(whole, rows) if can_pack(self._device) else whole

    @torch.inference_mode()
    def reset(self, starts: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Begin all again, dream i at starts[i] with seeds[i]; the frames uint8 (N, H, W, 3) to begin with."""
        if len(starts) != self.number or len(seeds) != self.number or not set(starts) <= set(range(self.num_starts)):
            raise WorldError(
                f"{self.number} starts from 0 to {self.num_starts - 1} and seeds, not {starts} and {seeds}"
            )
        frames, led = self.world.start_frames[list(starts)], self.world.start_actions[list(starts)]
        moves = torch.cat([torch.zeros(self.number, 1, self.actions.size), led], 1).to(self._device)
        moves = self._compass.along(moves)
        latents = self.tokenizer.encode(frames.to(self._device))
        self._cache.clear()
        prefill(self.model, self._cache, latents[:, :-1].to(self._dtype), moves[:, :-1])
        self._latents, self._moves = latents[:, -1:].contiguous(), moves[:, -1:]
        self._seeds, self._index = list(seeds), 0
        first: np.ndarray = frames[:, -1].numpy().copy()
        return first

    @torch.inference_mode()
    def step(self, actions: np.ndarray) -> np.ndarray:
        """The next frames uint8 (N, H, W, 3) under action vectors (N, A)."""
        if not self._seeds:
            raise WorldError("step before reset")
        held = np.asarray(actions, np.float32).reshape(self.number, -1)
        now = self._compass.along(torch.from_numpy(held)[:, None].to(self._device), self._moves)
        moves = torch.cat([self._moves, now], 1)
        passes = self.world.passes(held, self._steps)
        most = int(passes.max())
        latents, pictures = self._made(most, moves)
        if passes.min() < most:  # some rest and some do not
            others = torch.from_numpy(passes < most).to(self._device)
            fewer, shown = self._made(self._steps, moves)
            latents = torch.where(others.view(-1, 1, 1, 1, 1), fewer, latents)
            pictures = torch.where(others.view(-1, 1, 1, 1), shown, pictures)
        self._latents = latents
        self._cache.advance()
        self._moves, self._index = now, self._index + 1
        frames: np.ndarray = pictures.cpu().numpy()
        return frames

    def _made(self, steps: int, moves: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and pictures of all dreams in so many steps. Another number of steps commits the same again."""
        rings = (self._cache.keys, self._cache.values, looks_at(self._cache, moves))
        latents, pictures = self._frames[steps](*rings, self._latents, moves, self._noise(steps))
        return latents, pictures

    def _noise(self, steps: int) -> Tensor:
        """(steps, N, 1, C, h, w), each dream's own."""
        shape = (1, *self.model.latent_shape)
        rows = [
            torch.stack([frame_noise(seed, self._index, step, shape) for seed in self._seeds]) for step in range(steps)
        ]
        return torch.stack(rows).to(self._device)


class _InTurn:
    """WholeFrame of a batch, by code for a batch of one."""

    def __init__(self, world: World, whole: WholeFrame, steps: int, dtype: torch.dtype) -> None:
        recipe = recipe_for(world, steps, dtype, torch.get_num_threads())
        if whole.model.place.device.type != "cpu" or recipe.sizes is None:
            raise WorldError(f"no code is written for dreams of {world.name} on this machine; use eager")
        try:
            build_beside(recipe, threading.Event())
            self._one = load(recipe, whole)
        except (OSError, RuntimeError) as error:
            raise WorldError(f"backend=compiled: {error}. Dream with backend=eager.") from error

    def __call__(
        self, keys: list[Tensor], values: list[Tensor], looks: list[list[Tensor]],
        x0: Tensor, moves: Tensor, noise: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """As WholeFrame.forward; rings are contiguous, dream after dream."""
        made = []
        for i in range(len(x0)):
            own = slice(i, i + 1)
            rings = [k[own] for k in keys], [v[own] for v in values]
            seen = [[*look[:3], look[3] if look[3].ndim == 2 else look[3][own].contiguous()] for look in looks]
            made.append(self._one(*rings, seen, x0[own], moves[own], noise[:, own].contiguous()))
        latents, pictures = zip(*made, strict=True)
        return torch.cat(latents), torch.cat(pictures)
