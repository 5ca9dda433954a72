"""A tour of a world without a window: what a player would do, filmed.

tour_script   a varied walk for any action space, as a function of the step
tour          play it as fast as the world goes; writes a video, a GIF and a contact sheet, gives the times

Not here: players that know the map (games/players.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.data.video import VideoWriter, contact_sheet, save_gif, save_image
from worldmodel.env import Env, EpisodeEnd, Frame
from worldmodel.ui.runner import Script
from worldmodel.ui.stats import END, START, Stats

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
SHEET_FRAMES, SHEET_COLUMNS = 24, 6
GIF_SECONDS, GIF_SCALE, GIF_EVERY = 12.0, 2, 2  # a GIF to show: the beginning, every second frame
MIN_HEIGHT = 360  # of the video: small frames are enlarged by a whole, even factor
PATIENCE_S = 60.0  # a slow world's tour ends here, or after three times its length


@dataclass(frozen=True)
class Tour:
    """What a tour measured, frames a second and ms, without pacing or drawing; and what it wrote."""

    stats: Stats
    fps: float  # of the median step
    p99_ms: float
    video: Path
    gif: Path
    sheet: Path

    def summary(self) -> str:
        """One line for people."""
        speed = f"{self.stats.num_frames} frames at {self.fps:.1f} fps (median), p99 {self.p99_ms:.1f} ms"
        return f"tour: {speed}; wrote {self.video}, {self.gif.name} and {self.sheet.name}"


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
    seconds: float = 20.0,
    out: Path = Path("out"),
    *,
    start: Any = 0,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Tour:
    """Play `seconds` of world time; writes out/tour.mp4 (at the world's fps), .gif and .png; say gets each line.

    When the episode ends it begins again. Raises ValueError unless seconds > 0, what the Env raises, and VideoError
    or OSError if nothing can be written.
    """
    if seconds <= 0:
        raise ValueError(f"a tour takes seconds > 0, got {seconds}")
    out.mkdir(parents=True, exist_ok=True)
    script, stats = tour_script(env.actions, env.fps), Stats()
    num_frames = max(2, round(seconds * env.fps))
    factor = 2 * max(1, -(-MIN_HEIGHT // (2 * env.size_hw[0])))
    video = VideoWriter(out / "tour.mp4", env.fps, (env.size_hw[0] * factor, env.size_hw[1] * factor))
    sheet: list[Frame] = []
    film: list[Frame] = []
    begun = time.perf_counter()
    give_up_at = begun + max(PATIENCE_S, 3 * seconds)
    try:
        frame = env.reset(start=start, seed=seed)
        say(f"first frame: {time.perf_counter() - begun:.2f} s")
        while stats.num_frames < num_frames and time.perf_counter() < give_up_at:
            if stats.num_frames % max(1, num_frames // SHEET_FRAMES) == 0 and len(sheet) < SHEET_FRAMES:
                sheet.append(frame.copy())
            if stats.num_frames % GIF_EVERY == 0 and stats.num_frames < GIF_SECONDS * env.fps:
                film.append(np.array(frame).repeat(GIF_SCALE, axis=0).repeat(GIF_SCALE, axis=1))
            video.write(np.ascontiguousarray(frame).repeat(factor, axis=0).repeat(factor, axis=1))
            action, before = script(stats.num_frames), time.perf_counter()
            try:
                frame = env.step(action)
                stats.add(None, before, before, time.perf_counter())
            except EpisodeEnd:
                frame = env.reset(start=start, seed=seed)
    finally:
        video.close()
    save_image(out / "tour.png", contact_sheet(sheet, SHEET_COLUMNS, scale=max(1, 120 // env.size_hw[0])))
    save_gif(out / "tour.gif", film, env.fps / GIF_EVERY)
    median_ms = stats.ms(START, END)
    return Tour(stats, 1000 / median_ms, stats.ms(START, END, 99), out / "tour.mp4", out / "tour.gif", out / "tour.png")
