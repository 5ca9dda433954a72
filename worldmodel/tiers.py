"""Which tier of a world this machine plays: the largest that has been seen to make its frames in time.

Setting    the world, and what besides the machine decides how fast its tiers are
Choice     a tier, and in a few words why; choose: by what is known, at once
measure    play every tier for some frames, and keep what they took, for the next choice

Nothing is measured before play: the first frame is never late for it, and nothing disturbs what is measured after.
So the first play is in the smallest tier. A tier is measured by the code that would play it: machine code where that
lies in the cache, else eager; and again when there is other code for it, or where others kept the machine busy, so that
what was seen is not what it can. What is kept lies beside the machine code.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import worldmodel
from worldmodel.action import Action
from worldmodel.backends.compiled import SOURCES, WRITTEN, digest, recipe_for
from worldmodel.backends.int8 import wants_int8
from worldmodel.backends.place import cores, device_of, dtype_of, processor
from worldmodel.bundle import Offer, World, WorldError
from worldmodel.engine import Engine
from worldmodel.folders import cache_folder

log = logging.getLogger(__name__)
WARM_UP = 8  # frames that are not judged
FRAMES = 40  # judged, by their p90
MOST_S = 3.0  # for one tier's frames; one that is too slow for this world needs no more of them
FEWEST = 3  # frames judged all the same
BUSY = 1.5  # times the thread's own time that frames take on a CPU that others want too


@dataclass(frozen=True)
class Setting:
    """As in conf/play.yaml: world, device, steps, threads (a number), backend. headroom: the share of a frame's time
    that a tier has to leave free, at least 0 and below 1.
    """

    world: str
    device: str
    steps: int | None
    threads: int
    backend: str
    headroom: float


class Pace(NamedTuple):
    """Milliseconds that 9 of 10 frames took at most, the code that made them, and whether nobody was in their way."""

    p90_ms: float
    code: str
    is_quiet: bool


class Choice(NamedTuple):
    """why: empty where there was nothing to choose."""

    tier: str
    why: str


def choose(setting: Setting) -> Choice:
    """The largest tier that is known to leave enough of a frame's time free; the smallest, where none is. Raises
    WorldError as worldmodel.offer does.
    """
    offer = worldmodel.offer(setting.world)
    if len(offer.tiers) == 1:
        return Choice(offer.tiers[0], "")
    paces = _load(_place(offer, setting))
    tier = _largest(offer, paces, setting.headroom)
    if tier not in paces:
        return Choice(tier, "all are measured after play")
    pace = paces[tier]
    return Choice(tier, f"{pace.p90_ms:.1f} of {1000 / offer.fps:.1f} ms a frame, {pace.code}")


def measure(setting: Setting, say: Callable[[str], None]) -> None:
    """Keep the pace of every tier that was not yet measured in quiet by the code that would play it now, and say all in
    a line; nothing where there is one tier, or all is known.
    """
    offer = worldmodel.offer(setting.world)
    if len(offer.tiers) == 1:
        return
    place = _place(offer, setting)
    known = _load(place)
    paces = dict(known)
    for tier in offer.tiers:
        world = worldmodel.load(setting.world, tier)
        code = code_for(world, setting)
        if tier not in known or known[tier].code != code or not known[tier].is_quiet:
            try:
                paces[tier] = pace_of(world, setting, code)
            except WorldError as error:  # no levels for so many steps, or code that cannot be loaded
                log.warning("tier %s is not measured: %s", tier, error)
    if paces != known:
        _keep(place, paces)
        told = ", ".join(f"{tier} {pace.p90_ms:.1f} ms ({pace.code})" for tier, pace in paces.items())
        most_ms = (1 - setting.headroom) * 1000 / offer.fps
        busy = "" if all(pace.is_quiet for pace in paces.values()) else " (on a busy machine: measured again next time)"
        say(f"tiers: {told}; {most_ms:.1f} allowed: tier={_largest(offer, paces, setting.headroom)} from now on{busy}")


def code_for(world: World, setting: Setting) -> str:
    """The backend that measures a world: compiled or int8 where its code is there already, on a GPU what is wished."""
    device = device_of(setting.device)
    if setting.backend == "eager" or device.type != "cpu":
        return setting.backend
    torch.set_num_threads(setting.threads)  # torch's code is made for a number of threads
    dtype = dtype_of("auto", device)
    int8 = wants_int8(setting.backend, dtype, accepted=world.int8)
    recipe = recipe_for(world, setting.steps or world.steps, dtype, setting.threads, int8=int8)
    return ("int8" if recipe.is_int8 else "compiled") if recipe.path.exists() else "eager"


def pace_of(world: World, setting: Setting, code: str) -> Pace:
    """Of the steps of an Engine with nothing else to do."""
    engine = Engine(world, setting.device, setting.steps, threads=setting.threads, backend=code)
    engine.reset()
    taken: list[float] = []
    own = time.thread_time()
    until = time.perf_counter() + MOST_S
    while len(taken) < WARM_UP + FRAMES and (len(taken) < FEWEST + 1 or time.perf_counter() < until):
        begun = time.perf_counter()
        engine.step(Action())
        taken.append(1000 * (time.perf_counter() - begun))
    own_ms = 1000 * (time.thread_time() - own)
    is_quiet = device_of(setting.device).type != "cpu" or sum(taken) <= BUSY * own_ms
    engine.close()
    judged = taken[WARM_UP:] if len(taken) > WARM_UP + FEWEST else taken[1:]
    return Pace(round(float(np.percentile(judged, 90)), 2), code, is_quiet)


def _largest(offer: Offer, paces: dict[str, Pace], headroom: float) -> str:
    most_ms = (1 - headroom) * 1000 / offer.fps
    fitting = [tier for tier in offer.tiers if tier in paces and paces[tier].p90_ms <= most_ms]
    return (fitting or offer.tiers)[-1 if fitting else 0]


def _place(offer: Offer, setting: Setting) -> Path:
    """The file of a world's paces: of this machine, this setting and this code."""
    machine = [platform.node(), processor(), cores(), torch.__version__, torch.backends.cpu.get_cpu_capability()]
    own = [offer.sha256, device_of(setting.device), setting.steps, setting.threads, setting.backend]
    return cache_folder() / f"tiers-{digest([*own, *machine], SOURCES + WRITTEN)}.json"


def _load(place: Path) -> dict[str, Pace]:
    """What is kept; nothing where there is no such file, or it is damaged."""
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
        return {str(tier): Pace(float(p90), str(code), bool(quiet)) for tier, (p90, code, quiet) in read.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(place: Path, paces: dict[str, Pace]) -> None:
    temporary = place.with_name(f"{place.stem}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(paces, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, place)
    except OSError as error:
        log.warning("what tiers took is not kept: %s", error)
