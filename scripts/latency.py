"""Measure play as a player feels it, in a real session: from key to screen, the window's beat, the recorder's cost.

    python scripts/latency.py [WORLD] [presses=120] [device=auto] [steps=N] [threads=N] [pace=realtime]
                               [backend=eager]     or compiled: builds the code first

Keys are pressed as events at random moments; a press counts until the flip of the first frame that its action led to.
Rounds with the recorder off and on take turns. Opens a window only where SDL_VIDEODRIVER says so (default: dummy, whose
flip takes no time). Quiet machines only: the times are wall clock.
"""

import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as play.py has it
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import pygame
import torch

import worldmodel
from worldmodel.action import Action
from worldmodel.data.recorder import Recorder
from worldmodel.ui.session import Session
from worldmodel.ui.stats import DONE, END, START
from worldmodel.ui.window import Window

ROUNDS = 4  # recorder off, on, off, on
WAITS_S = (0.15, 0.45)  # between presses: at no fixed phase of a frame
PATIENCE_S = 20.0
WARM_UP_FRAMES = 10
KEY, CODE = "forward", pygame.KSCAN_W


class Probe(Window):
    """A window that notes each flip, and whether the frame on it answers the key."""

    def watch(self, session: Session) -> None:
        """Watch this session from now on."""
        self.session, self.flips, self.holds = session, list[float](), False
        self.changed = threading.Condition()

    def flip(self) -> None:
        """Show, and tell who waits."""
        super().flip()
        now, shown = time.perf_counter(), self.session._shown
        self.flips.append(now)
        with self.changed:
            self.holds = shown is not None and KEY in shown.action.buttons
            self.changed.notify_all()

    def wait_for(self, holds: bool) -> float:
        """Until a frame is on the screen that was made with the key held, or not; gives the flip's time."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.holds == holds, PATIENCE_S):
                raise TimeoutError("the key never reached the screen")
            return self.flips[-1]


def press_keys(probe: Probe, presses: int, latencies: list[float], rng: random.Random) -> None:
    """Press and let go so often, then quit."""
    try:
        while probe.session.runner.stats.num_frames < WARM_UP_FRAMES:
            time.sleep(0.01)
        for _ in range(presses):
            time.sleep(rng.uniform(*WAITS_S))
            pressed = time.perf_counter()
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, scancode=CODE, key=0, mod=0))
            latencies.append(probe.wait_for(True) - pressed)
            pygame.event.post(pygame.event.Event(pygame.KEYUP, scancode=CODE, key=0, mod=0))
            probe.wait_for(False)
    finally:
        pygame.event.post(pygame.event.Event(pygame.QUIT))


def timed(turn, intervals: list[float]):
    """The window thread's turn, noting the time from one to the next."""
    last = [time.perf_counter()]

    def again(**how):
        turn(**how)
        now = time.perf_counter()
        intervals.append(now - last[0])
        last[0] = now

    return again


def play(env: Recorder, presses: int, pace: str, seed: int) -> dict[str, np.ndarray]:
    """One round; times in ms."""
    probe = Probe("latency", env.size_hw, allow_headless=True)
    session = Session(env, probe, pace=pace, hud="min")
    probe.watch(session)
    latencies, turns = list[float](), list[float]()
    session._turn = timed(session._turn, turns)
    hand = threading.Thread(target=press_keys, args=(probe, presses, latencies, random.Random(seed)))
    hand.start()
    stats = session.run()
    hand.join()
    probe.close()
    times = stats.times()[WARM_UP_FRAMES:]
    columns = {"input to photon": latencies, "window's turn": turns[1:], "flip to flip": np.diff(probe.flips)}
    columns |= {"model": times[:, DONE] - times[:, START], "step": times[:, END] - times[:, START]}
    columns["frame to frame"] = np.diff(times[:, END])
    return {name: 1000 * np.asarray(values) for name, values in columns.items()}


def main() -> None:
    """Play the rounds and print a line for each time, then all of it as JSON."""
    options = {"presses": "120", "device": "auto", "steps": "", "threads": "", "pace": "realtime", "backend": "eager"}
    options |= dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    names = [argument for argument in sys.argv[1:] if "=" not in argument]
    world = worldmodel.load(names[0] if names else worldmodel.default_world())
    threads = int(options["threads"] or max(1, torch.get_num_threads() - 1))
    steps, backend = int(options["steps"] or 0) or None, options["backend"]
    engine = worldmodel.Engine(world, options["device"], steps, threads=threads, backend=backend)
    engine.reset()
    engine.step(Action())  # builds what is to be built
    rounds: dict[bool, list[dict[str, np.ndarray]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            env = Recorder(engine, Path(folder), queued=64, source="dream", game="latency")
            records = number % 2 == 1
            if records:
                env.start()
            rounds[records].append(play(env, int(options["presses"]) // ROUNDS, options["pace"], number))
            if env.problem or env.num_dropped:
                print(f"recorder: {env.problem}, {env.num_dropped} dropped")
    report: dict[str, dict[str, float]] = {}
    for records, played in rounds.items():
        for name in played[0]:
            values = np.concatenate([one[name] for one in played])
            p50, p99 = np.percentile(values, [50, 99])
            label = f"{name}, {'recording' if records else 'not recording'}"
            report[label] = {"p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "n": len(values)}
            print(f"{label:40s} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   of {len(values)}")
    about = {"world": world.name, "device": str(engine.device), "dtype": str(engine.dtype), "steps": engine.steps}
    about |= {
        "threads": threads,
        "backend": engine.backend,
        "pace": options["pace"],
        "driver": pygame.display.get_driver() if pygame.display.get_init() else os.environ["SDL_VIDEODRIVER"],
    }
    print(json.dumps({**about, "times": report}))


if __name__ == "__main__":
    main()
