"""Where one plays: from options to the Env they mean, and what goes with it.

VenueConfig   which world, dreamed, real, both or replayed, and how
Venue         the Env, its title, its starts, its saves, its eye
open_venue    the one from the other, naming each stage
measure_tiers what to do after play, for the next choice of a tier
peek          what can be shown before anything is loaded
open_real     a real game by name

Not here: windows and players (ui/, play.py), pictures and buttons of what is not opened (glimpse.py).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import worldmodel
from worldmodel.config import load_yaml, typed
from worldmodel.data.both import Both
from worldmodel.data.episode import PICTURES, Episode, load_episode
from worldmodel.data.health import diagnosis
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.data.rerun import Rerun
from worldmodel.data.states import DEFAULT_TIER, Slots
from worldmodel.env import Env, Frame
from worldmodel.glimpse import BOTH, UNKNOWN_HW, look_at

GAMES = Path(__file__).parent.parent / "conf" / "game"
VERSION = "worldmodel 0.1"  # of what decides a dreamed frame, beside torch and the machine
QUEUED_STEPS = 64  # of a recording may wait for the disk
KNOWN_EVERY = 4  # of the frames before each start, for the eye
Tell = Callable[[str], None]


@dataclass(kw_only=True)
class VenueConfig:
    """The options of play.py that decide what is opened; conf/play.yaml explains them."""

    world: str | None
    env: str
    tier: str
    headroom: float
    replay: str | None
    verify: bool
    branch_at: int | None
    seed: int
    steps: int | None
    device: str
    threads: int | None
    backend: str
    record: Any
    saves: str
    plays: str | None

    @property
    def only_watches(self) -> bool:
        """True for a recording that is shown and not made again."""
        return bool(self.replay) and not (self.verify or self.branch_at is not None)


@dataclass
class Venue:
    """What is played. starts: (title, frame) of each; slots: where its states are saved; eye: what the world's
    tokenizer makes of a frame (tokenizer.eye); engine: what dreams; both None where nothing is dreamed. log:
    of this run, None where none is written. tiers: (name, facts) of each that a dream could be of, if of several.
    """

    env: Env
    title: str
    starts: Sequence[tuple[str, Frame]] = ()
    slots: Slots | None = None
    eye: Any = None
    engine: Any = None
    log: Recorder | None = None
    tiers: Sequence[tuple[str, str]] = ()


def safe_name(name: str) -> str:
    """Letters, digits, - and _ of a name, others as _: nothing that leaves a folder or moves a cursor."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80] or "_"


def open_real(name: str) -> Env:
    """The real game of that name. EnvError if it is not installed."""
    from worldmodel.games import GameConfig, open_game

    return open_game(typed(GameConfig, load_yaml(GAMES / f"{safe_name(name)}.yaml")))


def peek(cfg: VenueConfig, start: Any) -> tuple[tuple[int, int], Frame | None]:
    """Frame size (H, W) and the start frame of a bundled world, read in a moment and without torch; a guess of the
    size and None for any other: no picture is decoded for a stranger.
    """
    if cfg.replay:
        return UNKNOWN_HW, None
    size_hw, picture = look_at(cfg.world or worldmodel.default_world(), start if isinstance(start, int) else 0)
    return size_hw, picture if cfg.env == "dream" and isinstance(start, int) else None


