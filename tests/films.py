"""Moving textures, and what spoils them: the material of the corruption ladders.

texture, panning     a view over smooth noise
noisy, blurred       worse pictures; frozen, shuffled: worse time
"""

import numpy as np
import torch
import torch.nn.functional as F


def texture(seed: int, width: int = 400) -> np.ndarray:
    """Smooth noise, uint8 (40, width, 3)."""
    noise = torch.rand(1, 3, 10, width // 4, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(noise, (40, width), mode="bilinear")[0].permute(1, 2, 0) * 255).byte().numpy()


def panning(shifts: list[int], seed: int = 0) -> np.ndarray:
    """A view 64 wide that moves right over a texture by these pixels a step, (T + 1, 40, 64, 3)."""
    places = 150 + np.concatenate([[0], np.cumsum(shifts)])
    return np.stack([texture(seed)[:, x : x + 64] for x in places])


def blurred(clip: np.ndarray, size: int) -> np.ndarray:
    pixels = torch.from_numpy(clip).permute(0, 3, 1, 2).float()
    wide = F.pad(pixels, (size // 2,) * 4, mode="replicate")
    return F.avg_pool2d(wide, size, 1).round().byte().permute(0, 2, 3, 1).numpy()


def noisy(clip: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, clip.shape)
    return np.clip(clip + noise, 0, 255).round().astype(np.uint8)


def frozen(clip: np.ndarray) -> np.ndarray:
    return np.repeat(clip[:1], len(clip), 0)


def shuffled(clip: np.ndarray) -> np.ndarray:
    return clip[np.random.default_rng(0).permutation(len(clip))]
