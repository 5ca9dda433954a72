"""How good dreamt frames look beside the real ones of the same moment.

psnr_curve       error of every frame
moving           the frames that differ from what was last seen
traits           sharpness, brightness and motion: what a frame has without a partner

Frames are uint8 numpy arrays (..., H, W, 3); work goes clip by clip, so that floats of one clip live at a time.
"""

from __future__ import annotations

import numpy as np
import torch

from worldmodel.tokenizer.loss import psnr, sharpness

HORIZONS = (1, 2, 4, 8, 16, 32)  # frames after the context at which curves are reported
STILL = 0.2  # quantile of the real frame-to-frame error below which nothing moves
TRAITS = ("sharpness", "brightness", "motion")


def psnr_curve(frames: np.ndarray, real: np.ndarray) -> np.ndarray:
    """PSNR in dB (at most 60) of every frame, (E, T), of uint8 clips (E, T, H, W, 3)."""
    if frames.shape != real.shape:
        raise ValueError(f"psnr_curve: clips of shape {frames.shape} against {real.shape}")
    pairs = zip(frames, real, strict=True)
    return np.stack([psnr(torch.from_numpy(a), torch.from_numpy(b)).numpy() for a, b in pairs])


def moving(last: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Which real frames (E, T, H, W, 3) differ from the last context frame (E, H, W, 3): bool (E, T).

    Moving means MSE(x_h, x_0) > tau, tau the 20th percentile of MSE(x_h, x_(h-1)) over all real steps. A still frame
    is copied without any error, and one such frame would decide an average of decibels.
    """
    clips = np.concatenate([last[:, None], real], 1)
    steps = np.stack([_squares(clip[1:], clip[:-1]) for clip in clips])  # (E, T)
    from_last = np.stack([_squares(clip[1:], clip[:1]) for clip in clips])
    return from_last > np.quantile(steps, STILL)


def traits(clip: np.ndarray) -> np.ndarray:
    """What a clip (T, H, W, 3) is like: float32 (T, 3), grey levels.

    sharpness   mean |difference of neighbouring pixels in a row| (tokenizer.loss.sharpness)
    brightness  mean of all pixels and channels
    motion      mean |x_t - x_(t-1)|; 0 for the first frame
    """
    result = np.zeros((len(clip), 3), np.float32)
    for first in range(0, len(clip), 64):
        part = torch.from_numpy(clip[max(first - 1, 0) : first + 64])
        pixels = part.float()
        own = slice(min(first, 1), None)
        result[first : first + 64, 0] = sharpness(part[own]).numpy()
        result[first : first + 64, 1] = pixels[own].mean((1, 2, 3)).numpy()
        result[max(first, 1) : first + 64, 2] = (pixels[1:] - pixels[:-1]).abs().mean((1, 2, 3)).numpy()
    return result


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared error of each frame, (T,)."""
    return np.square(a.astype(np.float32) - b).mean((1, 2, 3))
