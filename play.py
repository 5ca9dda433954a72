"""Play a world: dreamed, real or replayed, in a window.

    python play.py                                    the default world, dreamed on this machine
    python play.py world=doom env=real record=true    the real game, recorded to recordings/doom/
    python play.py replay=recordings/doom/000003      watch a recording
    python play.py headless=true seconds=5            no window: a tour, filmed to out/

All options: conf/play.yaml. Exit code 2: one line says what to change. WORLDMODEL_TRACEBACK=1 shows where it happened.
"""

import os

# Read by OpenMP when torch is loaded: its threads must not spin while they wait. Beside any busy neighbour, such as
# our own window, that made a frame 7 to 40 times slower (2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises its errors instead of printing them: attempt() answers for all

import gc
import sys
import time
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from worldmodel.config import load_yaml, typed
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.env import Env, EnvError
from worldmodel.ui.options import attempt, check_choices, check_options, load_start, safe_name
from worldmodel.ui.session import Session
from worldmodel.ui.tour import tour, tour_script
from worldmodel.ui.window import Window, WindowError, has_display

USER_ERRORS = (ValueError, OSError, EnvError, WindowError, HydraException)
GAMES = Path(__file__).with_name("conf") / "game"
say = partial(print, flush=True)


@dataclass(kw_only=True)
class Config:
    """What can be chosen; the values and their meaning are in conf/play.yaml."""

    world: str | None
    env: str
    replay: str | None
    start: Any
    seed: int
    steps: int | None
    device: str
    threads: int | None
    compile: bool
    record: Any
    pace: str
    hud: str
    scale: str
    filter: str
    fullscreen: bool
    degrees_per_pixel: float
    headless: Any
    seconds: float
    frames: int | None
    out: str

    def __post_init__(self) -> None:
        check_choices(vars(self))


def open_env(cfg: Config, player: str) -> tuple[Env, str, int]:
    """The Env that was asked for, its title, and how many starts it has; player: who a recording says has acted."""
    if cfg.replay:
        return Replay(cfg.replay), f"{cfg.replay} (replay)", 1
    import worldmodel

    world = worldmodel.load(cfg.world or worldmodel.default_world())
    name = safe_name(world.name)
    about: dict[str, Any] = {"game": world.info["game"], "licence": world.info["licence"], "player": player}
    env: Env
    if cfg.env == "real":
        from worldmodel.games import GameConfig, open_game

        game = load_yaml(GAMES / f"{safe_name(world.info['game'])}.yaml")
        env, num_starts = open_game(typed(GameConfig, game)), 1
        about["source"] = "real"
    else:
        import torch

        threads = cfg.threads or max(1, torch.get_num_threads() - 1)  # one core is left for the window
        env = engine = worldmodel.Engine(world, cfg.device, cfg.steps, cfg.seed, threads=threads, compile=cfg.compile)
        num_starts = len(world.starts)
        about |= {"source": "dream", "world_sha256": world.sha256, "sampler": {"steps": engine.steps}}
    recorder = Recorder(env, cfg.record if isinstance(cfg.record, str) else Path("recordings") / name, **about)
    if cfg.record:
        recorder.start()
    return recorder, f"{name} ({cfg.env})", num_starts


def play(cfg: Config) -> None:
    """Open the world and hand it to a window, or to the tour where there is none."""
    is_windowed = has_display() if cfg.headless == "auto" else not cfg.headless
    if cfg.headless == "auto" and not is_windowed:
        say(f"no display: playing a tour of {cfg.seconds:g} s instead")
    begun = time.perf_counter()
    env, title, num_starts = open_env(cfg, "human" if is_windowed else "tour")
    try:
        say(f"{title}: loaded in {time.perf_counter() - begun:.2f} s")
        cfg.start = load_start(cfg.start, env.size_hw, say)
        if is_windowed:
            play_in_window(cfg, env, title, num_starts)
        else:
            say(tour(env, cfg.seconds, Path(cfg.out), start=cfg.start, seed=cfg.seed, say=say).summary())
    finally:
        env.close()


def play_in_window(cfg: Config, env: Env, title: str, num_starts: int) -> None:
    """Play until the player quits."""
    window = Window(f"worldmodel: {title}", env.size_hw, cfg.scale, cfg.filter)
    try:
        if cfg.fullscreen:
            window.toggle_fullscreen()
        world: dict[str, Any] = {"pace": cfg.pace, "start": cfg.start, "seed": cfg.seed, "num_starts": num_starts}
        view: dict[str, Any] = {"hud": cfg.hud, "degrees_per_pixel": cfg.degrees_per_pixel, "out": Path(cfg.out)}
        session = Session(env, window, title=title, say=say, **world, **view)
        gc.freeze()  # what is loaded stays: the collector need not walk through it during play
        script = tour_script(env.actions, env.fps) if cfg.frames else None
        say(session.run(cfg.frames, script).summary())
    finally:
        window.close()


@hydra.main(version_base="1.3", config_path=str(Path(__file__).with_name("conf")), config_name="play")
def main(raw: DictConfig) -> None:
    """Hydra's door; it exits here, because hydra writes a line of its own about errors that pass through it."""
    sys.exit(attempt(lambda: play(typed(Config, raw)), USER_ERRORS))


def run() -> int:
    """From the command line to an exit code."""
    options = [field.name for field in fields(Config)]
    return attempt(lambda: check_options(sys.argv[1:], options), USER_ERRORS) or attempt(main, USER_ERRORS)


if __name__ == "__main__":
    sys.exit(run())
