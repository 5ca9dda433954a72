"""Minutes under a pilot: closed loop, by the same rule in the real game and in a dream.

piloted       a level whose player is the pilot, from a given step on
practise      a real film in which pilot and player take turns, and what the player would have done all along
fly           many dreams at once, each frame decoded and shown to the pilot before the next action
save_longs, load_longs   the real runs under a pilot, kept
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from worldmodel.action import Action, ActionSpace
from worldmodel.diffusion.rollout import commit_block, denoise_block
from worldmodel.env import Env, EpisodeEnd, Frame
from worldmodel.evaluation.dreamer import Dreamer, begin, clip_noise, frame_passes, told
from worldmodel.evaluation.pilot import Pilot, chances, decide
from worldmodel.evaluation.quality import traits
from worldmodel.evaluation.reference import Act, Level, Longs

CHUNK = 64  # frames whose traits are measured at once


class Watched:
    """An Env that keeps its last frames."""

    def __init__(self, env: Env, number: int) -> None:
        self.env, self.frames = env, deque[Frame](maxlen=number)
        self.actions, self.fps, self.size_hw = env.actions, env.fps, env.size_hw

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """As of the Env inside."""
        self.frames.clear()
        self.frames.append(self.env.reset(start=start, seed=seed))
        return self.frames[-1]

    def step(self, action: Action) -> Frame:
        """As of the Env inside."""
        self.frames.append(self.env.step(action))
        return self.frames[-1]

    def close(self) -> None:
        """As of the Env inside."""
        self.env.close()


def piloted(level: Level, pilot: Pilot, after: int) -> Level:
    """The same level; its player acts for `after` steps, at least as many as the pilot sees frames less one, and then
    the pilot for ever.
    """
    watched = Watched(level.env, pilot.config.frames)

    def players(seed: int) -> Act:
        scripted, t = level.players(seed), -after

        def act() -> Action:
            nonlocal t
            t += 1
            if t <= 0:
                return scripted()
            frames, draws = np.stack(watched.frames)[None], chances(pilot, seed, t - 1)[None]
            return watched.actions.from_vector(decide(pilot, frames, draws, watched.actions)[0])

        return act

    return Level(watched, players, level.place)


class Practice(NamedTuple):
    """A real film: frames uint8 (T + 1, H, W, 3); wanted (T, A): the player's action at each step, whoever acted;
    places (T, 2): after each.
    """

    frames: np.ndarray
    wanted: np.ndarray
    places: np.ndarray


def practise(level: Level, pilot: Pilot, seed: int, steps: int, stretch: tuple[int, int]) -> Practice:
    """The level's player and the pilot take turns, each for stretch[0] to stretch[1] steps, the player first.

    A pilot that learns recorded play only has never seen where its own mistakes lead; here it does, beside what
    would mend them (DAgger, arXiv:1011.0686, with the expert back at the controls between times). A film that the
    game ends is as long as it was.
    """
    if not pilot.config.frames <= stretch[0] <= stretch[1]:
        raise ValueError(f"practise: the pilot sees {pilot.config.frames} frames, a stretch has {stretch} steps")
    rng, space = np.random.default_rng([seed, 5]), level.env.actions
    frames, wanted, places = [level.env.reset(seed=seed)], [], []
    scripted, is_pilot, left = level.players(seed), True, 0
    with suppress(EpisodeEnd):
        for t in range(steps):
            if left == 0:
                is_pilot, left = not is_pilot, int(rng.integers(stretch[0], stretch[1] + 1))
            left -= 1
            action = should = scripted()
            if is_pilot:
                seen = np.stack(frames[-pilot.config.frames :])[None]
                action = space.from_vector(decide(pilot, seen, chances(pilot, seed, t)[None], space)[0])
            frames.append(level.env.step(action))
            wanted.append(space.to_vector(should))
            places.append(level.place())
    return Practice(np.stack(frames), np.stack(wanted), np.asarray(places, float))


class Flown(NamedTuple):
    """Dreams of one length: traits (R, L, 3), frames (R, n, H, W, 3) every `stride`, actions (R, L, A), and how many
    latent frames were not finite.
    """

    traits: np.ndarray
    frames: np.ndarray
    actions: np.ndarray
    broken: int


@torch.no_grad()
def fly(
    dreamer: Dreamer,
    pilot: Pilot,
    space: ActionSpace,
    context: np.ndarray,
    actions: np.ndarray,
    length: int,
    stride: int,
) -> Flown:
    """Dream `length` frames after context uint8 (R, C, H, W, 3) and the actions (R, C, A) that led to it."""
    given, runs = pilot.config.frames, len(context)
    if context.shape[1] < given:
        raise ValueError(f"the pilot sees {given} frames and the context has {context.shape[1]}")
    parts = []
    for first in range(0, runs, dreamer.batch):
        own = np.arange(first, min(first + dreamer.batch, runs))
        led = told(dreamer, actions[own])
        cache, noise = begin(dreamer, context[own], led), clip_noise(dreamer, own.tolist())
        recent = context[own, -given:]
        looks, kept, held, chunk, broken = [], [], [], [recent[:, -1]], 0
        for t in range(length):
            draws = np.stack([chances(pilot, k, t) for k in own.tolist()])
            held.append(decide(pilot, recent, draws, space))
            through = frame_passes(dreamer, held[-1])
            now = torch.from_numpy(held[-1])[:, None].to(dreamer.device)
            now = led = dreamer.compass.along(now, led[:, -1:])
            eps, levels = partial(noise, t), dreamer.levels
            x0 = denoise_block(dreamer.model, cache, now, levels, eps, dreamer.sampler, passes=through)
            commit_block(dreamer.model, cache, x0, now)
            broken += int((~x0.isfinite().all((2, 3, 4))).sum())
            frame = dreamer.tokenizer.decode(x0[:, 0]).cpu().numpy()
            recent = np.concatenate([recent[:, 1:], frame[:, None]], 1)
            chunk.append(frame)
            if t % stride == 0:
                kept.append(frame)
            if len(chunk) > CHUNK or t == length - 1:
                looks.append(np.stack([traits(clip)[1:] for clip in np.stack(chunk, 1)]))
                chunk = chunk[-1:]
            dreamer.tick(len(own) * len(levels) if through is None else int(through.sum()))
        parts.append((np.concatenate(looks, 1), np.stack(kept, 1), np.stack(held, 1), broken))
    measured, shown, acted = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return Flown(measured, shown, acted, sum(part[3] for part in parts))


def save_longs(path: Path, longs: dict[int, Longs]) -> None:
    """Write an npz; whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    arrays: dict[str, Any] = {f"{s}.{name}": value for s, part in longs.items() for name, value in vars(part).items()}
    np.savez(temporary, **arrays)
    temporary.rename(path)


def load_longs(path: Path) -> dict[int, Longs]:
    """The inverse of save_longs."""
    with np.load(path, allow_pickle=False) as data:
        seconds = sorted({int(name.split(".")[0]) for name in data.files})
        return {s: Longs(**{f.name: data[f"{s}.{f.name}"] for f in fields(Longs)}) for s in seconds}
