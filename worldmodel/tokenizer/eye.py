"""A tokenizer as one looks through it: what it makes of a picture, and how strange a picture is to it.

Eye   round trip and drift of single frames

Latents are normalised by the training set: a channel has mean 0 and standard deviation 1 over it. How far single
frames scatter around that is measured on frames the world is known to begin with.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from worldmodel.tokenizer.autoencoder import Tokenizer

LEAST_KNOWN = 8  # frames, to tell a scatter from


class Eye:
    """known uint8 (N, H, W, 3): frames as they should be, looked at when the first drift is asked for."""

    def __init__(self, tokenizer: Tokenizer, known: Tensor) -> None:
        self._tokenizer, self._known = tokenizer, known

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the features of known frames, (2 C) each."""
        features = _features(self._encode(self._known))  # (N, 2 C)
        return features.mean(0), features.std(0).clamp_min(1e-3)

    @torch.inference_mode()
    def seen(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) through the tokenizer and back: what the world can know of it."""
        return self._tokenizer.decode(self._encode(torch.from_numpy(frame)[None]))[0].cpu().numpy()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def drift(self, frame: np.ndarray) -> float | None:
        """How far the mean and spread of the frame's latent are from those of known frames, in standard deviations of
        these, root mean square over channels: 1 is usual. None if too few frames are known.
        """
        if len(self._known) < LEAST_KNOWN:
            return None
        features = _features(self._encode(torch.from_numpy(frame)[None]))[0]
        mean, spread = self._usual
        return float(((features - mean) / spread).square().mean().sqrt())

    def _encode(self, frames: Tensor) -> Tensor:
        return self._tokenizer.encode(frames.to(self._tokenizer.mean.device))


def _features(latents: Tensor) -> Tensor:
    """(N, C, h, w) -> mean and standard deviation of each channel over its places (N, 2 C)."""
    return torch.cat([latents.mean((2, 3)), latents.std((2, 3))], 1)
