"""Dreams for agents, by gymnasium's protocols. Needs the extra `games`.

DreamEnv         any Env
DreamVectorEnv   many dreams at once (worldmodel.batch)
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

try:
    import gymnasium
except ImportError as error:
    raise ImportError("worldmodel.gym needs gymnasium: pip install -e .[games]") from error

from worldmodel.action import ActionSpace
from worldmodel.env import Env, EpisodeEnd, Frame


class DreamEnv(gymnasium.Env[Frame, np.ndarray]):
    """Observations: frames uint8 (H, W, 3). Actions: the world's action vector, float32 (A,) in [-1, 1].

    There is no reward in a dream: it is always 0. An episode is truncated after max_steps and terminated when the
    world ends.
    """

    def __init__(self, env: Env, max_steps: int = 1000) -> None:
        self.env, self.max_steps, self.steps = env, max_steps, 0
        self.observation_space = gymnasium.spaces.Box(0, 255, (*env.size_hw, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (env.actions.size,), np.float32)
        self._frame: Frame | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frame, dict[str, Any]]:
        """Begin again; options may hold `start`."""
        super().reset(seed=seed)
        self.steps = 0
        self._frame = self.env.reset(start=(options or {}).get("start", 0), seed=seed or 0)
        return self._frame, {}

    def step(self, action: np.ndarray) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """One step under an action vector; buttons are held above one half."""
        if self._frame is None:
            raise RuntimeError("step before reset")
        self.steps += 1
        ended = False
        try:
            self._frame = self.env.step(self.env.actions.from_vector(np.asarray(action)))
        except EpisodeEnd:
            ended = True
        return self._frame, 0.0, ended, self.steps >= self.max_steps, {}

    def close(self) -> None:
        """Close the world."""
        self.env.close()


class Batch(Protocol):
    """What worldmodel.batch.Dreams is."""

    actions: ActionSpace
    size_hw: tuple[int, int]
    number: int
    num_starts: int

    def reset(self, starts: list[int], seeds: list[int]) -> np.ndarray:
        """Frames uint8 (N, H, W, 3) to begin with."""
        ...

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Frames uint8 (N, H, W, 3) under actions (N, A)."""
        ...


class DreamVectorEnv(gymnasium.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N dreams that begin and are truncated together, after max_steps; all rewards are 0."""

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, dreams: Batch, max_steps: int = 1000) -> None:
        self.dreams, self.max_steps, self.steps, self.num_envs = dreams, max_steps, 0, dreams.number
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (*dreams.size_hw, 3), np.uint8)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (dreams.actions.size,), np.float32)
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, self.num_envs)
        self.action_space = batch(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin all again: dream i at start i and with seed + i, or at options["starts"] and with a list of seeds."""
        self.steps = 0
        seeds = seed if isinstance(seed, list) else [(seed or 0) + i for i in range(self.num_envs)]
        starts = (options or {}).get("starts") or [i % self.dreams.num_starts for i in range(self.num_envs)]
        return self.dreams.reset(starts, [one or 0 for one in seeds]), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of all under action vectors (N, A)."""
        self.steps += 1
        frames, never = self.dreams.step(np.asarray(actions)), np.zeros(self.num_envs, bool)
        return frames, np.zeros(self.num_envs), never, np.full(self.num_envs, self.steps >= self.max_steps), {}