def open_venue(cfg: VenueConfig, player: str, tell: Tell = lambda stage: None) -> Venue:
    """What was asked for; player: who a recording says has acted; tell gets the name of each stage as it begins.

    Raises WorldError, EnvError, EpisodeError or ConfigError: one line that says what to do.
    """
    episode = load_episode(cfg.replay) if cfg.replay else None
    if episode and cfg.only_watches and episode.meta.has_pictures:
        replay = Replay(episode.path)
        identity = f"episode {hashlib.sha256(json.dumps(replay.episode.meta.to_json()).encode()).hexdigest()}"
        return Venue(replay, f"{cfg.replay} (replay)", (), Slots(Path(cfg.saves) / "replay", identity, VERSION))
    told = str(episode.meta.extra.get("world", "")) if episode else ""
    chosen = cfg.world or told or worldmodel.default_world()
    tell(f"reading {Path(chosen).name}")
    kind = cfg.env if episode is None else _kind(episode)
    world = worldmodel.load(chosen, DEFAULT_TIER if kind == "real" else _tier(cfg, chosen, episode, player, tell))
    if episode and kind != "real" and episode.meta.world_sha256 != world.sha256:
        raise ValueError(
            f"{cfg.replay}: recorded in another world or version than {chosen}. Choose it with world=PATH."
        )
    name, game = safe_name(world.name), world.info["game"]
    about: dict[str, Any] = {"game": game, "licence": world.info["licence"], "player": player}
    about["extra"] = {"world": chosen}
    opened = (
        _real(cfg, game, tell) if kind == "real" else _dream(cfg, world, about, tell, _backend(cfg, episode, player))
    )
    if kind == "real":
        about["source"] = "real"
    elif kind == "both":
        real, engine = _real(cfg, game, tell), opened.env
        both = Both(real.env, engine)  # type: ignore[arg-type]  # a Rerun and an Engine
        about |= {"game": f"{game}{BOTH}", "check": lambda frame: diagnosis(engine, both.dreamed(frame))}
        assert opened.slots, "a dream can be saved"
        identity = f"{opened.slots.identity} beside {game}"
        slots = Slots(Path(cfg.saves) / f"{name}{BOTH}", identity, opened.slots.build, world.tier)
        opened = Venue(both, "", (), slots, engine=engine)
    recorder = _recorded(cfg, opened, name, QUEUED_STEPS if player == "human" else 0, about)
    if opened.engine and opened.slots:
        opened.engine.frames.may_change = lambda: not recorder.is_recording
        opened.engine.frames.changed = partial(_note_code, opened.engine, about["sampler"], opened.slots, opened.log)
        if cfg.threads is None and episode is None and player == "human":
            opened.engine.frames.budget_s = 1 / opened.engine.fps
    if cfg.record:
        recorder.start()
    tiers = [] if kind == "real" or len(world.tiers) == 1 else _tiers(world)
    where = {"real": "real", "both": "real beside dream"}.get(kind, "dream") + (f", tier {world.tier}" if tiers else "")
    title = f"{name} ({where})"
    return Venue(recorder, title, opened.starts, opened.slots, opened.eye, opened.engine, opened.log, tiers)


def measure_tiers(cfg: VenueConfig, say: Tell) -> None:
    """After play: see how fast the tiers are of which one was chosen automatically, for the next time. A world that is
    no longer there is told: play is over, and nothing is lost.
    """
    if cfg.tier == "auto" and not cfg.replay and cfg.env != "real":
        from worldmodel.tiers import measure

        try:
            measure(_setting(cfg, cfg.world or worldmodel.default_world()), say)
        except (ValueError, OSError) as error:
            say(f"tiers are not measured: {error}")


def _recorded(cfg: VenueConfig, opened: Venue, name: str, queued: int, about: dict[str, Any]) -> Recorder:
    """A Recorder around what was opened, and between them the one that writes the log, which is on at once."""
    inner = opened.env
    if cfg.plays and not cfg.verify:
        mine = about | {"extra": about["extra"] | {PICTURES: False}, "sampler": dict(about.get("sampler", {}))}
        inner = opened.log = Recorder(inner, Path(cfg.plays) / name, queued=queued, **mine)
        opened.log.start()
    folder = cfg.record if isinstance(cfg.record, str) else Path("recordings") / name
    return Recorder(inner, folder, queued=queued, **about)


def _kind(episode: Episode) -> str:
    """What made its frames: "dream", "real", or "both" side by side."""
    return "both" if episode.meta.game.endswith(BOTH) else episode.meta.source


