"""The numbers of one moment, for the meters.

Readings   what the HUD shows
Meters     takes them of a Runner, averages not too often

Not here: drawing (hud.py), times of frames (stats.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldmodel.action import Action
from worldmodel.data.replay import Replay
from worldmodel.ui.abilities import Busy, Computed, Decoding, Eye, Gauged
from worldmodel.ui.mailbox import Shown
from worldmodel.ui.runner import Runner
from worldmodel.ui.stats import DECODE, DONE, END, FLIP, INPUT, START

METERS_S = 0.25  # between two readings of the averages, so that they can be read
METER_FRAMES = 64  # averaged over
SPARKS = 48  # frames of a sparkline
STATM = Path("/proc/self/statm")
SPANS = {
    "model": (START, END),
    "decode": (DECODE, END),
    "settle": (END, DONE),
    "present": (END, FLIP),
    "input": (INPUT, FLIP),
}


@dataclass(frozen=True, kw_only=True)
class Readings:
    """nan or None where there is none. Times in ms, recording in s.

    spans     name -> (p50, p99, the last frames' times): of the step, of decoding in it, of the work after it,
              until it was shown, and from the key to the flip; facts: lines about world and machine
    status    what the world is doing behind play; control: who acts, and pace where it is not the world's
    drift     how far the frame's latent is from those of the training set (Eye.drift), at level full
    """

    fps: float
    world_fps: float
    model_ms: float
    model_p99_ms: float
    input_ms: float
    spans: Mapping[str, tuple[float, float, Sequence[float]]]
    facts: Sequence[str]
    status: str | None
    control: str
    drift: float | None
    steps: int | None
    action: Action
    recording_s: float | None
    start: str
    seed: int
    frame_index: int
    branch: int
    divergence: Sequence[float | None] | None
    num_dropped: int
    num_unseen: int
    is_paused: bool
    rewound_s: float | None
    is_exact: bool
    hint: str


class Meters:
    """The averages change METERS_S apart; eye: of a dreamed world."""

    def __init__(self, runner: Runner, eye: Eye | None) -> None:
        self._runner, self._eye, self._averaged_at = runner, eye, -METERS_S
        self._drift: float | None = None
        self._averages = dict.fromkeys(("fps", "model_ms", "model_p99_ms", "input_ms"), float("nan"))
        self._spans: dict[str, tuple[float, float, Sequence[float]]] = {}
        self._facts: list[str] = []

    def read(self, shown: Shown, hint: str, level: str) -> Readings:
        """Those of now; shown: what is on the screen. level, of the meters: "off" measures nothing, "full" also what
        takes a moment.
        """
        runner, now = self._runner, time.perf_counter()
        if level != "off" and now - self._averaged_at >= METERS_S:
            self._averaged_at = now
            self._average()
            self._drift = self._eye.drift(shown.frame) if self._eye and level == "full" else None
        since, world = runner.taping.recording_since, runner.world
        return Readings(
            **self._averages,  # type: ignore[arg-type]
            spans=self._spans,
            facts=self._facts,
            status=world.status if isinstance(world, Busy) else None,
            control=self._control(),
            drift=self._drift,
            world_fps=runner.env.fps,
            steps=runner.steps,
            action=shown.action,
            recording_s=None if since is None else now - since,
            start=str(runner.start) if isinstance(runner.start, int) else "given",
            seed=runner.seed,
            frame_index=runner.frame_index,
            branch=runner.branches.number,
            divergence=runner.divergence,
            num_dropped=runner.taping.num_dropped,
            num_unseen=runner.stats.num_frames - runner.stats.num_shown,
            is_paused=runner.is_paused,
            rewound_s=None if runner.rewound is None else runner.rewound / runner.env.fps,
            is_exact=runner.is_exact,
            hint=hint,
        )

    def _control(self) -> str:
        """Who acts, and the pace where it is not the world's."""
        runner, paces = self._runner, {"turn": ", turn by turn", "uncapped": ", uncapped"}
        who = "recording" if isinstance(runner.world, Replay) else runner.control.who
        return who + paces.get(runner.pace, "")

    def _average(self) -> None:
        stats, world = self._runner.stats, self._runner.world
        self._averages = {
            "fps": stats.fps(METER_FRAMES),
            "model_ms": stats.ms(START, DONE, 50, METER_FRAMES),
            "model_p99_ms": stats.ms(START, DONE, 99, METER_FRAMES),
            "input_ms": stats.ms(INPUT, FLIP, 50, METER_FRAMES),
        }
        times = stats.times(SPARKS)
        self._spans = {
            name: (
                stats.ms(since, until, 50, METER_FRAMES),
                stats.ms(since, until, 99, METER_FRAMES),
                [float(ms) for ms in (times[:, until] - times[:, since]) * 1000 if not np.isnan(ms)],
            )
            for name, (since, until) in SPANS.items()
        }
        machine = [f"{world.device}, {str(world.dtype).removeprefix('torch.')}"] if isinstance(world, Computed) else []
        used = memory_bytes()
        memory = [f"memory {used / 2**20:.0f} MiB"] if used else []
        known = [f"{name} {value}" for name, value in world.gauges().items()] if isinstance(world, Gauged) else []
        is_one = isinstance(world, Decoding) and world.decode_s is None and stats.num_frames > 0
        self._facts = [*machine, *memory, *known, *["decode: with model"] * is_one]


def memory_bytes() -> int | None:
    """What this process holds in memory now; None where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
