"""The real game and the dream of it, side by side under the same keys.

Both   an Env around two: its frame shows the real one on the left and the dreamed one on the right
psnr   how alike two frames are, in dB
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import numpy as np

from worldmodel.action import Action, ActionError
from worldmodel.env import Env, Frame

GAP = 4  # columns of black between the two
CONTEXT = 16  # real frames that a dream begins with
CURVE = 240  # values kept


class Dreamer(Env, Protocol):
    """An Env that denoises, and settles after a step."""

    steps: int

    def settle(self) -> None:
        """Work ahead."""
        ...


class Both:
    """Env. divergence: the PSNR of dream against reality in dB, one a step, None where the dream was set to reality.

    The two have the same actions and frame size; ActionError otherwise. reset plays CONTEXT - 1 idle steps, so that
    the dream begins with what the real game has shown.
    """

    def __init__(self, real: Env, dream: Dreamer) -> None:
        if real.actions != dream.actions or tuple(real.size_hw) != tuple(dream.size_hw):
            raise ActionError(f"the game has {real.actions} and {real.size_hw}, its dream another action space or size")
        self.real, self.dream = real, dream
        self.actions, self.fps = real.actions, real.fps
        self.size_hw = (real.size_hw[0], 2 * real.size_hw[1] + GAP)
        self.divergence: deque[float | None] = deque(maxlen=CURVE)
        self._frames: deque[Frame] = deque(maxlen=CONTEXT)
        self._moves: deque[Action] = deque(maxlen=CONTEXT - 1)
        self._seed = 0

    @property
    def steps(self) -> int:
        """Sampling steps of the dream."""
        return self.dream.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self.dream.steps = steps

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """Reset the real game, and let the dream begin with it."""
        self._frames.clear()
        self._moves.clear()
        self.divergence.clear()
        self._seed = seed
        self._frames.append(self.real.reset(start=start, seed=seed).copy())
        for _ in range(CONTEXT - 1):
            self._step_real(Action())
        return self.resync()

    def resync(self) -> Frame:
        """Let the dream go on from the last real frames."""
        frame = self.dream.reset(start=(np.stack(self._frames), list(self._moves)), seed=self._seed)
        self.divergence.append(None)
        return self._beside(frame)

    def step(self, action: Action) -> Frame:
        """One step of both."""
        self._step_real(action)
        frame = self.dream.step(action)
        self.divergence.append(psnr(self._frames[-1], frame))
        return self._beside(frame)

    def settle(self) -> None:
        """Of the dream."""
        self.dream.settle()

    def close(self) -> None:
        """Close both."""
        self.real.close()
        self.dream.close()

    def _step_real(self, action: Action) -> None:
        self._frames.append(self.real.step(action).copy())
        self._moves.append(action)

    def _beside(self, dreamed: Frame) -> Frame:
        real = self._frames[-1]
        gap = np.zeros((real.shape[0], GAP, 3), np.uint8)
        return np.concatenate([real, gap, dreamed], 1)


def psnr(ours: Frame, theirs: Frame) -> float:
    """Peak signal-to-noise ratio of uint8 frames in dB, at most 99."""
    error = float(np.mean((ours.astype(np.float32) - theirs) ** 2))
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0
