"""Make frames: the one definition of autoregressive generation.

Sampler                     how noise levels are walked down: consistency (student) or euler (teacher)
denoise_block               noise -> x0 of the next frame, reading the memory
commit_block                x0 -> memory, at sigma = 0
merged_block                the commit of one frame and the first denoising of the next, in one pass
rollout                     both, along a sequence of actions

Not here: which sigmas (noise.py), pixels (tokenizer), time (ui/session.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from worldmodel.diffusion.flow import add_noise, expand, x0_from_velocity
from worldmodel.model.cache import KVCache

Noise = Callable[[int], Tensor]  # denoising step -> eps (B, 1, C, h, w)


class Velocity(Protocol):
    """The network, or anything that stands for it."""

    def __call__(self, xt: Tensor, sigma: Tensor, actions: Tensor, memory: KVCache, /) -> Tensor:
        """v of xt."""
        ...


Sampler = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def consistency(
    xt: Tensor, v: Tensor, sigma: Tensor, lower: Tensor, eps: Tensor, *, noise_scale: float = 1.0
) -> Tensor:
    """Jump to x0 and add fresh noise of the next level (arXiv:2303.01469 algorithm 1).

    noise_scale > 1 makes it louder than its level says, against the loss of detail of networks that learn by squared
    errors (S_noise of arXiv:2206.00364 algorithm 2).
    """
    return add_noise(x0_from_velocity(xt, v, sigma), noise_scale * eps, lower)


def euler(xt: Tensor, v: Tensor, sigma: Tensor, lower: Tensor, eps: Tensor) -> Tensor:
    """Follow the probability flow in a straight line to the next level; eps is not used."""
    return xt + expand(lower - sigma, xt) * v


def denoise_block(
    model: Velocity,
    cache: KVCache,
    action: Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    sampler: Sampler = consistency,
    record: Callable[[int, Tensor], None] | None = None,
    first: Tensor | None = None,
    passes: Tensor | None = None,
) -> Tensor:
    """x0 (B, 1, C, h, w) of the frame after what is committed, under action (B, 1, A).

    sigmas: descending levels, the first is 1; one pass of the network each. record(step, xt) sees every input.
    first: the velocity at the first level, where a merged pass has computed it already.
    passes (B,): how many of the levels each row goes through, one at least; None: all of them.
    """
    x0 = xt = noise(0)
    most = len(sigmas) if passes is None else int(passes.max())
    levels = [torch.full(action.shape[:2], s, device=xt.device) for s in (*sigmas[:most], 0.0)]
    for step, (sigma, lower) in enumerate(pairwise(levels)):
        if record:
            record(step, xt)
        v = first if first is not None and step == 0 else model(xt, sigma, action, cache)
        is_last = step == most - 1
        if passes is not None:
            x0 = torch.where(expand(passes > step, xt), x0_from_velocity(xt, v, sigma), x0)
        elif is_last:
            x0 = x0_from_velocity(xt, v, sigma)
        if not is_last:
            xt = sampler(xt, v, sigma, lower, noise(step + 1))
    return x0


def commit_block(model: Velocity, cache: KVCache, x0: Tensor, action: Tensor) -> None:
    """Make x0 (B, 1, C, h, w), reached by action (B, 1, A), part of the past."""
    model(x0, torch.zeros(action.shape[:2], device=x0.device), action, cache)
    cache.advance()


def merged_block(model: Velocity, cache: KVCache, x0: Tensor, actions: Tensor, xt: Tensor, sigma: float) -> Tensor:
    """Commit x0 and denoise xt (both (B, 1, C, h, w)) of the next frame once, in one pass; gives the velocity of xt.

    actions (B, 2, A). The same function as commit_block followed by the first pass of denoise_block.
    """
    cache.expect(2)
    levels = torch.tensor([0.0, sigma], device=x0.device).expand(len(x0), 2)
    v = model(torch.cat([x0, xt], 1), levels, actions, cache)
    cache.advance()
    return v[:, 1:]


@torch.no_grad()
def rollout(
    model: Velocity,
    cache: KVCache,
    actions: Tensor,
    sigmas: Sequence[float],
    noise: Callable[[int, int], Tensor],
    sampler: Sampler = consistency,
    record: Callable[[int, int, Tensor], None] | None = None,
    commit: Callable[[Velocity, KVCache, Tensor, Tensor], None] = commit_block,
    passes: Tensor | None = None,
) -> Tensor:
    """Latents (B, T, C, h, w) of T frames after what is committed, one for each of actions (B, T, A).

    noise(t, step) -> eps (B, 1, C, h, w); record(t, step, xt) sees every input of the network; commit: what makes a
    frame part of the past; passes (B, T): of denoise_block.
    """
    frames = []
    for t in range(actions.shape[1]):
        action = actions[:, t : t + 1]
        seen = partial(record, t) if record else None
        through = passes[:, t] if passes is not None else None
        x0 = denoise_block(model, cache, action, sigmas, partial(noise, t), sampler, seen, passes=through)
        commit(model, cache, x0, action)
        frames.append(x0)
    return torch.cat(frames, 1)


@torch.no_grad()
def prefill(model: Velocity, cache: KVCache, latents: Tensor, actions: Tensor) -> None:
    """Commit real latents (B, T, C, h, w) and the actions (B, T, A) that led to them, one frame after another."""
    for t in range(latents.shape[1]):
        commit_block(model, cache, latents[:, t : t + 1], actions[:, t : t + 1])
