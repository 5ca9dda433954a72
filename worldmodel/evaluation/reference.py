"""What the dream is compared with: frames of the real game under known actions, from seeds no training ever sees.

ReferenceConfig   how much of it: episodes, branches, long runs
Reference         the arrays; saved and loaded as one npz
collect           play the real game and keep what the metrics need
fingerprint       the name of a reference: equal settings, equal name

An Env and a player come in from outside: which game it is, the scripts know.
Everywhere actions[i] led to frame i, so the first frame of a context has an action too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.action import Action
from worldmodel.env import Env, EnvError, Frame
from worldmodel.evaluation.quality import traits

FORMAT = 1  # of the file; raise it when `collect` means something else
FIRST_SEED = 2_000_000  # collect.yaml plays below it, held-out episodes included
KIND = 100_000  # seeds between episodes, branches and long runs
SHEET_SECONDS = 2.0  # between the frames kept of a long run

Act = Callable[[], Action]
Players = Callable[[int], Act]  # seed -> what decides in the episode that was just reset


@dataclass(kw_only=True)
class Script:
    """An action that is held during a branch: buttons, and degrees of mouse turn a step (+ right)."""

    buttons: list[str]
    turn: float


@dataclass(kw_only=True)
class ReferenceConfig:
    """episodes of warm_up + context + horizon frames; branches: contexts from which every script is played for
    branch_steps; long_runs of long_seconds. warm_up: steps played before the first frame that counts.
    """

    seed: int
    warm_up: int
    context: int
    episodes: int
    horizon: int
    branches: int
    branch_steps: int
    scripts: list[Script]
    long_runs: int
    long_seconds: float

    def __post_init__(self) -> None:
        if self.seed < FIRST_SEED:
            raise ValueError(f"seed: evaluation starts at {FIRST_SEED}, got {self.seed}: training may have seen it")
        if min(self.episodes, self.branches, self.long_runs) < 2 or min(self.context, self.warm_up) < 1:
            raise ValueError("episodes, branches and long_runs must be >= 2, context and warm_up >= 1")
        if self.horizon < 8 or max(self.episodes, self.branches, self.long_runs) > KIND:
            raise ValueError(f"horizon must be >= 8 frames, got {self.horizon}; at most {KIND} episodes of a kind")


@dataclass(kw_only=True)
class Reference:
    """Numpy arrays, frames uint8 (..., H, W, 3), actions float32 (..., A). C context, T horizon, L long steps."""

    frames: np.ndarray  # (E, C + T, H, W, 3)
    actions: np.ndarray  # (E, C + T, A)
    branch_context: np.ndarray  # (B, C, H, W, 3)
    branch_actions: np.ndarray  # (B, K, C + S, A): the context's, then the script's
    branch_frames: np.ndarray  # (B, K, S, H, W, 3)
    long_context: np.ndarray  # (R, C, H, W, 3)
    long_actions: np.ndarray  # (R, C + L, A)
    long_traits: np.ndarray  # (R, L, 3): sharpness, brightness, motion of every real frame (quality.traits)
    long_frames: np.ndarray  # (R, n, H, W, 3): every SHEET_SECONDS
    fps: np.ndarray  # ()

    @property
    def context(self) -> int:
        """C, the frames a dream is given."""
        return self.branch_context.shape[1]

    @property
    def real(self) -> np.ndarray:
        """The frames to be dreamt, (E, T, H, W, 3)."""
        return self.frames[:, self.context :]

    def save(self, path: Path) -> None:
        """Write an npz; whole or absent."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, **{f.name: vars(self)[f.name] for f in fields(self)})
        temporary.rename(path)

    @staticmethod
    def load(path: Path) -> Reference:
        """The inverse of save; ValueError if the file holds something else."""
        with np.load(path, allow_pickle=False) as data:
            if set(data.files) != {f.name for f in fields(Reference)}:
                raise ValueError(f"{path}: not a reference of this version. Delete it; it is made again.")
            return Reference(**{name: data[name] for name in data.files})

    def digest(self) -> str:
        """sha256 of all frames and actions: two reports with the same digest saw the same reality."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(np.ascontiguousarray(vars(self)[field.name]).tobytes())
        return digest.hexdigest()


def fingerprint(game: dict[str, Any], config: ReferenceConfig) -> str:
    """Twelve hex digits, a function of the game's settings and of the reference's own fields of the config."""
    names = {f.name for f in fields(ReferenceConfig)}
    ours = {key: value for key, value in asdict(config).items() if key in names}
    text = json.dumps([FORMAT, game, ours], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect(env: Env, players: Players, config: ReferenceConfig, say: Callable[[str], None]) -> Reference:
    """Play everything the metrics need; the same Env, players and config give the same arrays.

    say: is told what is being played. Raises EnvError if a replay of the same actions shows other frames.
    """
    say(f"playing {config.episodes} episodes")
    episodes = [_episode(env, players, config, k) for k in range(config.episodes)]
    say(f"playing {config.branches} x {len(config.scripts)} branches")
    branches = [_branch(env, players, config, k) for k in range(config.branches)]
    say(f"playing {config.long_runs} runs of {config.long_seconds:g} s")
    runs = [_long_run(env, players, config, k) for k in range(config.long_runs)]
    frames, actions = (np.stack(part) for part in zip(*episodes, strict=True))
    context, branch_actions, branch_frames = (np.stack(part) for part in zip(*branches, strict=True))
    long_context, long_actions, long_traits, long_frames = (np.stack(part) for part in zip(*runs, strict=True))
    return Reference(
        frames=frames, actions=actions, branch_context=context, branch_actions=branch_actions,
        branch_frames=branch_frames, long_context=long_context, long_actions=long_actions, long_traits=long_traits,
        long_frames=long_frames, fps=np.asarray(env.fps),
    )  # fmt: skip


def _steps(env: Env, players: Players, seed: int) -> Iterator[tuple[Action, Frame]]:
    """An episode without end: each action and the frame it led to."""
    env.reset(seed=seed)
    act = players(seed)
    while True:
        action = act()
        yield action, env.step(action)


def _arrays(env: Env, steps: list[tuple[Action, Frame]]) -> tuple[np.ndarray, np.ndarray]:
    """(T, H, W, 3) and (T, A)."""
    return np.stack([frame for _, frame in steps]), np.stack([env.actions.to_vector(action) for action, _ in steps])


def _episode(env: Env, players: Players, config: ReferenceConfig, k: int) -> tuple[np.ndarray, np.ndarray]:
    steps = islice(_steps(env, players, config.seed + k), config.warm_up, None)
    return _arrays(env, list(islice(steps, config.context + config.horizon)))


def _branch(env: Env, players: Players, config: ReferenceConfig, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From one moment every script; the way there is replayed and must show the same last frame bit by bit."""
    seed = config.seed + KIND + k
    past = list(islice(_steps(env, players, seed), config.warm_up + config.context))
    context, context_actions = _arrays(env, past[config.warm_up :])
    actions, frames = [], []
    for script in config.scripts:
        frame = env.reset(seed=seed)
        for action, _ in past:
            frame = env.step(action)
        if not np.array_equal(frame, past[-1][1]):
            raise EnvError(f"seed {seed}: the replayed game shows another frame; branches need a deterministic game")
        action = Action(script.buttons, (script.turn, 0.0))
        vectors = np.repeat(env.actions.to_vector(action)[None], config.branch_steps, 0)
        actions.append(np.concatenate([context_actions, vectors]))
        frames.append(np.stack([env.step(action) for _ in range(config.branch_steps)]))
    return context, np.stack(actions), np.stack(frames)


def _long_run(env: Env, players: Players, config: ReferenceConfig, k: int) -> tuple[np.ndarray, ...]:
    """Context, actions, traits and a few frames of one run; its other frames are not kept."""
    length, stride = round(config.long_seconds * env.fps), round(SHEET_SECONDS * env.fps)
    steps = islice(_steps(env, players, config.seed + 2 * KIND + k), config.warm_up, None)
    frames, actions = _arrays(env, list(islice(steps, config.context + length)))
    seen = frames[config.context - 1 :]  # one frame earlier: the first frame's motion
    return frames[: config.context], actions, traits(seen)[1:], frames[config.context :][::stride]
