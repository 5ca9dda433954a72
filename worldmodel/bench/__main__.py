"""How fast a world is here, against what it could be: the ladder, the limit, a busy neighbour, the first frame.

    python -m worldmodel.bench                                  the default world
    python -m worldmodel.bench world=doom_garden compiled=true  with machine code, minutes the first time
    python -m worldmodel.bench world=PATH tier=big              another of its students
    python -m worldmodel.bench dtype=float32 frames=300 only=dg out=out/bench

only: letters of rungs (default: all); steps, threads, frames (measured), parity (frames compared), contended=false,
first=false leave parts out; envs=1,2,4,8 adds batches of so many dreams.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded, see play.py
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import worldmodel
from worldmodel.backends.compiled import example
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.place import dtype_of
from worldmodel.bench.limit import environment, limit, products
from worldmodel.bench.measure import batches, busy, first_frame, in_turn, peak_mb, warm
from worldmodel.bench.report import GATES, row, table, write
from worldmodel.bench.rungs import ladder
from worldmodel.bench.setting import in_precision, reference
from worldmodel.compass import Compass

DEFAULTS = {
    "world": worldmodel.default_world(), "tier": "default", "dtype": "auto", "steps": 0, "threads": 1, "frames": 100,
    "parity": 64, "only": "abcdefghi", "compiled": False, "contended": True, "first": True, "envs": "",
    "out": "out/bench",
}  # fmt: skip
SLOW = 3  # frames that rungs without a memory make before they are measured


def options(words: list[str], defaults: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
    """NAME=VALUE words over the defaults, each of its default's kind. ValueError for others."""
    chosen: dict[str, Any] = dict(defaults)
    for word in words:
        name, is_there, value = word.partition("=")
        if name not in defaults or not is_there:
            raise ValueError(f"{word!r} is no option; they are {', '.join(f'{k}={v}' for k, v in defaults.items())}")
        kind: Any = type(defaults[name])
        if kind is bool and value not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {value}")
        chosen[name] = value == "true" if kind is bool else kind(value)
    return chosen


def bench(chosen: dict[str, Any]) -> dict[str, Any]:
    """Measure; what the report needs, as builtins."""
    torch.set_num_threads(chosen["threads"])
    chosen = chosen | {"dtype": str(dtype_of(chosen["dtype"], torch.device("cpu"))).removeprefix("torch.")}
    world = worldmodel.load(chosen["world"], chosen["tier"])
    steps, dtype = chosen["steps"] or world.steps, getattr(torch, chosen["dtype"])
    actions = (torch.rand(50, world.actions.size, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    actions = Compass.of(world.actions).along(actions)
    truth = reference(in_precision(world, torch.float32, steps, actions), chosen["parity"])
    setting = in_precision(world, dtype, steps, actions)
    rungs = [one for one in ladder(setting, compiled=chosen["compiled"]) if one.name[0] in chosen["only"]]
    inputs = example(setting.world, dtype, steps)
    tokenizer = setting.world.tokenizer
    found = products(WholeFrame(setting.world.model, tokenizer, setting.sigmas, world.noise_scale), inputs)
    known: dict[str, Any] = {"environment": environment(chosen["threads"])}
    known["settings"] = {key: chosen[key] for key in ("world", "tier", "dtype", "frames", "parity")} | {"steps": steps}
    begun = [warm(one, truth, SLOW) for one in rungs]
    known["limit"] = limit(found)
    taken = in_turn(begun, chosen["frames"])
    known["limit_after"] = limit(found)
    known["rungs"] = [
        row(one.rung.name, times, one.errors, GATES["int8" if one.rung.is_int8 else chosen["dtype"]])
        for one, times in zip(begun, taken, strict=True)
    ]
    known["contended"] = _contended([one for one in begun if one.rung.is_same], chosen) if chosen["contended"] else []
    known["first_frame"] = first_frame(chosen["world"], chosen["tier"]) if chosen["first"] else {}
    sizes = [int(size) for size in chosen["envs"].split(",") if size]
    kinds = {"eager": ""} | ({"compiled": ", one after another by hand"} if chosen["compiled"] else {})
    known["envs"] = batches(world, sizes, chosen["dtype"], steps, chosen["frames"], kinds)
    known["peak_mb"] = peak_mb()
    known["memory_mb"] = sum(u.nbytes for u in inputs.keys + inputs.values) / 2**20
    return known


def _contended(begun: list[Any], chosen: dict[str, Any]) -> list[dict[str, Any]]:
    with busy(max(1, (os.cpu_count() or 2) // 2)):
        taken = in_turn(begun, chosen["frames"])
    return [row(one.rung.name, times, [], 0.0) for one, times in zip(begun, taken, strict=True)]


def main(words: list[str]) -> int:
    """From the command line to an exit code."""
    try:
        chosen = options(words)
        found = bench(chosen)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write(found, Path(chosen["out"]))
    sys.stdout.write(table(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
