"""Play a world: dreamed, real or replayed, in a window.

    python play.py                                    the default world, dreamed on this machine
    python play.py world=doom_garden env=real record=true   the real game, recorded
    python play.py env=both                            real and dreamed side by side
    python play.py replay=recordings/doom_garden/000003         watch a recording
    python play.py replay=recordings/doom_garden/000003 headless=true out=a.gif   film it, keys too: mp4, gif, png
    python play.py replay=recordings/doom_garden/000003 verify=true     dream it again and compare every frame
    python play.py replay=recordings/doom_garden/000003 branch_at=450   play on from its frame 450
    python play.py control=script script="forward*8,left*4,fire" headless=true frames=300 out=a.mp4

All options: conf/play.yaml. Exit code 2: one line says what to change. WORLDMODEL_TRACEBACK=1 shows where it happened.
"""

import os

# For OpenMP in torch: threads that spin while they wait made a frame 7 to 40 times slower beside our window (2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises its errors instead of printing them: attempt() answers for all

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

import worldmodel
from worldmodel.action import Action
from worldmodel.config import load_yaml, typed
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.env import Env, EnvError, Sampled
from worldmodel.glimpse import buttons_of, look_at, look_into
from worldmodel.ui.again import opening_of, verify
from worldmodel.ui.film import export_episode
from worldmodel.ui.keyfile import load_keys, load_shortcuts
from worldmodel.ui.latch import Feel
from worldmodel.ui.options import attempt, check_choices, check_options, key_table, load_start
from worldmodel.ui.pages import Library
from worldmodel.ui.pictures import Pictures
from worldmodel.ui.session import Session
from worldmodel.ui.settings import KEPT, SIZES, SettingsError, keep_settings, load_settings
from worldmodel.ui.startup import Left, open_behind
from worldmodel.ui.tour import tour, tour_script
from worldmodel.ui.window import Window, WindowError, has_display
from worldmodel.venue import Venue, VenueConfig, measure_tiers, open_venue, peek

CONF = Path(__file__).with_name("conf")
USER_ERRORS = (ValueError, OSError, EnvError, WindowError, HydraException)
FROM_THE_START: Any = {"start": 0, "verify": False, "branch_at": None, "control": "human", "script": "", "tier": "auto"}
say = partial(print, flush=True)


@dataclass(kw_only=True)
class Config(VenueConfig):
    """What can be chosen; the values and their meaning are in conf/play.yaml."""

    control: str
    script: str
    start: Any
    pace: str
    hud: str
    scale: str
    filter: str
    redraw: str
    fullscreen: bool
    degrees_per_pixel: float
    stick_degrees: float
    dead_zone: float
    invert_y: bool
    toggle: bool
    headless: Any
    seconds: float
    frames: int | None
    out: str
    keys: str
    settings: str

    def __post_init__(self) -> None:
        feel_of(self)  # refuses what is absurd
        check_choices(vars(self))
        if not self.replay and (self.verify or self.branch_at is not None):
            raise ValueError("verify and branch_at need a recording: replay=FOLDER")
        if (self.control == "script") != bool(self.script):
            raise ValueError('control=script and script="forward*8,left*4,fire" belong together')


def feel_of(cfg: Config) -> Feel:
    """How mouse, stick and held keys feel. ValueError for what is absurd."""
    return Feel(
        degrees_per_pixel=cfg.degrees_per_pixel,
        stick_degrees=cfg.stick_degrees,
        dead_zone=cfg.dead_zone,
        invert_y=cfg.invert_y,
        toggle=cfg.toggle,
    )


class RecordingError(ValueError):
    """A recording that was asked for stopped before the end; the play did not."""


def play(cfg: Config, notice: str = "") -> tuple[Config | None, str | None]:
    """Open the world and hand it to a window, or to the tour where there is none; gives what to play next, if anything
    was chosen in the menu, and why a recording stopped, if one did. notice: shown first.
    """
    is_windowed = not cfg.verify and has_display() if cfg.headless == "auto" else not cfg.headless
    if is_windowed:
        wanted, problem = play_in_window(cfg, notice)
        if not wanted:
            measure_tiers(cfg, say)
        return (replace(cfg, **FROM_THE_START | wanted) if wanted else None), problem
    if cfg.headless == "auto" and not cfg.verify:
        say(f"no display: playing a tour of {cfg.seconds:g} s instead")
    begun = time.perf_counter()
    venue = open_venue(cfg, "tour")
    env = venue.env
    try:
        say(f"{venue.title}: loaded in {time.perf_counter() - begun:.2f} s")
        if cfg.verify:
            say(verify(str(cfg.replay), env, say))
            return None, None
        play_headless(replace(cfg, start=load_start(cfg.start, env.size_hw, say)), env)
    finally:
        env.close()
    return None, env.problem if isinstance(env, Recorder) else None