def _real(cfg: VenueConfig, game: str, tell: Tell) -> Venue:
    tell(f"starting {game}")
    env = Rerun(open_real(game))
    rules = hashlib.sha256((GAMES / f"{safe_name(game)}.yaml").read_bytes()).hexdigest()
    slots = Slots(
        Path(cfg.saves) / f"{safe_name(game)}-real", f"game {game} {rules}", f"{VERSION}, {platform.machine()}"
    )
    return Venue(env, "", (), slots)


def _backend(cfg: VenueConfig, episode: Episode | None, player: str) -> str:
    """Which code makes the frames: a recording is made again by what made it; only a long play is worth building."""
    if episode:
        return str(episode.meta.sampler.get("backend", "eager"))
    return "eager" if cfg.backend == "auto" and player != "human" else cfg.backend


def _tier(cfg: VenueConfig, chosen: str, episode: Episode | None, player: str, tell: Tell) -> str:
    """In which tier the world is dreamed: a recording is made again in its own; a choice is for who plays."""
    if episode:
        told = str(episode.meta.sampler.get("tier", DEFAULT_TIER))[:20]
        if cfg.tier not in ("auto", told):
            raise ValueError(f"{cfg.replay}: recorded in tier {told}, not {cfg.tier}. Leave out tier={cfg.tier}.")
        return told
    if cfg.tier != "auto" or player != "human":
        return DEFAULT_TIER if cfg.tier == "auto" else cfg.tier
    from worldmodel.tiers import choose

    tier, why = choose(_setting(cfg, chosen))
    if why:
        tell(f"tier {tier}: {why}")
    return tier


def _tiers(world: Any) -> list[tuple[str, str]]:
    facts = {tier: f"{number / 1e6:.1f} M parameters" for tier, number in world.tiers.items()}
    return [(tier, f"{fact}  (here)" if tier == world.tier else fact) for tier, fact in facts.items()]


def _setting(cfg: VenueConfig, chosen: str) -> Any:
    from worldmodel.tiers import Setting

    return Setting(chosen, cfg.device, cfg.steps, _threads(cfg), cfg.backend, cfg.headroom)


def _threads(cfg: VenueConfig) -> int:
    from worldmodel.backends.place import cores

    return cfg.threads or max(1, cores() - 1)  # one core is left for the window


def _dream(cfg: VenueConfig, world: Any, about: dict[str, Any], tell: Tell, backend: str) -> Venue:
    """The dream of a world; what a recording of it says goes into `about`."""
    from worldmodel.tokenizer.eye import Eye

    tell("compiling the network" if backend.startswith(("compiled", "int8")) else "waking the network")
    engine = worldmodel.Engine(world, cfg.device, cfg.steps, cfg.seed, threads=_threads(cfg), backend=backend)
    sampler: dict[str, Any] = {"steps": engine.steps, "backend": engine.backend, "tier": world.tier}
    about |= {"source": "dream", "world_sha256": world.sha256, "sampler": sampler}
    about["check"] = partial(diagnosis, engine)
    folder = Path(cfg.saves) / safe_name(world.name)
    slots = Slots(folder, f"world {world.sha256}", _build_of(engine), world.tier)
    starts = [(title, frames[-1].numpy()) for title, frames in zip(world.starts, world.start_frames, strict=True)]
    eye = Eye(world.tokenizer, world.start_frames[:, ::KNOWN_EVERY].flatten(0, 1))
    return Venue(engine, "", starts, slots, eye, engine)


def _build_of(engine: Any) -> str:
    """What equal frames to the byte need: versions, machine, precision, and the code that makes the frames now."""
    import torch

    where = f"{platform.machine()}, {engine.device}, {engine.dtype}"
    return f"{VERSION}, torch {torch.__version__}, {where}, {engine.backend}"


def _note_code(engine: Any, sampler: dict[str, Any], slots: Slots, log: Recorder | None, line: str) -> None:
    """Other code makes the frames from now on: recordings, saves and the log are to say so."""
    sampler.update(backend=engine.backend)
    slots.build = _build_of(engine)
    if log:
        log.part("code", sampler)
