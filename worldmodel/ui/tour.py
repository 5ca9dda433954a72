"""A tour of a world without a window: what a player would do, filmed.

tour_script   a varied walk for any action space, as a function of the step
tour          play it, or any script, as fast as the world goes; films it, gives the times

Not here: the walk that looks (wander.py), players that know the map (games/players.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.action import Action, ActionSpace
from worldmodel.env import Env, EpisodeEnd, Frame
from worldmodel.ui.control import Script
from worldmodel.ui.film import ENDINGS, Film
from worldmodel.ui.stats import END, START, Stats
from worldmodel.ui.wander import wander

# seconds, buttons, share of the largest mouse turn (x, y); buttons that a world lacks are left out
WALK: tuple[tuple[float, tuple[str, ...], tuple[float, float]], ...] = (
    (1.5, ("forward", "gas", "up"), (0.0, 0.0)),
    (1.0, ("forward", "gas", "right"), (0.12, 0.0)),
    (0.8, ("turn_left", "left"), (0.0, 0.0)),
    (1.5, ("forward", "gas", "attack", "fire"), (0.0, 0.0)),
    (0.8, ("strafe_right", "down"), (-0.1, 0.1)),
    (0.5, ("attack", "fire", "jump"), (0.0, 0.0)),
    (1.0, ("forward", "gas", "turn_right", "right"), (0.0, -0.1)),
    (0.8, ("strafe_left", "left"), (0.15, 0.0)),
    (1.2, ("forward", "gas", "up"), (-0.12, 0.0)),
    (0.4, ("use",), (0.0, 0.0)),
    (0.6, ("backward", "brake", "down"), (0.0, 0.0)),
)
PATIENCE_S = 60.0  # a slow world's tour ends here, or after three times its length


@dataclass(frozen=True)
class Tour:
    """What a tour measured, frames a second and ms, without pacing or drawing; and what it wrote."""

    stats: Stats
    fps: float  # of the median step
    p99_ms: float
    files: tuple[Path, ...]

    def summary(self) -> str:
        """One line for people."""
        speed = f"{self.stats.num_frames} frames at {self.fps:.1f} fps (median), p99 {self.p99_ms:.1f} ms"
        return f"tour: {speed}; wrote {', '.join(map(str, self.files))}"


def tour_script(space: ActionSpace, fps: float) -> Script:
    """step -> Action: WALK over and over, for a world of fps steps a second; buttons WALK lacks are tried in turn."""
    known = {name for _, names, _ in WALK for name in names}
    extra = [((0.5, (name,), (0.0, 0.0))) for name in space.buttons if name not in known]
    actions: list[Action] = []
    for seconds, names, (x, y) in (*WALK, *extra):
        mouse = (round(x * space.mouse[0], 3), round(y * space.mouse[1], 3))
        actions += [Action(set(names) & set(space.buttons), mouse)] * max(1, round(seconds * fps))
    return lambda step: actions[step % len(actions)]


def tour(
    env: Env,
    num_frames: int,
    out: Path = Path("out"),
    *,
    script: Script | None = None,
    begin: Callable[[Env], Frame] | None = None,
    start: Any = 0,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Tour:
    """Play num_frames steps of a script; without one, as `wander` or tour_script do. say gets each line.

    out     one file to film it to (.mp4, .gif, .png), or a folder for tour.mp4 (at the world's fps), .gif and .png
    begin   brings the Env to its first frame instead of reset(start, seed)

    When the episode ends it begins again. Raises ValueError for less than one frame, what the Env raises, and
    VideoError or OSError if nothing can be written.
    """
    if num_frames < 1:
        raise ValueError(f"a tour takes at least one frame (seconds > 0), got {num_frames}")
    look = None if script else wander(env.actions, seed)
    script, stats = script or tour_script(env.actions, env.fps), Stats()
    files = (out,) if out.suffix else tuple(out / f"tour{ending}" for ending in ENDINGS)
    film = Film(files, env.actions, env.fps, env.size_hw, num_frames)
    begun = time.perf_counter()
    give_up_at = begun + max(PATIENCE_S, 3 * num_frames / env.fps)

    def first() -> Frame:
        return begin(env) if begin else env.reset(start=start, seed=seed)

    try:
        frame, action = first(), Action()
        say(f"first frame: {time.perf_counter() - begun:.2f} s")
        film.add(frame, action)
        while stats.num_frames < num_frames and time.perf_counter() < give_up_at:
            action = look(frame) if look else script(stats.num_frames)
            before = time.perf_counter()
            try:
                frame = env.step(action)
                stats.add(None, before, before, time.perf_counter())
            except EpisodeEnd:
                frame = first()
            film.add(frame, action)
    finally:
        film.close()
    return Tour(stats, 1000 / stats.ms(START, END), stats.ms(START, END, 99), files)
