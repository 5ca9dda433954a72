"""Stage 1 of 9: players in a real game -> episodes on disk.

python -m train.collect game=doom_garden        writes data/doom_garden/
Run the same command again to continue; episodes that are complete are kept.
"""

from __future__ import annotations

import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from train.cli import stage
from worldmodel.action import ActionSpace
from worldmodel.config import typed
from worldmodel.data.episode import EpisodeError, Meta, list_episodes, load_episode, write_index
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.data.writer import EpisodeWriter
from worldmodel.games import GameConfig, open_game, player


@dataclass(kw_only=True)
class Config:
    """See conf/collect.yaml."""

    game: GameConfig
    out: str
    episodes: int
    heldout: int
    steps: int
    seed: int
    heldout_seed: int
    workers: int
    crf: int | None


def play(cfg: Config, worker: int, jobs: list[tuple[str, int]]) -> list[str]:
    """Play the episodes of one worker, one game for all; (split, seed) each."""
    game = open_game(cfg.game, watch=True)
    done = []
    for split, seed in jobs:
        path = Path(cfg.out) / "episodes" / f"{split}-{seed:07d}"
        shutil.rmtree(path, ignore_errors=True)
        frame = game.reset(seed=seed)
        name, act = player(game, cfg.game, seed)
        meta = Meta(
            source="real", game=cfg.game.name, fps=game.fps, size_hw=game.size_hw, action_space=game.actions,
            seed=seed, licence=cfg.game.licence, player=name, split=split,
        )  # fmt: skip
        writer = EpisodeWriter(path, meta, cfg.crf)
        writer.first(frame)
        for _ in range(cfg.steps):
            action = act()
            writer.add(action, game.step(action), **game.facts())
        writer.close()
        done.append(path.name)
    game.close()
    return done


def complete(path: Path, steps: int) -> bool:
    """Whether an episode is whole and as long as asked for."""
    try:
        return (path / "meta.json").exists() and load_episode(path).num_steps == steps
    except EpisodeError:
        return False


def report(out: Path, space: ActionSpace) -> str:
    """How often each button is held and each mouse speed occurs, as text; also shows frames in frames.png."""
    held: Counter[str] = Counter()
    mouse: list[float] = []
    players: Counter[str] = Counter()
    paths = list_episodes(out)
    for path in paths:
        episode = load_episode(path)
        players[episode.meta.player] += episode.num_steps
        for action in episode.actions:
            held.update(action.buttons)
            mouse.append(action.mouse[0])
    total = len(mouse)
    lines = [
        f"{total} steps in {len(paths)} episodes; " + ", ".join(f"{n} {c / total:.0%}" for n, c in players.items())
    ]
    lines += [
        f"  {name:13s} {held[name] / total:6.1%}  {'#' * round(50 * held[name] / total)}" for name in space.buttons
    ]
    edges = [0, 0.01, 1, 2, 4, 8, 12, np.inf]
    counts, _ = np.histogram(np.abs(mouse), bins=edges)
    names = ["none", "< 1", "1-2", "2-4", "4-8", "8-12", "> 12"]
    lines += [f"  mouse {n:6s}° {c / total:6.1%}  {'#' * round(50 * c / total)}" for n, c in zip(names, counts)]
    picks = [load_episode(p).frames(200 % load_episode(p).num_steps, 1)[0] for p in paths[:: max(1, len(paths) // 48)]]
    save_image(out / "frames.png", contact_sheet(picks[:48], columns=8))
    return "\n".join(lines)


@stage("collect")
def main(raw: DictConfig) -> None:
    """Play what is missing, then index and describe the dataset."""
    cfg = typed(Config, raw)
    out = Path(cfg.out)
    jobs = [("train", cfg.seed + k) for k in range(cfg.episodes)]
    jobs += [("heldout", cfg.heldout_seed + k) for k in range(cfg.heldout)]
    jobs = [(s, k) for s, k in jobs if not complete(out / "episodes" / f"{s}-{k:07d}", cfg.steps)]
    batches = [jobs[i : i + 4] for i in range(0, len(jobs), 4)]
    with (
        ProcessPoolExecutor(cfg.workers, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(jobs) * cfg.steps, unit=" frames", unit_scale=True, mininterval=5) as bar,
    ):
        for done in as_completed([pool.submit(play, cfg, i, batch) for i, batch in enumerate(batches)]):
            bar.update(len(done.result()) * cfg.steps)
    write_index(out, {"game": cfg.game.name, "licence": cfg.game.licence})
    first = load_episode(list_episodes(out)[0])
    text = report(out, first.meta.action_space)
    (out / "actions.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
