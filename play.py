"""Play a world: dreamed, real or replayed, in a window.

    python play.py                                    the default world, dreamed on this machine
    python play.py world=doom env=real record=true    the real game, recorded to recordings/doom/
    python play.py world=doom env=both                real and dreamed side by side
    python play.py replay=recordings/doom/000003      watch a recording
    python play.py replay=recordings/doom/000003 verify=true     dream it again and compare every frame
    python play.py replay=recordings/doom/000003 branch_at=450   play on from its frame 450
    python play.py control=script script="forward*8,left*4,fire" headless=true frames=300 out=a.mp4
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
import hashlib
import json
import platform
import sys
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from worldmodel.action import Action
from worldmodel.config import load_yaml, typed
from worldmodel.data.both import Both
from worldmodel.data.episode import load_episode
from worldmodel.data.health import diagnosis
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay, begin_again, first_difference
from worldmodel.data.states import Slots
from worldmodel.env import Env, EnvError
from worldmodel.ui.abilities import Opening
from worldmodel.ui.keymap import load_keys
from worldmodel.ui.options import attempt, check_choices, check_options, load_start, parse_script, safe_name
from worldmodel.ui.pages import Library
from worldmodel.ui.session import Session
from worldmodel.ui.tour import tour, tour_script
from worldmodel.ui.window import Window, WindowError, has_display

USER_ERRORS = (ValueError, OSError, EnvError, WindowError, HydraException)
GAMES = Path(__file__).with_name("conf") / "game"
VERSION = "worldmodel 0.1"  # of what decides a dreamed frame, beside torch and the machine
FROM_THE_START: dict[str, Any] = {"start": 0, "verify": False, "branch_at": None, "control": "human", "script": ""}
QUEUED_STEPS = 64  # of a recording may wait for the disk
say = partial(print, flush=True)


@dataclass(kw_only=True)
class Config:
    """What can be chosen; the values and their meaning are in conf/play.yaml."""

    world: str | None
    env: str
    replay: str | None
    verify: bool
    branch_at: int | None
    control: str
    script: str
    start: Any
    seed: int
    steps: int | None
    device: str
    threads: int | None
    compile: bool
    backend: str
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
    keys: str
    saves: str

    def __post_init__(self) -> None:
        check_choices(vars(self))
        if not self.replay and (self.verify or self.branch_at is not None):
            raise ValueError("verify and branch_at need a recording: replay=FOLDER")
        if (self.control == "script") != bool(self.script):
            raise ValueError('control=script and script="forward*8,left*4,fire" belong together')


@dataclass
class Opened:
    """What is played: the Env, its title, how many starts it has, and where its states are saved."""

    env: Env
    title: str
    num_starts: int
    slots: Slots | None


def open_real(name: str) -> Env:
    """The real game of that name. EnvError if it is not installed."""
    from worldmodel.games import GameConfig, open_game

    return open_game(typed(GameConfig, load_yaml(GAMES / f"{safe_name(name)}.yaml")))


def open_env(cfg: Config, player: str) -> Opened:
    """What was asked for; player: who a recording says has acted."""
    episode = load_episode(cfg.replay) if cfg.replay else None
    if cfg.replay and not (cfg.verify or cfg.branch_at is not None):
        replay = Replay(cfg.replay)
        identity = f"episode {hashlib.sha256(json.dumps(replay.episode.meta.to_json()).encode()).hexdigest()}"
        return Opened(replay, f"{cfg.replay} (replay)", 1, Slots(Path(cfg.saves) / "replay", identity, VERSION))
    import worldmodel

    told = str(episode.meta.extra.get("world", "")) if episode else ""
    chosen = cfg.world or told or worldmodel.default_world()
    world = worldmodel.load(chosen)
    is_real = cfg.env == "real" if episode is None else episode.meta.source == "real"
    is_both = episode is None and cfg.env == "both"
    if episode and not is_real and episode.meta.world_sha256 != world.sha256:
        raise ValueError(
            f"{cfg.replay}: recorded in another world or version than {chosen}. Choose it with world=PATH."
        )
    name = safe_name(world.name)
    about: dict[str, Any] = {"game": world.info["game"], "licence": world.info["licence"], "player": player}
    about["extra"] = {"world": chosen}
    env: Env
    num_starts, slots, frames = 1, None, None
    if is_real:
        env = open_real(world.info["game"])
        about["source"] = "real"
    else:
        import torch

        threads = cfg.threads or max(1, torch.get_num_threads() - 1)  # one core is left for the window
        backend = "compiled" if cfg.compile else cfg.backend
        if episode:  # made again to the byte by what made it
            backend = str(episode.meta.sampler.get("backend", "eager"))
        elif backend == "auto" and player != "human":
            backend = "eager"
        env = engine = worldmodel.Engine(world, cfg.device, cfg.steps, cfg.seed, threads=threads, backend=backend)
        num_starts = len(world.starts)
        sampler = {"steps": engine.steps, "backend": engine.backend}
        frames = engine.frames
        frames.changed = lambda line: (sampler.update(backend=engine.backend), say(line))
        about |= {"source": "dream", "world_sha256": world.sha256, "sampler": sampler}
        build = f"{VERSION}, torch {torch.__version__}, {platform.machine()}, {engine.device}, {engine.dtype}"
        slots = Slots(Path(cfg.saves) / name, f"world {world.sha256}", build)
        about["check"] = partial(diagnosis, engine)
        if is_both:
            env, num_starts, slots = Both(open_real(world.info["game"]), engine), 1, None
            about |= {"game": f"{world.info['game']}-both", "check": lambda frame: None}
    folder = cfg.record if isinstance(cfg.record, str) else Path("recordings") / name
    recorder = Recorder(env, folder, queued=QUEUED_STEPS if player == "human" else 0, **about)
    if frames:
        frames.may_change = lambda: not recorder.is_recording
    if cfg.record:
        recorder.start()
    return Opened(
        recorder, f"{name} ({'real' if is_real else 'real beside dream' if is_both else 'dream'})", num_starts, slots
    )


class ReplayError(ValueError):
    """A recording that is not what the world makes now."""


def opening_of(cfg: Config, env: Env) -> Opening:
    """What is played before the player takes over: a recording up to branch_at, or a script."""
    if cfg.script:
        return Opening([(action, None) for action in parse_script(cfg.script, env.actions)])
    if cfg.branch_at is None:
        return Opening(())
    episode = load_episode(str(cfg.replay))
    if not 0 <= cfg.branch_at <= episode.num_steps:
        raise ReplayError(f"{cfg.replay}: no frame {cfg.branch_at}; it has frames 0 to {episode.num_steps}")
    moves = list(zip(episode.actions, episode.sampling_steps, strict=True))[: cfg.branch_at]
    return Opening(moves, lambda env: begin_again(env, episode), is_fast=True)


def verify(cfg: Config, env: Env) -> None:
    """Make a recording again and compare every frame; ReplayError names the first that differs."""
    episode = load_episode(str(cfg.replay))
    every = max(1, round(10 * env.fps))
    t = first_difference(
        env, episode, lambda t: say(f"{t} of {episode.num_steps} frames equal") if t % every == 0 else None
    )
    if t is not None:
        at = f"frame {t} ({t / env.fps:.1f} s)"
        raise ReplayError(f"{cfg.replay}: {at} is the first that differs. Another machine, torch or version made it.")
    say(f"{cfg.replay}: all {episode.num_steps + 1} frames made again, byte by byte")


def play(cfg: Config) -> Config | None:
    """Open the world and hand it to a window, or to the tour where there is none; gives what to play next, if anything
    was chosen in the menu.
    """
    is_windowed = not cfg.verify and has_display() if cfg.headless == "auto" else not cfg.headless
    if cfg.headless == "auto" and not is_windowed and not cfg.verify:
        say(f"no display: playing a tour of {cfg.seconds:g} s instead")
    begun, wanted = time.perf_counter(), dict[str, Any]()
    opened = open_env(cfg, "human" if is_windowed else "tour")
    env = opened.env
    try:
        say(f"{opened.title}: loaded in {time.perf_counter() - begun:.2f} s")
        cfg.start = load_start(cfg.start, env.size_hw, say)
        if cfg.verify:
            verify(cfg, env)
        elif is_windowed:
            wanted = play_in_window(cfg, opened)
        else:
            play_headless(cfg, env)
    finally:
        env.close()
    return replace(cfg, **FROM_THE_START | wanted) if wanted else None


def play_on(cfg: Config) -> None:
    """Play, and then what was chosen in the menu, until the player quits."""
    chosen: Config | None = cfg
    while chosen:
        chosen = play(chosen)


def play_headless(cfg: Config, env: Env) -> None:
    """Film a script or the tour, as fast as the world goes."""
    opening, idle = opening_of(cfg, env), Action()
    moves = [action for action, _ in opening.moves]
    script = (lambda t: moves[t] if t < len(moves) else idle) if moves else None
    length = env.episode.num_steps if isinstance(env, Replay) else len(moves) or round(cfg.seconds * env.fps)
    shown: dict[str, Any] = {"start": cfg.start, "seed": cfg.seed, "say": say}
    say(tour(env, cfg.frames or length, Path(cfg.out), script=script, begin=opening.begin, **shown).summary())


def library(cfg: Config, env: Env, keys: Path) -> Library:
    """What the menu offers beside this world."""
    import worldmodel

    folder = env.folder if isinstance(env, Recorder) else Path(str(cfg.replay)).parent
    others = (cfg.world,) if cfg.world and cfg.world not in worldmodel.worlds() else ()
    return Library((*worldmodel.worlds(), *others), folder, keys)


def play_in_window(cfg: Config, opened: Opened) -> dict[str, Any]:
    """Play until the player quits; gives the options of what was chosen in the menu instead, if anything was."""
    env = opened.env
    window = Window(f"worldmodel: {opened.title}", env.size_hw, cfg.scale, cfg.filter)
    try:
        if cfg.fullscreen:
            window.toggle_fullscreen()
        world: dict[str, Any] = {"pace": cfg.pace, "start": cfg.start, "seed": cfg.seed}
        view: dict[str, Any] = {"hud": cfg.hud, "degrees_per_pixel": cfg.degrees_per_pixel, "out": Path(cfg.out)}
        world |= {"title": opened.title, "num_starts": opened.num_starts, "slots": opened.slots}
        keys = Path(cfg.keys)
        world |= {"opening": opening_of(cfg, env), "library": library(cfg, env, keys)}
        view["keys"] = load_keys(keys, env.actions.buttons)
        session = Session(env, window, say=say, **world, **view)
        gc.freeze()  # what is loaded stays: the collector need not walk through it during play
        script = tour_script(env.actions, env.fps) if cfg.control == "tour" or (cfg.frames and not cfg.script) else None
        say(session.run(cfg.frames, script).summary())
        return session.wanted
    finally:
        window.close()


@hydra.main(version_base="1.3", config_path=str(Path(__file__).with_name("conf")), config_name="play")
def main(raw: DictConfig) -> None:
    """Hydra's door; it exits here, because hydra writes a line of its own about errors that pass through it."""
    sys.exit(attempt(lambda: play_on(typed(Config, raw)), USER_ERRORS))


def run() -> int:
    """From the command line to an exit code."""
    options = [field.name for field in fields(Config)]
    sys.argv[1:] = [f"script='{a[7:]}'" if a.startswith("script=") and a[7:8] not in "'\"" else a for a in sys.argv[1:]]
    return attempt(lambda: check_options(sys.argv[1:], options), USER_ERRORS) or attempt(main, USER_ERRORS)


if __name__ == "__main__":
    sys.exit(run())
