"""How long a frame takes, student and teacher side by side.

side_by_side  one frame of each in turn, so that whatever else the machine does hits all alike

Batch 1, as in play: the commit of a frame is merged with the first denoising of the next (rollout.merged_block), for
every dreamer, so that a frame of n sigmas costs n passes, the first of them over two frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from worldmodel.diffusion.rollout import denoise_block, merged_block
from worldmodel.evaluation.dreamer import Dreamer, begin, clip_noise, frame_passes, told

WARM_UP = 5  # frames, not counted


@torch.no_grad()
def side_by_side(dreamers: list[Dreamer], context: np.ndarray, actions: np.ndarray, frames: int) -> np.ndarray:
    """Milliseconds (D, frames, 2), network and decoder, of D dreamers that take turns frame by frame.

    context uint8 (1, C, H, W, 3); actions (1, C + T, A), the future's used in a circle.
    """
    worlds = [_play(dreamer, context, actions) for dreamer in dreamers]
    taken = np.asarray([[next(world) for world in worlds] for _ in range(WARM_UP + frames)])  # (F, D, 2)
    return taken[WARM_UP:].swapaxes(0, 1)


def _play(dreamer: Dreamer, context: np.ndarray, actions: np.ndarray) -> Iterator[tuple[float, float]]:
    """Dream for ever; yields the milliseconds of the network and of decoding, frame by frame."""
    given, model, sigmas = context.shape[1], dreamer.model, dreamer.levels
    led, through = told(dreamer, actions), frame_passes(dreamer, actions[:, given:])
    cache = begin(dreamer, context[:, :-1], led[:, : given - 1])
    x0 = dreamer.tokenizer.encode(torch.from_numpy(context[:, -1:]).to(dreamer.device))
    future, last = led[:, given:], led[:, given - 1 : given]
    noise = clip_noise(dreamer, [0])
    t = 0
    while True:
        action = future[:, t % future.shape[1]][:, None]
        own = None if through is None else through[:, t % future.shape[1]]
        eps = [noise(t, step) for step in range(len(sigmas))]
        start = time.perf_counter()
        first = merged_block(model, cache, x0, torch.cat([last, action], 1), eps[0], sigmas[0])
        x0 = denoise_block(model, cache, action, sigmas, eps.__getitem__, dreamer.sampler, first=first, passes=own)
        middle = _when_done(x0)
        end = _when_done(dreamer.tokenizer.decode(x0))
        yield 1000 * (middle - start), 1000 * (end - middle)
        last, t = action, t + 1


def _when_done(result: Tensor) -> float:
    """Seconds on the clock once the result exists; reading one number of it makes any device finish."""
    result.flatten()[0].item()
    return time.perf_counter()
