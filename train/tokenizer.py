"""Stage 2 of 9: frames -> image autoencoder.

python -m train.tokenizer game=doom_garden      reads data/doom_garden/, writes runs/doom_garden/tokenizer/
Run the same command again to continue where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from train.cli import stage
from worldmodel.config import plain, typed
from worldmodel.data.clips import FramePool
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.games import GameConfig
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig, principal_start, to_pixels
from worldmodel.tokenizer.loss import ReconstructionConfig, psnr, reconstruction_loss, sharpness
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start

SAMPLE = 10**9  # a step no training reaches: the frames that statistics are measured on


@dataclass(kw_only=True)
class Config:
    """See conf/tokenizer.yaml."""

    game: GameConfig
    data: str
    frame_stride: int
    tokenizer: TokenizerConfig
    loss: ReconstructionConfig
    optimizer: OptimizerConfig
    ema: float
    loop: LoopConfig
    run: RunConfig


@stage("tokenizer")
def main(raw: DictConfig) -> None:
    """Train, with reconstructions of held-out frames to look at on the way."""
    cfg = typed(Config, raw)
    run = start("tokenizer", cfg.run, plain(raw))
    pool = FramePool(cfg.data, split="train", stride=cfg.frame_stride, seed=cfg.run.seed)
    heldout = FramePool(cfg.data, split="heldout", stride=37, seed=1)
    unseen = torch.from_numpy(heldout.frames[np.linspace(0, len(heldout.frames) - 1, 300).astype(int)])

    tokenizer = Tokenizer(cfg.tokenizer).to(run.device)
    if not (run.dir / "checkpoint").exists():
        principal_start(tokenizer, to_pixels(torch.from_numpy(pool.batch(SAMPLE, 2000))).to(run.device))
    ema = EMA(tokenizer, cfg.ema)
    optimizer = Optimizer(tokenizer, cfg.optimizer)

    def update(step: int, batch: np.ndarray) -> dict[str, Any]:
        pixels = to_pixels(torch.from_numpy(batch).to(run.device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16):
            output, latents = tokenizer(pixels, cfg.loss.latent_noise)
        loss = reconstruction_loss(output.float(), pixels, latents.float(), cfg.loss)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(tokenizer, step)
        return metrics

    def measure_latents() -> None:
        sample = torch.from_numpy(pool.batch(SAMPLE, 2000)).split(100)
        with torch.no_grad():
            ema.model.measure_latents(torch.cat([ema.model.encode_pixels(to_pixels(s.to(run.device))) for s in sample]))

    def measure(step: int) -> None:
        measure_latents()
        ours = torch.cat([ema.model.decode(ema.model.encode(part.to(run.device))).cpu() for part in unseen.split(50)])
        figures = {
            "heldout_psnr": psnr(ours, unseen).mean().item(),
            "heldout_sharpness": (sharpness(ours).mean() / sharpness(unseen).mean()).item(),
        }
        run.log(step, figures)
        run.say(f"step {step}: held-out PSNR {figures['heldout_psnr']:.2f} dB, "
                f"sharpness {figures['heldout_sharpness']:.1%} of real")  # fmt: skip
        picks = np.linspace(0, len(unseen) - 1, 18).astype(int)
        rows = [frame for i in range(0, 18, 6) for which in (unseen, ours) for frame in which[picks[i : i + 6]].numpy()]
        save_image(run.dir / "preview.png", contact_sheet(rows, columns=6, scale=2))

    train(run, update, pool, state={"model": tokenizer, "ema": ema, "optimizer": optimizer}, loop=cfg.loop,
          preview=measure, finish=measure_latents)  # fmt: skip


if __name__ == "__main__":
    main()
