"""What a reconstruction is judged by in training, and the two figures it is reported with.

reconstruction_loss   pixels, edges, local texture energy and spectrum, latent size
local_spectrum        how strong which frequency is, and where
psnr, sharpness       reported
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # pixels: width of what a local spectrum is taken of


@dataclass(kw_only=True)
class ReconstructionConfig:
    """Weights of the terms; latent_noise in raw latent units; texture_apart: pixels between those that the texture term
    compares (1 pays for a checkerboard of single pixels, 2 does not).
    """

    l1: float
    mse: float
    edges: float
    texture: float
    texture_apart: int
    spectrum: float
    latent: float
    latent_noise: float


def differences(pixels: Tensor, apart: int = 1) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical differences of pixels so far apart, of (N, 3, H, W)."""
    return pixels[..., :, apart:] - pixels[..., :, :-apart], pixels[..., apart:, :] - pixels[..., :-apart, :]


def reconstruction_loss(output: Tensor, target: Tensor, raw: Tensor, config: ReconstructionConfig) -> Tensor:
    """Scalar loss of output against target, both (N, 3, H, W) in [-1, 1], with latents raw.

    The texture term compares the mean absolute difference in windows of 8 pixels: grain may be put down anywhere in
    its window, but not be wiped away, which squared error alone would prefer. It looks at one distance between pixels,
    which a regular pattern can satisfy; the spectrum term looks at all frequencies.
    """
    error = output - target
    loss = config.l1 * error.abs().mean() + config.mse * error.square().mean() + config.latent * raw.square().mean()
    for ours, theirs in zip(differences(output), differences(target), strict=True):
        loss = loss + config.edges * (ours - theirs).abs().mean()
    apart = config.texture_apart
    for ours, theirs in zip(differences(output, apart), differences(target, apart), strict=True):
        energy = [F.avg_pool2d(d.abs(), 8, 4) for d in (ours, theirs)]
        loss = loss + config.texture * (energy[0] - energy[1]).abs().mean()
    if config.spectrum:
        loss = loss + config.spectrum * (local_spectrum(output) - local_spectrum(target)).abs().mean()
    return loss


def local_spectrum(pixels: Tensor) -> Tensor:
    """Mean absolute DCT coefficients of 8 x 8 blocks, four pixels apart, of brightness and two colour differences.

    pixels (N, 3, H, W) -> (3 N, 63, h, w): every frequency but the mean, averaged over 3 x 3 blocks (16 pixels wide).
    """
    red, green, blue = pixels.split(1, 1)
    planes = torch.cat([(red + green + blue) / 3, red - green, green - blue])
    waves = _dct(BLOCK).to(pixels)
    return F.avg_pool2d(F.conv2d(planes, waves, stride=BLOCK // 2).abs(), 3, 1)


@cache
def _dct(size: int) -> Tensor:
    """The orthonormal two-dimensional DCT-II without its mean, as filters (size^2 - 1, 1, size, size)."""
    place = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    both = torch.einsum("ia,jb->ijab", rows, rows).reshape(size * size, 1, size, size)
    return both[1:].float()


def psnr(frames: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of uint8 frames (N, H, W, 3), one a frame, at most 60."""
    mse = (frames.float() - reference.float()).square().mean((-3, -2, -1))
    return 10 * torch.log10(255.0**2 / mse.clamp_min(255.0**2 / 10**6))


def sharpness(frames: Tensor) -> Tensor:
    """Mean absolute difference of pixels two apart in a row, of uint8 frames (N, H, W, 3); grey levels, one a frame.

    Not of neighbours: a decoder that draws a faint checkerboard over everything would count as sharp.
    """
    x = frames.float()
    return (x[..., :, 2:, :] - x[..., :, :-2, :]).abs().mean((-3, -2, -1))
