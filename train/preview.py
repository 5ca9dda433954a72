"""Look at a model while it learns: dream beside reality from held-out clips, as a picture and as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from worldmodel.data.clips import LatentClips, of_one_length
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import Sampler, prefill, rollout
from worldmodel.model.dit import CausalDiT
from worldmodel.tokenizer.autoencoder import Tokenizer
from worldmodel.tokenizer.loss import psnr, sharpness

Rollout = Callable[..., torch.Tensor]  # called as rollout is


class Preview:
    """Held-out clips of given + frames latents; dreams the frames under their true actions. told: as of LatentClips."""

    def __init__(
        self, latents: str, tokenizer: Tokenizer, *, clips: int, given: int, frames: int, told: int | None = None
    ) -> None:
        self.tokenizer, self.given = tokenizer, given
        length = given + frames
        data = LatentClips(latents, of_one_length(length), split="heldout", seed=5, told=told)
        (starts,) = data.starts[length]
        clip = data.at(starts[np.linspace(0, len(starts) - 1, clips).astype(int)], length)
        self.latents, self.actions = torch.from_numpy(clip.latents), torch.from_numpy(clip.actions)
        self.real = self._decode(self.latents[:, given:])

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        device = next(self.tokenizer.parameters()).device
        return torch.stack([self.tokenizer.decode(clip.to(device)).cpu() for clip in latents])  # (B, T, H, W, 3)

    @torch.no_grad()
    def measure(
        self, model: CausalDiT, sigmas: Sequence[float], sampler: Sampler, path: Path, roll: Rollout = rollout
    ) -> dict[str, float]:
        """Dream by `roll`, save the sheet (a row real, a row dreamed) and compare. psnr_h: dB against the decoded truth
        at frame h; sharpness, brightness, motion: over the real clips'; late_sharpness: of the last quarter.
        """
        device = next(model.parameters()).device
        latents, actions = self.latents.to(device), self.actions.to(device)
        cache = model.new_cache(len(latents))
        shape = (1, 1, *latents.shape[2:])

        def noise(t: int, step: int) -> torch.Tensor:
            return torch.cat([frame_noise(b, t, step, shape) for b in range(len(latents))]).to(device)

        with torch.autocast(device.type, torch.bfloat16):
            prefill(model, cache, latents[:, : self.given], actions[:, : self.given])
            dreamed = roll(model, cache, actions[:, self.given :], sigmas, noise, sampler)
        dream = self._decode(dreamed.float())
        frames = dream.shape[1]
        columns = np.linspace(0, frames - 1, 10).astype(int)
        rows = [film[b, t].numpy() for b in range(min(4, len(dream))) for film in (self.real, dream) for t in columns]
        save_image(path, contact_sheet(rows, columns=len(columns)))
        quality = psnr(dream.flatten(0, 1), self.real.flatten(0, 1)).reshape(dream.shape[:2]).mean(0)
        late = slice(frames - frames // 4, None)
        return {
            **{f"psnr_{h}": quality[h - 1].item() for h in (1, 4, 16) if h <= frames},
            "sharpness": _ratio(sharpness(dream[:, :8]), sharpness(self.real[:, :8])),
            "late_sharpness": _ratio(sharpness(dream[:, late]), sharpness(self.real[:, late])),
            "brightness": _ratio(dream.float(), self.real.float()),
            "motion": _ratio(_motion(dream), _motion(self.real)),
        }


def _motion(film: torch.Tensor) -> torch.Tensor:
    return (film[:, 1:].float() - film[:, :-1].float()).abs()


def _ratio(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return (ours.mean() / theirs.mean()).item()
