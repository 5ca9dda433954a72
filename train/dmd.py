"""Stage 7 of 9: the student is corrected on its own rollouts (asymmetric distribution matching distillation).

    python -m train.dmd game=doom_garden            reads runs/doom_garden/consistency/, writes runs/doom_garden/dmd/
    Run the same command again to continue where it stopped.

A step is one update of the student and critic_steps of the fake score. It is short and watched: the weights whose
preview measured best are kept beside the last ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from train.cli import stage
from train.consistency import StudentPreviewConfig
from train.load import load_model, load_teacher, load_tokenizer, model_config
from train.preview import Preview
from worldmodel.config import plain, typed
from worldmodel.data.clips import Clip, LatentClips, of_one_length
from worldmodel.diffusion.dmd import DmdConfig, Dream, Rollout, begin, critic_loss, generator_loss, go_on, replay
from worldmodel.diffusion.rollout import Sampler, consistency
from worldmodel.games import GameConfig
from worldmodel.model.dit import CausalDiT
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start


@dataclass(kw_only=True)
class Config:
    """See conf/dmd.yaml."""

    game: GameConfig
    latents: str
    tokenizer: str
    student: str
    real_score: str
    shares: dict[str, float]
    optimizer: OptimizerConfig
    critic_optimizer: OptimizerConfig
    ema: float
    dmd: DmdConfig
    preview: StudentPreviewConfig
    loop: LoopConfig
    run: RunConfig


class Best:
    """The averaged weights with the smallest distance to reality so far; a named stateful thing of the run."""

    def __init__(self, ema: EMA[CausalDiT]) -> None:
        self.ema, self.distance = ema, float("inf")
        self.weights = {name: value.clone() for name, value in ema.model.state_dict().items()}

    def consider(self, figures: dict[str, float]) -> bool:
        """Keep the average if sharpness, late sharpness, brightness and motion are nearer to 1 than ever."""
        names = ("sharpness", "late_sharpness", "brightness", "motion")
        distance = sum(abs(1 - figures[name]) for name in names)
        if distance < self.distance:
            self.distance = distance
            self.weights = {name: value.clone() for name, value in self.ema.model.state_dict().items()}
        return distance == self.distance

    def state_dict(self) -> dict[str, Any]:
        """Weights and their distance."""
        return {"weights": self.weights, "distance": self.distance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped."""
        self.weights, self.distance = state["weights"], float(state["distance"])


class Pool:
    """The last rollouts and what the student made of them; a named stateful thing of the run."""

    def __init__(self, size: int) -> None:
        self.entries: deque[tuple[Rollout, torch.Tensor]] = deque(maxlen=size)

    def state_dict(self) -> dict[str, Any]:
        """Every rollout's fields."""
        return {"entries": [dict(run._asdict(), x=x) for run, x in self.entries]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped."""
        self.entries.clear()
        for entry in state["entries"]:
            self.entries.append((Rollout(*(entry[name] for name in Rollout._fields)), entry["x"]))


class Dreams:
    """Batches of dreams under way, taken in turn; each begins anew when its windows are over. Of different ages from
    the first round on: one is one window long, the last as long as all will be. They are not kept in checkpoints: a
    run that goes on begins them anew.
    """

    def __init__(self, student: CausalDiT, config: DmdConfig) -> None:
        self.student, self.config = student, config
        self.dreams: list[Dream | None] = [None] * config.dreams
        self.taken = 0

    def next(self, latents: torch.Tensor, actions: torch.Tensor, exit_step: int, sampler: Sampler) -> Rollout:
        """A window of the dream whose turn it is, from the clip's first frames where it begins."""
        d, turn = self.config, self.taken % self.config.dreams
        is_first = self.taken < d.dreams
        self.taken += 1
        dream = self.dreams[turn]
        if dream is None or not dream.has(d.frames):
            windows = -(-d.windows * (turn + 1) // d.dreams) if is_first else d.windows
            dream = begin(self.student, latents[:, : d.given], actions[:, : d.given + windows * d.frames])
            self.dreams[turn] = dream
        return go_on(self.student, dream, d.frames, d.sigmas, exit_step, sampler)


@stage("dmd")
def main(raw: DictConfig) -> None:
    """Alternate: one rollout, one update of the student, several of the fake score."""
    cfg = typed(Config, raw)
    d = cfg.dmd
    clips = LatentClips(cfg.latents, replace(of_one_length(d.length), shares=cfg.shares), split="train",
                        seed=cfg.run.seed)  # fmt: skip
    run = start("dmd", cfg.run, plain(raw) | model_config(cfg.student))
    student = load_model(cfg.student).to(run.device)
    real, fake = (load_teacher(cfg.real_score).to(run.device) for _ in range(2))
    real.requires_grad_(False)
    ema = EMA(student, cfg.ema)
    best = Best(ema)
    optimizer, critic = Optimizer(student, cfg.optimizer), Optimizer(fake, cfg.critic_optimizer)
    preview = Preview(cfg.latents, load_tokenizer(cfg.tokenizer), clips=cfg.preview.clips, given=cfg.preview.given,
                      frames=cfg.preview.frames)  # fmt: skip
    pool = Pool(d.pool)
    sampler = partial(consistency, noise_scale=d.noise_scale)
    dreams = Dreams(student, d)

    def dream(batch: Clip) -> Rollout:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        return dreams.next(latents, actions, int(torch.randint(len(d.sigmas), ())), sampler)

    def teach_critic(step: int) -> Any:
        past, x = pool.entries[int(torch.randint(len(pool.entries), ()))]
        return critic.step(critic_loss(fake, x, past, d), step, run.progress)["loss"]

    def update(step: int, batch: Clip) -> dict[str, Any]:
        with torch.autocast(run.device.type, torch.bfloat16):
            past = dream(batch)
            x = replay(student, past)
            pool.entries.append((past, x.detach()))
            losses = [
                teach_critic(step * d.critic_steps + i) for i in range(d.critic_steps if step else d.critic_warmup)
            ]
            loss = generator_loss(x, real, fake, past, d)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(student, step)
        return metrics | {"critic": sum(losses) / len(losses)}

    def look(step: int) -> None:
        figures = preview.measure(ema.model, cfg.preview.sigmas, sampler, run.dir / f"preview-{step:06d}.png")
        is_best = best.consider(figures)
        run.log(step, figures)
        run.say(
            f"step {step}: " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()) + ("  best" if is_best else "")
        )

    state: dict[str, Any] = {
        "model": student,
        "ema": ema,
        "best": best,
        "fake": fake,
        "pool": pool,
        "optimizer": optimizer,
        "critic": critic,
    }
    train(run, update, clips, state=state, loop=cfg.loop, preview=look)


if __name__ == "__main__":
    main()