def with_settings(cfg: Config, arguments: Sequence[str]) -> Config:
    """What the player has set in the menu, where the command line does not say otherwise. SettingsError names the
    file.
    """
    given = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    kept = {key: value for key, value in load_settings(Path(cfg.settings)).items() if key in KEPT and key not in given}
    try:
        return replace(cfg, **kept)
    except ValueError as error:
        raise SettingsError(f"{cfg.settings}: {error}. Correct it, or delete it for the usual settings.") from error


def play_on(cfg: Config) -> None:
    """Play, and then what was chosen in the menu, until the player quits. What cannot be opened from the menu is said,
    and play goes on where it was; RecordingError at the end if a recording was lost.
    """
    chosen: Config | None = cfg
    before, notice, problems = None, "", list[str]()
    while chosen:
        try:
            if before and chosen.verify:  # asked for in the menu: told in the next window
                chosen, notice = before, verify_in_window(chosen)
                continue
            following, problem = play(chosen, notice)
            before, chosen, notice = chosen, following, ""
            problems += [problem] if problem else []
        except Left:
            break
        except USER_ERRORS as error:
            if before is None:
                raise
            before, chosen, notice = None, before, " ".join(str(error).split())
            say(notice)
    if problems:
        raise RecordingError(f"{problems[0]}. What was recorded before is kept. Make room, and record again.")


def play_headless(cfg: Config, env: Env) -> None:
    """Film a recording, a script or the tour, as fast as the world goes."""
    if isinstance(env, Replay):
        paths = export_episode(Path(str(cfg.replay)), Path(cfg.out))
        say(f"{env.episode.num_steps + 1} frames; wrote {', '.join(map(str, paths))}")
        return
    opening, idle = opening_of(env, cfg.script, cfg.replay, cfg.branch_at), (Action(), None)
    moves, world = opening.moves, env.world if isinstance(env, Recorder) else env

    def act(t: int) -> Action:
        action, steps = moves[t] if t < len(moves) else idle
        if steps is not None and isinstance(world, Sampled):
            world.steps = steps
        return action

    script, length = act if moves else None, len(moves) or round(cfg.seconds * env.fps)
    shown: dict[str, Any] = {"start": cfg.start, "seed": cfg.seed, "say": say}
    say(tour(env, cfg.frames or length, Path(cfg.out), script=script, begin=opening.begin, **shown).summary())


def library(cfg: Config, venue: Venue) -> Library:
    """What the menu offers beside this world."""
    folder = venue.env.folder if isinstance(venue.env, Recorder) else Path(str(cfg.replay)).parent
    others = (cfg.world,) if cfg.world and cfg.world not in worldmodel.worlds() else ()
    here = None if cfg.replay else cfg.world or worldmodel.default_world()
    first = Pictures(lambda name: venue.starts[0][1] if name == here and venue.starts else look_at(name)[1])
    plays = Path(cfg.plays) if cfg.plays else None
    shown = (venue.starts, here, () if cfg.replay else venue.tiers, first, Pictures(look_into), plays)
    return Library((*worldmodel.worlds(), *others), folder, Path(cfg.keys), Path(cfg.settings), *shown)


