"""Any Env as a gymnasium.Env, so that agents can be run and trained in a dream. Needs the extra `games`."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    import gymnasium
except ImportError as error:
    raise ImportError("worldmodel.gym needs gymnasium: pip install -e .[games]") from error

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
