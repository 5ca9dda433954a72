"""Stage 7 of 9: the student is corrected on its own rollouts (asymmetric distribution matching distillation).

    python -m train.dmd game=doom_garden            reads runs/doom_garden/consistency/, writes runs/doom_garden/dmd/
    Run the same command again to continue where it stopped.

A step is one update of the student and critic_steps of the fake score. It is short and watched: the weights whose
preview measured best are kept beside the last ones; the first preview is of the student it begins with.
dmd.opponent > 0: an opponent learns beside the critic.
"""

from __future__ import annotations

from collections import defaultdict, deque
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
from worldmodel.diffusion.dmd import (
    DmdConfig,
    Dream,
    Rollout,
    begin,
    critic_loss,
    generator_loss,
    go_on,
    opponent_loss,
    recorded,
    replay,
)
from worldmodel.diffusion.opponent import Opponent
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
    opponent_optimizer: OptimizerConfig
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


class Critics:
    """The fake score and the opponent, each with its optimizer: what learns beside the student."""

    def __init__(self, cfg: Config, device: torch.device) -> None:
        self.config = cfg.dmd
        self.fake = load_teacher(cfg.real_score).to(device)
        self.opponent = Opponent(self.fake.config.width).to(device)
        self.critic = Optimizer(self.fake, cfg.critic_optimizer)
        self.marking = Optimizer(self.opponent, cfg.opponent_optimizer)
        self.state = {"fake": self.fake, "critic": self.critic, "opponent": self.opponent, "marking": self.marking}

    def teach(self, step: int, progress: float, pool: Pool, played: Clip) -> dict[str, Any]:
        """The updates that belong to one of the student, on its last rollouts and on recorded play; mean losses."""
        d, losses = self.config, defaultdict(list)
        for i in range(d.critic_steps if step else d.critic_warmup):
            k = step * d.critic_steps + i
            past, x = pool.entries[int(torch.randint(len(pool.entries), ()))]
            losses["critic"].append(self.critic.step(critic_loss(self.fake, x, past, d), k, progress)["loss"])
            if d.opponent:
                true = recorded(played.latents, played.actions, past)
                loss = opponent_loss(self.opponent, self.fake, x, past, true, d)
                losses["opponent"].append(self.marking.step(loss, k, progress)["loss"])
        return {name: sum(values) / len(values) for name, values in losses.items()}


@stage("dmd")
def main(raw: DictConfig) -> None:
    """Alternate: one rollout, one update of the student, several of the fake score."""
    cfg = typed(Config, raw)
    d = cfg.dmd
    known = model_config(cfg.student)
    told = known["num_actions"]
    clips = LatentClips(cfg.latents, replace(of_one_length(d.length), shares=cfg.shares), split="train",
                        seed=cfg.run.seed, told=told)  # fmt: skip
    run = start("dmd", cfg.run, plain(raw) | known)
    student = load_model(cfg.student).to(run.device)
    real = load_teacher(cfg.real_score).to(run.device).requires_grad_(False)
    if real.num_actions != told:
        raise ValueError(
            f"{cfg.real_score} is told {real.num_actions} numbers of an action, {cfg.student} {told}: train both with "
            "the same compass="
        )
    critics = Critics(cfg, run.device)
    ema = EMA(student, cfg.ema)
    best = Best(ema)
    optimizer = Optimizer(student, cfg.optimizer)
    preview = Preview(cfg.latents, load_tokenizer(cfg.tokenizer), clips=cfg.preview.clips, given=cfg.preview.given,
                      frames=cfg.preview.frames, told=told)  # fmt: skip
    pool = Pool(d.pool)
    sampler = partial(consistency, noise_scale=d.noise_scale)
    dreams = Dreams(student, d)

    def update(step: int, batch: Clip) -> dict[str, Any]:
        latents, actions = (torch.from_numpy(part).to(run.device) for part in batch)
        with torch.autocast(run.device.type, torch.bfloat16):
            past = dreams.next(latents, actions, int(torch.randint(len(d.sigmas), ())), sampler)
            x = replay(student, past)
            pool.entries.append((past, x.detach()))
            losses = critics.teach(step, run.progress, pool, Clip(latents, actions))
            loss = generator_loss(x, real, critics.fake, past, d, critics.opponent if d.opponent else None)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(student, step)
        return metrics | losses

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
        "pool": pool,
        "optimizer": optimizer,
        **critics.state,
    }
    train(run, update, clips, state=state, loop=cfg.loop, preview=look, looks_first=True)


if __name__ == "__main__":
    main()
