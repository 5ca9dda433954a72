"""Stage 2 of 9: frames -> image autoencoder.

python -m train.tokenizer game=doom_garden      reads data/doom_garden/, writes runs/doom_garden/tokenizer/
Run the same command again to continue where it stopped.

python -m train.tokenizer game=doom_garden init=assets/worlds/doom_garden learns=decoder
better pictures of the same latents: students and teachers that were trained on them stay what they are
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import load_tokenizer
from worldmodel.config import ConfigError, plain, typed
from worldmodel.data.clips import FramePool
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.games import GameConfig
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig, principal_start, to_pixels
from worldmodel.tokenizer.discriminator import Discriminator, DiscriminatorConfig
from worldmodel.tokenizer.loss import ReconstructionConfig, psnr, reconstruction_loss, sharpness
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, Stateful, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start

SAMPLE = 10**9  # a step no training reaches: the frames that statistics are measured on


@dataclass(kw_only=True)
class Config:
    """See conf/tokenizer.yaml."""

    game: GameConfig
    data: str
    frame_stride: int
    init: str | None
    learns: str
    tokenizer: TokenizerConfig
    loss: ReconstructionConfig
    discriminator: DiscriminatorConfig
    optimizer: OptimizerConfig
    ema: float
    loop: LoopConfig
    run: RunConfig

    def __post_init__(self) -> None:
        if self.learns not in ("all", "decoder") or (self.learns == "decoder" and self.init is None):
            raise ConfigError(
                f"tokenizer: learns is all, or decoder where init names a tokenizer to keep the latents of, got "
                f"{self.learns} and init={self.init}"
            )


def begin(cfg: Config, pool: FramePool) -> Tokenizer:
    """The tokenizer to train: that of cfg.init, or the best linear one of the frames."""
    if cfg.init is None:
        tokenizer = Tokenizer(cfg.tokenizer)
        principal_start(tokenizer, to_pixels(torch.from_numpy(pool.batch(SAMPLE, 2000))))
        return tokenizer
    tokenizer = load_tokenizer(cfg.init)
    if tokenizer.config != cfg.tokenizer:
        raise ConfigError(f"tokenizer: {cfg.init} has other sizes, {tokenizer.config}, than asked for, {cfg.tokenizer}")
    return tokenizer.train().requires_grad_(True)


class Opponent:
    """The discriminator of cfg and what it learns with."""

    def __init__(self, cfg: Config, device: torch.device) -> None:
        self.network = Discriminator(cfg.discriminator).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        learning = replace(cfg.optimizer, kind="adamw", lr=cfg.discriminator.lr, betas=cfg.discriminator.betas)
        self.optimizer = Optimizer(self.network, learning)

    def judge(self, output: torch.Tensor) -> torch.Tensor:
        """The term of the decoder's loss, before its weight."""
        with torch.autocast(output.device.type, torch.bfloat16):
            return self.network.verdict(output).float()

    def learn(self, output: torch.Tensor, target: torch.Tensor, step: int, progress: float) -> float | torch.Tensor:
        """One step of its own; its loss, 2 where it cannot tell."""
        with torch.autocast(target.device.type, torch.bfloat16):
            loss = self.network.loss(output, target)
        return self.optimizer.step(loss.float(), step, progress)["loss"]


@stage("tokenizer")
def main(raw: DictConfig) -> None:
    """Train, with reconstructions of held-out frames to look at on the way."""
    cfg = typed(Config, raw)
    run = start("tokenizer", cfg.run, plain(raw))
    pool = FramePool(cfg.data, split="train", stride=cfg.frame_stride, seed=cfg.run.seed)
    heldout = FramePool(cfg.data, split="heldout", stride=37, seed=1)
    unseen = torch.from_numpy(heldout.frames[np.linspace(0, len(heldout.frames) - 1, 300).astype(int)])

    tokenizer = (Tokenizer(cfg.tokenizer) if (run.dir / "checkpoint").exists() else begin(cfg, pool)).to(run.device)
    learns_latents = cfg.learns == "all"
    for part in (tokenizer.linear_encode, tokenizer.encoder):
        part.requires_grad_(learns_latents)
    ema = EMA(tokenizer, cfg.ema)
    optimizer = Optimizer(tokenizer, cfg.optimizer)
    opponent = Opponent(cfg, run.device) if cfg.discriminator.weight else None
    state: dict[str, Stateful] = {"model": tokenizer, "ema": ema, "optimizer": optimizer}

    def update(step: int, batch: np.ndarray) -> dict[str, Any]:
        pixels = to_pixels(torch.from_numpy(batch).to(run.device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16):
            output, latents = tokenizer(pixels, cfg.loss.latent_noise)
        output = output.float()
        loss = reconstruction_loss(output, pixels, latents.float(), cfg.loss)
        if opponent is not None:
            loss = loss + cfg.discriminator.weight * opponent.judge(output)
        metrics = optimizer.step(loss, step, run.progress)
        if opponent is not None:
            metrics["discriminator_loss"] = opponent.learn(output, pixels, step, run.progress)
        ema.update(tokenizer, step)
        return metrics

    def measure_latents() -> None:
        if not learns_latents:
            return
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

    if opponent is not None:
        state |= {"discriminator": opponent.network, "discriminator_optimizer": opponent.optimizer}
    train(run, update, pool, state=state, loop=cfg.loop, preview=measure, finish=measure_latents)


if __name__ == "__main__":
    main()
