"""A network, a tokenizer and a way down the noise levels: what is given real frames and dreams on.

Dreamer       model + tokenizer + sigmas + sampler
told          what its network is told of actions
frame_passes  how many of its noise levels each frame goes through
dream         latents after a real context, many clips at once
decode        latents -> frames, clip by clip
reconstruct   frames -> latents -> frames: the best any dream could do
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.action import is_rest
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import Sampler, prefill, rollout
from worldmodel.model.cache import KVCache
from worldmodel.model.dit import CausalDiT
from worldmodel.tokenizer.autoencoder import Tokenizer

NO_COMPASS = Compass(())
DECODE = 64  # frames the tokenizer takes at once


@dataclass(kw_only=True)
class Dreamer:
    """sigmas: descending from 1, one pass of the network each; rest_sigmas: those and more, where a frame for which
    nothing is held has more of them; batch: clips dreamt at once; compass: of what the network is told; none by
    default.
    """

    model: CausalDiT
    tokenizer: Tokenizer
    sigmas: list[float]
    sampler: Sampler
    batch: int
    rest_sigmas: list[float] | None = None
    compass: Compass = NO_COMPASS
    tick: Callable[[int], object] = lambda passes: None  # told of passes of the network, clip by clip, as they are made

    def __post_init__(self) -> None:
        if self.levels[: len(self.sigmas)] != self.sigmas:
            raise ValueError(f"the levels at rest {self.rest_sigmas} must begin with those of play, {self.sigmas}")

    @property
    def levels(self) -> list[float]:
        """All that a frame can go through."""
        return self.rest_sigmas or self.sigmas

    @property
    def device(self) -> torch.device:
        """Where the network lies; its tokenizer lies there too."""
        return self.model.place.device


def told(dreamer: Dreamer, actions: np.ndarray) -> Tensor:
    """What the network is told of actions (B, T, A), from the first frame on."""
    return dreamer.compass.along(torch.from_numpy(actions)).to(dreamer.device)


def frame_passes(dreamer: Dreamer, actions: np.ndarray) -> Tensor | None:
    """How many of its levels each frame goes through, int64 of the shape of actions (..., A) without A; None: all."""
    if dreamer.rest_sigmas is None:
        return None
    counts = np.where(is_rest(actions), len(dreamer.rest_sigmas), len(dreamer.sigmas))
    return torch.from_numpy(counts).to(dreamer.device)


def begin(dreamer: Dreamer, context: np.ndarray, led_by: Tensor) -> KVCache:
    """A memory that holds the real frames uint8 (B, C, H, W, 3) and what was told of the actions that led to them."""
    latents = dreamer.tokenizer.encode(torch.from_numpy(context).to(dreamer.device))
    cache = dreamer.model.new_cache(len(context))
    prefill(dreamer.model, cache, latents, led_by)
    return cache


def clip_noise(dreamer: Dreamer, seeds: Sequence[int]) -> Callable[[int, int], Tensor]:
    """noise(t, step) -> eps (B, 1, C, h, w): each clip's own, whatever batch it is dreamt in."""
    shape = (1, *dreamer.model.latent_shape)

    def noise(t: int, step: int) -> Tensor:
        return torch.stack([frame_noise(seed, t, step, shape) for seed in seeds]).to(dreamer.device)

    return noise


def dream(dreamer: Dreamer, context: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> Tensor:
    """Latents (B, T, C, h, w) on the CPU of the frames after a context.

    context uint8 (B, C, H, W, 3); actions float32 (B, C + T, A), the context's first; seeds (B,) of the noise.
    """
    given, parts = context.shape[1], []
    for i in range(0, len(context), dreamer.batch):
        own = slice(i, i + dreamer.batch)
        moves, through = told(dreamer, actions[own]), frame_passes(dreamer, actions[own, given:])
        cache = begin(dreamer, context[own], moves[:, :given])
        noise = clip_noise(dreamer, seeds[own])

        def tick(t: int, step: int, xt: Tensor, through: Tensor | None = through) -> None:
            dreamer.tick(len(xt) if through is None else int((through[:, t] > step).sum()))

        future, levels = moves[:, given:], dreamer.levels
        made = rollout(dreamer.model, cache, future, levels, noise, dreamer.sampler, tick, passes=through)
        parts.append(made.cpu())
    return torch.cat(parts)


def decode(dreamer: Dreamer, latents: Tensor) -> np.ndarray:
    """Latents (T, C, h, w) -> uint8 (T, H, W, 3)."""
    parts = [dreamer.tokenizer.decode(part.to(dreamer.device)).cpu() for part in latents.split(DECODE)]
    return torch.cat(parts).numpy()


def reconstruct(dreamer: Dreamer, frames: np.ndarray) -> np.ndarray:
    """decode(encode(frames)) of uint8 (T, H, W, 3)."""
    return reconstruct_with(dreamer.tokenizer, frames)


def reconstruct_with(tokenizer: Tokenizer, frames: np.ndarray) -> np.ndarray:
    """The same, for a tokenizer without a dreamer."""
    place = tokenizer.mean.device
    parts = torch.from_numpy(frames).split(DECODE)
    return torch.cat([tokenizer.decode(tokenizer.encode(part.to(place))).cpu() for part in parts]).numpy()
