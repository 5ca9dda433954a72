"""Frames <-> latents: an image autoencoder, one latent frame per game frame.

TokenizerConfig   sizes
Tokenizer         encode, decode; streaming by nature, since no frame looks at another
principal_start   weights with which the untrained tokenizer is the best linear one (PCA)

Both directions are a linear map of patches plus a convolutional correction that starts at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(kw_only=True)
class TokenizerConfig:
    """size_hw of a frame; channels of a latent; patch: pixels a latent is wide; widths: convolution channels at
    1, 1/2 and 1/4 of the patch; whiten: 0 keeps the channels' relative loudness, 1 makes all equally loud.
    """

    size_hw: list[int]
    channels: int
    patch: int
    widths: list[int]
    whiten: float

    def __post_init__(self) -> None:
        if self.patch % 4 or any(side % self.patch for side in self.size_hw):
            raise ValueError(f"tokenizer: patch {self.patch} must be a multiple of 4 that divides {self.size_hw}")
        if len(self.widths) != 3:
            raise ValueError(f"tokenizer: three widths expected, got {self.widths}")

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of one latent frame."""
        return self.channels, self.size_hw[0] // self.patch, self.size_hw[1] // self.patch


class Residual(nn.Module):
    """x + conv(conv(x)), the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> the same shape."""
        return x + self.second(F.silu(self.first(F.silu(x))))


class Tokenizer(nn.Module):
    """Image autoencoder with a linear path. Pixels are floats in [-1, 1] inside, uint8 at the doors."""

    mean: Tensor
    scale: Tensor
    pixel_mean: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        c, p = config.channels, config.patch
        w1, w2, w4 = config.widths
        self.linear_encode = nn.Conv2d(3, c, p, stride=p)
        self.linear_decode = nn.ConvTranspose2d(c, 3, p, stride=p)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(p // 2),
            nn.Conv2d(3 * (p // 2) ** 2, w2, 3, padding=1),
            Residual(w2),
            nn.Conv2d(w2, w1, 3, stride=2, padding=1),
            Residual(w1),
            nn.SiLU(),
            nn.Conv2d(w1, c, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(c, w1, 3, padding=1),
            Residual(w1),
            Residual(w1),
            nn.Conv2d(w1, 4 * w2, 1),
            nn.PixelShuffle(2),
            Residual(w2),
            Residual(w2),
            nn.Conv2d(w2, 4 * w4, 1),
            nn.PixelShuffle(2),
            Residual(w4),
            nn.Conv2d(w4, 3 * (p // 4) ** 2, 3, padding=1),
            nn.PixelShuffle(p // 4),
        )
        for last in (self.encoder[-1], self.decoder[-2]):
            nn.init.zeros_(last.weight)  # type: ignore[arg-type]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # 1.15 times as fast on a CPU
        self.register_buffer("pixel_mean", torch.zeros(3, p, p))
        self.register_buffer("mean", torch.zeros(c, 1, 1))
        self.register_buffer("scale", torch.ones(c, 1, 1))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Floats (N, 3, H, W) in [-1, 1] -> raw latents (N, C, h, w), before normalisation."""
        return self.linear_encode(pixels) + self.encoder(pixels)

    def decode_pixels(self, raw: Tensor) -> Tensor:
        """Raw latents (N, C, h, w) -> floats (N, 3, H, W), unclamped."""
        return self._linear_pixels(raw) + self.decoder(raw.contiguous(memory_format=torch.channels_last))

    def _linear_pixels(self, raw: Tensor) -> Tensor:
        """linear_decode(raw) + pixel_mean, as one product: oneDNN's transposed convolution takes 8 times as long."""
        p, (_, h, w) = self.config.patch, self.config.latent_shape
        weight, bias = self.linear_decode.weight.flatten(1), self.linear_decode.bias
        assert bias is not None
        patches = raw.flatten(2).transpose(1, 2) @ weight + (self.pixel_mean + bias.view(3, 1, 1)).flatten()
        return patches.view(-1, h, w, 3, p, p).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, h * p, w * p)

    def forward(self, pixels: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Reconstruction and raw latents; Gaussian noise of that many deviations makes the decoder forgiving."""
        raw = self.encode_pixels(pixels)
        return self.decode_pixels(raw + noise * torch.randn_like(raw)), raw

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """uint8 (..., H, W, 3) -> normalised latents (..., C, h, w), float32."""
        pixels = to_pixels(frames.reshape(-1, *frames.shape[-3:]))
        latents = (self.encode_pixels(pixels.to(self.mean.dtype)) - self.mean) / self.scale
        return latents.float().reshape(*frames.shape[:-3], *self.config.latent_shape)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents (..., C, h, w) -> uint8 (..., H, W, 3)."""
        raw = latents.reshape(-1, *latents.shape[-3:]).to(self.mean.dtype) * self.scale + self.mean
        pixels = self.decode_pixels(raw).permute(0, 2, 3, 1)  # (N, H, W, 3)
        frames = pixels.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return frames.reshape(*latents.shape[:-3], *frames.shape[-3:])

    @torch.no_grad()
    def measure_latents(self, raw: Tensor) -> None:
        """Set the stored statistics from raw latents (N, C, h, w) of the training frames.

        Afterwards latents have mean 0 a channel and mean square 1 over all of them; a channel's own deviation is
        its raw one to the power 1 - whiten, so that faint grain stays fainter than structure.
        """
        self.mean.copy_(raw.mean((0, 2, 3)).reshape_as(self.mean))
        deviation = raw.std((0, 2, 3)).reshape_as(self.scale)
        scale = deviation**self.config.whiten
        self.scale.copy_(scale * ((deviation / scale) ** 2).mean().sqrt())


def to_pixels(frames: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    return frames.permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.no_grad()
def principal_start(tokenizer: Tokenizer, pixels: Tensor) -> None:
    """Give the linear paths the principal components of the patches of `pixels` (N, 3, H, W).

    Component k is scaled by the root of its deviation and all by one factor, so that latents have mean square 1:
    equal loudness would let grain shout, raw loudness would bury detail.
    """
    c, p = tokenizer.config.channels, tokenizer.config.patch
    patches = F.unfold(pixels, p, stride=p).transpose(1, 2).reshape(-1, 3 * p * p)
    mean = patches.mean(0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    directions, deviation = vectors.flip(1)[:, :c], values.flip(0)[:c].clamp_min(1e-8).sqrt()
    gain = deviation.sqrt()
    gain = gain * (deviation / gain).pow(2).mean().sqrt()
    tokenizer.linear_encode.weight.copy_((directions / gain).T.reshape(c, 3, p, p))
    tokenizer.linear_encode.bias.copy_(-(mean @ directions) / gain)  # type: ignore[union-attr]
    tokenizer.linear_decode.weight.copy_((directions * gain).T.reshape(c, 3, p, p))
    tokenizer.linear_decode.bias.zero_()  # type: ignore[union-attr]
    tokenizer.pixel_mean.copy_(mean.reshape(3, p, p))
