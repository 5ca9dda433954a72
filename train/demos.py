"""Beside stage 1: human play, from demo files -> episodes on disk, next to those of the scripted players.

python -m train.demos        writes data/doom/episodes/*-human-*
Run the same command again to continue; episodes that are complete are kept. Needs dsda-doom: see games/demos.py.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from train.cli import stage
from train.collect import complete, report
from worldmodel.action import ActionSpace
from worldmodel.config import typed
from worldmodel.data.episode import Meta, list_episodes, load_episode, write_index
from worldmodel.data.recorder import EpisodeWriter
from worldmodel.evaluation.control import horizontal_shift
from worldmodel.games import DoomConfig, GameConfig
from worldmodel.games.demos import Demo, Wad, film, find_wad, lives, read_demo, to_action, track
from worldmodel.games.doom import TICRATE, fit
from worldmodel.games.doom_art import softened

LICENCE = "Freedoom levels, art and demos, BSD-3-Clause, https://freedoom.github.io; rendered by dsda-doom (GPL-2)"
LAGS = range(-2, 3)  # steps by which actions are moved against frames in the check


@dataclass(kw_only=True)
class Config:
    """See conf/demos.yaml."""

    game: GameConfig
    demos: str
    out: str
    only: str
    heldout: list[str]
    shortest_s: float
    workers: int
    crf: int | None
    wads: dict[str, Wad]


def wad_of(cfg: Config, demo: Demo) -> Path:
    """The levels of a demo, by its name."""
    key = demo.name.rpartition("_")[0]
    if key not in cfg.wads:
        raise ValueError(f"{demo.name}: no levels are named for it. Call it NAME_DEMOn, NAME one of {list(cfg.wads)}")
    return find_wad(cfg.wads[key])


def settings(cfg: Config) -> DoomConfig:
    """The settings of the game whose episodes these become."""
    if cfg.game.doom is None:
        raise ValueError(f"game={cfg.game.name}: the demos are of Doom. Use game=doom.")
    return cfg.game.doom


def write(cfg: Config, source: Path, player: int) -> list[str]:
    """Episodes of one player of a demo, one a life; returns their names. Those that are complete are not made again."""
    doom, demo = settings(cfg), read_demo(source)
    skip, size_hw = doom.frame_skip, (cfg.game.size_hw[0], cfg.game.size_hw[1])
    wad, commands = wad_of(cfg, demo), demo.commands[:, player]
    poses = track(demo, wad)[:, player]
    spans = lives(poses, round(cfg.shortest_s * TICRATE))
    split = "heldout" if demo.name in cfg.heldout else "train"
    paths = [Path(cfg.out) / "episodes" / f"{split}-human-{demo.name}-p{player}-{k:02d}" for k in range(len(spans))]
    names = [path.name for path in paths]
    if all(complete(path, (last - first) // skip) for path, (first, last) in zip(paths, spans)):
        return names
    width, height = (int(n) for n in doom.render.removeprefix("RES_").split("X"))
    art = softened(wad, doom.blur_texels) if doom.blur_texels else None
    frames = enumerate(film(demo, wad, player, (height, width), art))
    for path, (first, last) in zip(paths, spans):
        shutil.rmtree(path, ignore_errors=True)
        meta = Meta(
            source="real", game=cfg.game.name, fps=TICRATE / skip, size_hw=size_hw, player="human", split=split,
            action_space=doom.actions, licence=LICENCE,
            extra={"demo": demo.name, "player": player, "level": demo.level, "first_tic": first},
        )  # fmt: skip
        writer = EpisodeWriter(path, meta, cfg.crf)
        writer.first(fit(next(frame for t, frame in frames if t == first), size_hw))
        for t, frame in islice(frames, skip - 1, (last - first) // skip * skip, skip):
            action, slot = to_action(commands[t - skip + 1 : t + 1], doom.mouse_degrees)
            weapon = {} if slot is None else {"weapon": slot}
            writer.add(action, fit(frame, size_hw), pose=[round(float(v), 2) for v in poses[t, :3]], **weapon)
        writer.close()
    for _ in frames:
        pass  # to its end, where it is checked
    return names


def alignment(paths: list[Path]) -> str:
    """Correlation of the turns asked for with the picture's shift, by lag in steps: must peak at 0."""
    turns, shifts = [], []
    for path in paths:
        episode = load_episode(path)
        turns.append(np.asarray([action.mouse[0] for action in episode.actions]))
        shifts.append(horizontal_shift(episode.frames()))
    figures = {}
    for lag in LAGS:
        asked = np.concatenate([t[max(lag, 0) : len(t) + min(lag, 0)] for t in turns])
        shown = np.concatenate([s[max(-lag, 0) : len(s) - max(lag, 0)] for s in shifts])
        figures[lag] = float(np.corrcoef(asked, shown)[0, 1])
    text = "  ".join(f"{lag:+d}: {r:.2f}" for lag, r in figures.items())
    if max(figures, key=lambda lag: figures[lag]) != 0:
        raise RuntimeError(f"human play: the frames do not follow the actions (correlation by lag {text})")
    return f"turns against the picture's shift, correlation by lag in steps: {text}"


@stage("demos")
def main(raw: DictConfig) -> None:
    """Make what is missing, then index and describe the dataset."""
    cfg = typed(Config, raw)
    settings(cfg)
    sources = sorted(p for p in Path(cfg.demos).glob("*.lmp*") if p.name.startswith(cfg.only))
    if not sources:
        raise ValueError(f"{cfg.demos}: no .lmp or .lmp.gz whose name begins with {cfg.only!r}")
    for source in sources:
        wad_of(cfg, read_demo(source))  # what is missing is said now, not after minutes of work
    jobs = [(source, player) for source in sources for player in range(read_demo(source).commands.shape[1])]
    names: list[str] = []
    with (
        ProcessPoolExecutor(cfg.workers, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(jobs), unit=" views", mininterval=5) as bar,
    ):
        for done in as_completed([pool.submit(write, cfg, *job) for job in jobs]):
            names += done.result()
            bar.update()
    out = Path(cfg.out)
    index = write_index(out, {"game": cfg.game.name, "licence": cfg.game.licence})
    paths = [path for path in list_episodes(out) if path.name in names]
    text = report(out, ActionSpace.from_json(index["action_space"])) + "\n" + alignment(paths)
    minutes = sum(load_episode(path).num_steps for path in paths) / index["fps"] / 60
    text += f"\nhuman: {minutes:.1f} minutes in {len(paths)} episodes, {len(jobs)} views of {len(sources)} demos"
    (out / "actions.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
