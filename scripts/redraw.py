"""Measure what the ways of drawing the window again cost the model (REDRAWS in worldmodel/ui/beat.py).

    python scripts/redraw.py [WORLD] [seconds=40] [slice=0.5] [backend=eager] [threads=N] [pace=uncapped] [hud=min]

One session, in which they take turns, a slice of a second each, so that whatever else the machine does meets both.
Opens a window only where SDL_VIDEODRIVER says so (default: dummy, whose flip takes no time).
"""

import json
import os
import sys
import threading
import time

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as play.py has it
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import pygame

import worldmodel
from worldmodel.action import Action
from worldmodel.backends.place import cores
from worldmodel.ui.beat import REDRAWS
from worldmodel.ui.session import Session
from worldmodel.ui.stats import DONE, END, START
from worldmodel.ui.window import Window

WARM_UP_S = 3.0


class Probe(Window):
    """A window that notes each flip, and what its thread has computed until then."""

    def watch(self, session: Session) -> None:
        """Watch this session from now on."""
        self.session, self.flips = session, list[tuple[float, float]]()

    def flip(self) -> None:
        """Show, and note it."""
        super().flip()
        self.flips.append((time.perf_counter(), time.thread_time()))


def take_turns(session: Session, seconds: float, slice_s: float, turns: list[tuple[float, float, str]]) -> None:
    """Change how the window is drawn, and note when it was which; stop after so many seconds."""
    while session.runner.stats.num_frames < 1:
        time.sleep(0.01)
    time.sleep(WARM_UP_S)
    for number in range(int(seconds / slice_s)):
        session.beat.redraw = REDRAWS[number % len(REDRAWS)]
        begun = time.perf_counter()
        time.sleep(slice_s)
        turns.append((begun, time.perf_counter(), session.beat.redraw))
    session.runner.stop()


def main() -> None:
    """Play, and print a line for each time and way."""
    options = {"seconds": "40", "slice": "0.5", "backend": "eager", "threads": "", "pace": "uncapped", "hud": "min"}
    options |= dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    names = [argument for argument in sys.argv[1:] if "=" not in argument]
    world = worldmodel.load(names[0] if names else worldmodel.default_world())
    threads = int(options["threads"] or max(1, cores() - 1))
    engine = worldmodel.Engine(world, threads=threads, backend=options["backend"])
    probe = Probe("redraw", engine.size_hw, allow_headless=True)
    session = Session(engine, probe, pace=options["pace"], hud=options["hud"])
    probe.watch(session)
    turns = list[tuple[float, float, str]]()
    hand = threading.Thread(
        target=take_turns, args=(session, float(options["seconds"]), float(options["slice"]), turns)
    )
    hand.start()
    times = session.run(script=lambda step: Action({"forward"} if step % 40 < 20 else ())).times()
    hand.join()
    report: dict[str, dict[str, float]] = {}
    for way in REDRAWS:
        mine = [(begun, ended) for begun, ended, redraw in turns if redraw == way]
        report[way] = figures(mine, times, probe.flips)
        print(f"{way:8s}", "  ".join(f"{name} {value:.2f}" for name, value in report[way].items()))
    about = {"world": world.name, "backend": engine.backend, "threads": threads, "refresh_hz": probe.refresh_hz}
    print(json.dumps({**about, "driver": pygame.display.get_driver(), "pace": options["pace"], **report}))
    probe.close()


def figures(slices: list[tuple[float, float]], times: np.ndarray, flips: list[tuple[float, float]]) -> dict[str, float]:
    """Rates a second, times in ms, and the share of a core that the window's thread takes, in all those slices."""
    seconds = sum(ended - begun for begun, ended in slices)
    steps, beats, shown, busy = [], [], 0, 0.0
    for begun, ended in slices:
        inside = times[(times[:, START] >= begun) & (times[:, END] < ended)]
        steps.append(inside[:, DONE] - inside[:, START])
        at = [(now, spent) for now, spent in flips if begun <= now < ended]
        beats.append(np.diff([now for now, _ in at]))
        busy += at[-1][1] - at[0][1] if at else 0.0
        shown += len(at)
    step, beat = 1000 * np.concatenate(steps), 1000 * np.concatenate(beats)
    rates = {"frames/s": len(step) / seconds, "flips/s": shown / seconds, "window's share of a core": busy / seconds}
    return {
        **rates,
        "step p50": float(np.percentile(step, 50)),
        "step p90": float(np.percentile(step, 90)),
        "step p99": float(np.percentile(step, 99)),
        "flip to flip p50": float(np.percentile(beat, 50)),
        "flip to flip p99": float(np.percentile(beat, 99)),
    }


if __name__ == "__main__":
    main()