def play_in_window(cfg: Config, notice: str) -> tuple[dict[str, Any], str | None]:
    """Play until the player quits; gives the options of what was chosen in the menu instead, if anything was, and why
    a recording stopped. The window is there first, with the world's picture, and keeps its size for the next time.
    """
    size_hw, picture, shortcuts = *peek(cfg, cfg.start), load_shortcuts(Path(cfg.keys))
    place = "replay" if cfg.replay else f"{Path(cfg.world or worldmodel.default_world()).name} ({cfg.env})"
    window = Window("worldmodel", size_hw, cfg.scale, cfg.filter, load_settings(Path(cfg.settings))[SIZES].get(place))
    try:
        window.shortcuts = shortcuts
        if cfg.fullscreen:
            window.toggle_fullscreen()
        venue = open_behind(window, place, picture, lambda tell: open_venue(cfg, "human", tell), say)
        try:
            window.turn_to(f"worldmodel: {venue.title}", venue.env.size_hw)
            size = window.size
            wanted = play_session(cfg, venue, window, notice)
            if window.size != size:
                keep_settings(Path(cfg.settings), {SIZES: {place: list(window.size)}})
        finally:
            log = venue.log and venue.log.episode_path
            venue.env.close()
            if log and log.exists():  # a run without a step leaves none
                say(f"this run again: python play.py replay={log}")
        return wanted, venue.env.problem if isinstance(venue.env, Recorder) else None
    except Left:
        return {}, None
    finally:
        window.close()


def verify_in_window(cfg: Config) -> str:
    """Make a recording again and compare it, told in a window meanwhile; see verify. Left if the player closes it."""

    def work(tell: Callable[[str], None]) -> str:
        venue = open_venue(cfg, "tour", tell)
        try:
            tell("making it again")
            return verify(str(cfg.replay), venue.env, tell)
        finally:
            venue.env.close()

    window = Window("worldmodel", peek(cfg, 0)[0], cfg.scale, cfg.filter)
    try:
        return open_behind(window, f"{cfg.replay}: is it the same again?", look_into(str(cfg.replay)), work, say)
    finally:
        window.close()


def play_session(cfg: Config, venue: Venue, window: Window, notice: str) -> dict[str, Any]:
    """One session in a window; gives what to play next."""
    env = venue.env
    if venue.engine:
        note = venue.engine.frames.changed
        venue.engine.frames.changed = lambda line: (note(line), line and say(line))
        if cfg.pace == "uncapped" and venue.engine.frames.budget_s:
            venue.engine.frames.budget_s = 0.0
    world: dict[str, Any] = {"pace": cfg.pace, "start": load_start(cfg.start, env.size_hw, say), "seed": cfg.seed}
    world |= {"title": venue.title, "num_starts": max(1, len(venue.starts)), "slots": venue.slots, "eye": venue.eye}
    world |= {"opening": opening_of(env, cfg.script, cfg.replay, cfg.branch_at), "library": library(cfg, venue)}
    view: dict[str, Any] = {"hud": cfg.hud, "feel": feel_of(cfg), "out": Path(cfg.out), "notice": notice}
    view |= {"redraw": cfg.redraw, "keys": load_keys(Path(cfg.keys), env.actions.buttons, window.shortcuts)}
    session = Session(env, window, say=say, **world, **view)
    gc.freeze()  # what is loaded stays: the collector need not walk through it during play
    script = tour_script(env.actions, env.fps) if cfg.control == "tour" or (cfg.frames and not cfg.script) else None
    say(session.run(cfg.frames, script).summary())
    return session.wanted


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="play")
def main(raw: DictConfig) -> None:
    """Hydra's door; it exits here, because hydra writes a line of its own about errors that pass through it."""
    sys.exit(attempt(lambda: play_on(with_settings(typed(Config, raw), sys.argv[1:])), USER_ERRORS))


def after_help(arguments: Sequence[str]) -> str:
    """The worlds, and the player's keys."""
    keys = [load_yaml(CONF / "play.yaml")["keys"], *(a.removeprefix("keys=") for a in arguments if a[:5] == "keys=")]
    return f"Worlds: {', '.join(worldmodel.worlds())}\n\n{key_table(buttons_of(arguments), Path(keys[-1]))}"


def run() -> int:
    """From the command line to an exit code."""
    sys.argv[1:] = [f"script='{a[7:]}'" if a.startswith("script=") and a[7:8] not in "'\"" else a for a in sys.argv[1:]]
    code = attempt(lambda: check_options(sys.argv[1:], [field.name for field in fields(Config)]), USER_ERRORS)
    try:
        return code or attempt(main, USER_ERRORS)
    finally:
        is_help = not code and {"--help", "-h"} & set(sys.argv[1:])  # hydra has shown the options, and exits
        if is_help and attempt(lambda: say(after_help(sys.argv[1:])), USER_ERRORS):
            sys.exit(2)


if __name__ == "__main__":
    sys.exit(run())
