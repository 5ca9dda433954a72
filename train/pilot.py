"""The judge of minutes: a pilot learns to play on from the picture, by imitating the scripted player.

python -m train.pilot game=racer loop.budget_minutes=3      reads data/racer/, writes runs/racer/pilot/
python -m train.evaluate world=racer pilot=runs/racer/pilot/pilot.safetensors
On the way it drives there too, taking turns with the scripted player, and learns what that would have done. At the
end it drives alone, beside the scripted player from the same moments. How often it survives there decides whether it
may judge: least_pilot of conf/evaluate.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from train.cli import stage
from train.inverse import places
from train.reference import place
from worldmodel.action import ActionSpace
from worldmodel.config import plain, typed
from worldmodel.data.episode import Episode, list_episodes, load_episode, read_json
from worldmodel.env import EpisodeEnd
from worldmodel.evaluation.flight import Practice, piloted, practise
from worldmodel.evaluation.judges import save_judge
from worldmodel.evaluation.manifest import ProbesConfig
from worldmodel.evaluation.pilot import (
    Flight,
    Flights,
    Pilot,
    PilotConfig,
    held_names,
    loss,
    small,
    targets,
)
from worldmodel.evaluation.reference import Level
from worldmodel.games import Game, GameConfig, open_game, player
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, Metrics, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start

FIRST_TRIAL = 1_500_000  # seeds that neither training nor an evaluation plays
FIRST_PRACTICE = 1_600_000


@dataclass(kw_only=True)
class Trial:
    """Runs in the real game at the end, and how long each is."""

    runs: int
    seconds: float


@dataclass(kw_only=True)
class PracticeConfig:
    """Films flown in the real game at every preview but the last, and learnt from: how many, how long each is, and
    the shortest and the longest stretch that pilot or player acts for.
    """

    runs: int
    seconds: float
    stretch_seconds: tuple[float, float]

    def __post_init__(self) -> None:
        least, most = self.stretch_seconds
        if self.runs < 0 or not 0 < least <= most or self.seconds < most:
            raise ValueError(
                "practice: runs must be >= 0, stretch_seconds two ascending numbers > 0, and seconds no less than these"
            )


@dataclass(kw_only=True)
class Config:
    """See conf/pilot.yaml."""

    game: GameConfig
    probes: ProbesConfig
    data: str
    episodes: int
    heldout: int
    pilot: PilotConfig
    practice: PracticeConfig
    trial: Trial
    optimizer: OptimizerConfig
    ema: float
    loop: LoopConfig
    run: RunConfig


def flights(cfg: Config, split: str, most: int) -> list[Flight]:
    """The first episodes of a split that a player to be imitated played; ValueError if there are none."""
    metas = ((path, read_json(path / "meta.json")) for path in list_episodes(cfg.data))
    paths = [path for path, meta in metas if meta["split"] == split and meta["player"] in cfg.probes.imitate]
    if not paths:
        raise ValueError(f"{cfg.data}: no {split} episodes of {cfg.probes.imitate}. Make some with train.collect.")
    return [recorded(cfg, load_episode(path)) for path in paths[:most]]


def recorded(cfg: Config, episode: Episode) -> Flight:
    """What one episode teaches."""
    film = Practice(episode.frames(), episode.action_vectors(), places(episode))
    return flight(cfg, film, episode.meta.action_space)


def flight(cfg: Config, film: Practice, space: ActionSpace) -> Flight:
    """What one film teaches."""
    wanted, mask = targets(film.wanted, film.places, space, cfg.probes)
    return Flight(small(film.frames, cfg.pilot.size_hw), torch.from_numpy(wanted), torch.from_numpy(mask))


class School:
    """The real game, where the pilot practises. What it flew is kept in `folder`, a file each time, for a run that goes
    on later.
    """

    def __init__(self, cfg: Config, folder: Path) -> None:
        self.cfg, self.folder = cfg, folder
        folder.mkdir(parents=True, exist_ok=True)

    def flown(self) -> dict[int, list[Flight]]:
        """Films by the step they were flown after."""
        paths = sorted(self.folder.glob("*.pt"), key=lambda path: int(path.stem))
        return {int(path.stem): [Flight(*film) for film in torch.load(path, weights_only=True)] for path in paths}

    def fly(self, pilot: Pilot, step: int) -> list[Flight]:
        """The films of a step."""
        practice, (least, most) = self.cfg.practice, self.cfg.practice.stretch_seconds
        with closing(open_game(self.cfg.game, watch=True)) as env:
            level, steps = level_of(self.cfg, env), round(practice.seconds * env.fps)
            shortest = max(self.cfg.pilot.frames, round(least * env.fps))
            stretch = (shortest, max(shortest, round(most * env.fps)))
            films = [
                flight(self.cfg, film, env.actions)
                for seed in islice(self._seeds(env, step), practice.runs)
                if len((film := practise(level, pilot, seed, steps, stretch)).wanted) >= self.cfg.pilot.frames
            ]
        temporary = self.folder / f"{step}.tmp"
        torch.save([tuple(film) for film in films], temporary)
        temporary.rename(temporary.with_suffix(".pt"))
        return films

    def _seeds(self, env: Game, step: int) -> Iterator[int]:
        """Seeds whose player is one to be imitated, others at every step."""
        for draw in count():
            seed = FIRST_PRACTICE + int(np.random.default_rng([step, draw]).integers(100_000))
            env.reset(seed=seed)
            if player(env, self.cfg.game, seed)[0] in self.cfg.probes.imitate:
                yield seed


def level_of(cfg: Config, env: Game) -> Level:
    """The game with its scripted players."""
    return Level(env, lambda seed: player(env, cfg.game, seed)[1], partial(place, env))


def ways(level: Level, seeds: range, steps: int) -> np.ndarray:
    """How far a level's player comes in the real game, (runs, 2): length of the way, and farthest from its beginning.
    A run that the game ends is as long as it was.
    """
    result = []
    for seed in seeds:
        level.env.reset(seed=seed)
        act, where = level.players(seed), []
        with suppress(EpisodeEnd):
            for _ in range(steps):
                level.env.step(act())
                where.append(level.place())
        path = np.asarray(where)
        steps_taken, away = np.diff(path, axis=0), path - path[0]
        result.append((np.linalg.norm(steps_taken, axis=1).sum(), np.linalg.norm(away, axis=1).max()))
    return np.asarray(result)


def drive(cfg: Config, pilot: Pilot) -> None:
    """Say how far the pilot and the scripted player come from the same beginnings."""
    env = open_game(cfg.game, watch=True)
    level = level_of(cfg, env)
    seeds, steps = range(FIRST_TRIAL, FIRST_TRIAL + cfg.trial.runs), round(cfg.trial.seconds * env.fps)
    ours, theirs = ways(piloted(level, pilot, cfg.pilot.frames), seeds, steps), ways(level, seeds, steps)
    env.close()
    for i, name in enumerate(("way", "farthest from its beginning")):
        each = ", ".join(f"{a:.0f}/{b:.0f}" for a, b in zip(ours[:, i], theirs[:, i], strict=True))
        print(f"{name}: pilot {ours[:, i].mean():.1f}, scripted player {theirs[:, i].mean():.1f} (each: {each})")


@stage("pilot")
def main(raw: DictConfig) -> None:
    """Learn to imitate, then drive."""
    cfg = typed(Config, raw)
    run = start("pilot", cfg.run, plain(raw))
    lessons, unseen = flights(cfg, "train", cfg.episodes), flights(cfg, "heldout", cfg.heldout)
    run.say(f"{len(lessons)} episodes of {cfg.probes.imitate}")
    space = load_episode(list_episodes(cfg.data)[0]).meta.action_space
    pilot = Pilot(cfg.pilot, held_names(space, cfg.probes)).to(run.device)
    ema, optimizer = EMA(pilot, cfg.ema), Optimizer(pilot, cfg.optimizer)
    batches, fresh = (Flights(films, cfg.pilot.frames, cfg.run.seed) for films in (lessons, unseen))
    school = School(cfg, Path(cfg.run.dir) / "practice") if cfg.practice.runs else None
    known = school.flown() if school else {}
    for since, films in known.items():
        batches.add(films, since)

    def update(step: int, batch: tuple[Tensor, Tensor, Tensor]) -> Metrics:
        frames, wanted, mask = (part.to(run.device) for part in batch)
        told = pilot(frames.contiguous(memory_format=torch.channels_last))  # three times as fast on a CPU
        metrics = optimizer.step(loss(told, wanted, mask), step, run.progress)
        ema.update(pilot, step)
        return metrics

    def measure(step: int) -> None:
        with torch.no_grad():
            frames, wanted, mask = (part.to(run.device) for part in fresh.batch(0, 1024))
            told = ema.model(frames)
        error = float(loss(told, wanted, mask))
        explained = 1 - float((told[:, -1] - wanted[:, -1]).square().mean() / wanted[:, -1].var().clamp_min(1e-6))
        run.log(step, {"loss_heldout": error, "turn_explained": explained})
        run.say(f"step {step}: held-out loss {error:.4f}, {explained:.2f} of the turning explained")
        save_judge(Path(cfg.run.dir) / "pilot.safetensors", ema.model)
        is_due = step % cfg.loop.preview_every == 0 and step < cfg.loop.steps
        if school and is_due and step not in known:
            batches.add(school.fly(ema.model, step), step)

    train(run, update, batches, state={"model": pilot, "ema": ema, "optimizer": optimizer}, loop=cfg.loop,
          preview=measure)  # fmt: skip
    if cfg.trial.runs:
        drive(cfg, ema.model.eval())


if __name__ == "__main__":
    main()
