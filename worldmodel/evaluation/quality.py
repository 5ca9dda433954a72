"""How good dreamt frames look beside the real ones of the same moment.

squared_errors   error of every frame; psnr_curve, in dB
moving           the frames that differ from what was last seen
traits           sharpness, brightness and motion: what a frame has without a partner
skill            error between that of the tokenizer (1) and that of copying (0)
usable_horizon   how long skill is surely above 0
diversity        how far dreams of other noise lie apart
nearest          the frames of training that are most like given ones: what pure memory would show

Frames are uint8 numpy arrays (..., H, W, 3); work goes clip by clip, so that floats of one clip live at a time.
"""

from __future__ import annotations

import numpy as np
import torch

from worldmodel.evaluation.statistics import Estimate, resampled
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


def squared_errors(frames: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Mean squared error of every frame, (E, T), of uint8 clips (E, T, H, W, 3)."""
    return np.stack([_squares(a, b) for a, b in zip(frames, real, strict=True)])


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

    sharpness   mean |difference of pixels two apart in a row| (tokenizer.loss.sharpness)
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


def skill(errors: np.ndarray, ceiling: np.ndarray, copying: np.ndarray, mask: np.ndarray) -> list[Estimate]:
    """S(h) = 1 - (E - E_ceiling) / (E_copying - E_ceiling) of every frame, T Estimates; all arguments (E, T).

    E: mean squared errors, averaged over the episodes where mask is true. nan where the tokenizer is no better than
    copying: there is nothing to be gained.
    """

    def ratio(gained: np.ndarray, possible: np.ndarray) -> np.ndarray:
        return np.divide(gained, possible, out=np.full_like(gained, np.nan), where=possible > 0)

    gained, possible = (copying - errors) * mask, (copying - ceiling) * mask
    return [resampled(ratio, gained[:, h], possible[:, h]) for h in range(errors.shape[1])]


def usable_horizon(skills: list[Estimate]) -> int:
    """H*: the most frames h whose skills up to h all have an interval above 0."""
    beyond = [h for h, estimate in enumerate(skills) if not estimate.low > 0]
    return beyond[0] if beyond else len(skills)


def diversity(frames: np.ndarray) -> np.ndarray:
    """Mean root of the mean squared difference of all pairs of S dreams, grey levels: (E,) of uint8 (E, S, H, W, 3)."""
    pairs = [(i, j) for i in range(frames.shape[1]) for j in range(i)]
    return np.stack([np.sqrt(_squares(frames[:, i], frames[:, j])) for i, j in pairs]).mean(0)


def nearest(clips: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """For each frame of clips (E, T, H, W, 3) the frame of pool (N, H, W, 3) with the least squared error.

    The eight best of thumbnails are compared in full.
    """
    small = _thumbnails(pool)
    norms = np.square(small).sum(1)
    shown = []
    for frame in clips.reshape(-1, *clips.shape[2:]):
        distance = norms - 2 * small @ _thumbnails(frame[None])[0]
        best = np.argpartition(distance, min(8, len(pool) - 1))[:8]
        shown.append(pool[best[_squares(pool[best], frame[None]).argmin()]])
    return np.stack(shown).reshape(clips.shape)


def _thumbnails(frames: np.ndarray) -> np.ndarray:
    """Grey means of cells, float32 (N, 8 * 8)."""
    n, h, w = frames.shape[:3]
    cut = frames[:, : h // 8 * 8, : w // 8 * 8]
    return cut.reshape(n, 8, h // 8, 8, w // 8, 3).mean((2, 4, 5), dtype=np.float32).reshape(n, -1)


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared error of each frame, (T,)."""
    return np.square(a.astype(np.float32) - b).mean((1, 2, 3))
