"""What all rungs of the ladder are given, and what they are held to.

Setting        a world in a precision, and the actions and noise that all rungs get
in_precision   a Setting with networks of its own
reference      what rollout makes in float32: the gate of every rung that computes the same function
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from worldmodel.bundle import World
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import commit_block, consistency, prefill, rollout
from worldmodel.model.cache import KVCache


@dataclass
class Setting:
    """actions (F, A) as the network is told of them, used in a circle. Its networks are in `dtype` on the CPU."""

    world: World
    dtype: torch.dtype
    steps: int
    actions: Tensor

    @property
    def sigmas(self) -> list[float]:
        """Noise levels of a frame."""
        return self.world.sigmas[self.steps]

    def action(self, t: int) -> Tensor:
        """(1, 1, A) that leads to frame t."""
        return self.actions[t % len(self.actions)].view(1, 1, -1)

    def noise(self, t: int) -> Tensor:
        """(steps, 1, 1, C, h, w) of frame t."""
        shape = (1, 1, *self.world.model.latent_shape)
        return torch.stack([frame_noise(0, t, step, shape) for step in range(self.steps)])

    def given(self) -> tuple[Tensor, Tensor]:
        """Latents (1, T, C, h, w) of the first start, and the actions (1, T, A) that led to them."""
        world = self.world
        moves = torch.cat([torch.zeros(1, world.actions.size), world.start_actions[0]])
        return world.tokenizer.encode(world.start_frames[:1]), Compass.of(world.actions).along(moves[None])

    def begin(self) -> tuple[KVCache, Tensor, Tensor]:
        """A memory of the start but for its newest frame; that frame's latent, and the action that led to it."""
        latents, moves = self.given()
        cache = self.world.model.new_cache(1)
        prefill(self.world.model, cache, latents[:, :-1].to(self.dtype), moves[:, :-1])
        return cache, latents[:, -1:].contiguous(), moves[:, -1:]

    @property
    def sampler(self) -> Any:
        """Of rollout."""
        return partial(consistency, noise_scale=self.world.noise_scale)


def in_precision(world: World, dtype: torch.dtype, steps: int, actions: Tensor) -> Setting:
    """A Setting with copies of the world's networks."""
    twin = copy.copy(world)
    twin.model, twin.tokenizer = copy.deepcopy(world.model).to(dtype), copy.deepcopy(world.tokenizer).to(dtype)
    return Setting(twin, dtype, steps, actions)


@torch.inference_mode()
def reference(setting: Setting, frames: int) -> Tensor:
    """Latents (frames, C, h, w) by rollout; setting in float32."""
    cache, x0, last = setting.begin()
    commit_block(setting.world.model, cache, x0, last)
    actions = torch.cat([setting.action(t) for t in range(frames)], 1)
    noise = [setting.noise(t) for t in range(frames)]
    made = rollout(setting.world.model, cache, actions, setting.sigmas, lambda t, k: noise[t][k], setting.sampler)
    return made[0]
