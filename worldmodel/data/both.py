"""The real game and the dream of it, side by side under the same keys.

Both   an Env around two: its frame shows the real one on the left and the dreamed one on the right
psnr   how alike two frames are, in dB
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from worldmodel.action import Action, ActionError
from worldmodel.env import Branching, Env, Frame, Past, Rewindable

GAP = 4  # columns of black between the two
CONTEXT = 16  # real frames that a dream begins with
CURVE = 240  # values shown
PAST = 1200  # real frames kept, so that the dream can be set to reality after a rewind too


class Dreamer(Env, Rewindable, Branching, Protocol):
    """An Env that denoises, settles after a step, and can go back."""

    steps: int
    seed: int

    def settle(self) -> None:
        """Work ahead."""
        ...


class Real(Env, Rewindable, Branching, Protocol):
    """A real game that can go back (Rerun). status: what it makes again."""

    status: str | None


@dataclass(frozen=True, eq=False)
class Line:
    """A line of play of both that can be returned to (env.Past)."""

    real: Past
    dream: Past
    frames: tuple[Frame, ...]
    moves: tuple[Action, ...]
    curve: tuple[float | None, ...]
    seed: int
    exact: int


class Both:
    """Env, Rewindable and Branching, as far as the one that remembers less; going back ends where the
    dream was set to reality.

    divergence: the PSNR of dream against reality in dB, one a step, None where the dream was set to reality.

    The two have the same actions and frame size; ActionError otherwise. reset plays CONTEXT - 1 idle steps, so that
    the dream begins with what the real game has shown.
    """

    def __init__(self, real: Real, dream: Dreamer) -> None:
        if real.actions != dream.actions or tuple(real.size_hw) != tuple(dream.size_hw):
            raise ActionError(f"the game has {real.actions} and {real.size_hw}, its dream another action space or size")
        self.real, self.dream = real, dream
        self.actions, self.fps = real.actions, real.fps
        self.size_hw = (real.size_hw[0], 2 * real.size_hw[1] + GAP)
        self._curve: deque[float | None] = deque(maxlen=PAST)
        self._frames: deque[Frame] = deque(maxlen=PAST)  # the real ones
        self._moves: deque[Action] = deque(maxlen=PAST - 1)  # between them
        self._seed = 0

    @property
    def divergence(self) -> list[float | None]:
        """The last CURVE values."""
        return list(self._curve)[-CURVE:]

    @property
    def steps(self) -> int:
        """Sampling steps of the dream."""
        return self.dream.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self.dream.steps = steps

    @property
    def seed(self) -> int:
        """Of the dream's noise."""
        return self.dream.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.dream.seed = seed

    @property
    def status(self) -> str | None:
        """What the real game does behind play."""
        return self.real.status

    def dreamed(self, frame: Frame) -> Frame:
        """The dream's half of a frame."""
        return frame[:, self.real.size_hw[1] + GAP :]

    def reset(self, *, start: int = 0, seed: int = 0) -> Frame:
        """Reset the real game, and let the dream begin with it."""
        self._frames.clear()
        self._moves.clear()
        self._curve.clear()
        self._seed = seed
        self._frames.append(self.real.reset(start=start, seed=seed).copy())
        for _ in range(CONTEXT - 1):
            self._step_real(Action())
        return self.resync()

    def resync(self) -> Frame:
        """Let the dream go on from the last real frames."""
        frames, moves = list(self._frames)[-CONTEXT:], list(self._moves)[-(CONTEXT - 1) :]
        frame = self.dream.reset(start=(np.stack(frames), moves[: len(frames) - 1]), seed=self._seed)
        self._curve.append(None)
        return self._beside(frame)

    def step(self, action: Action) -> Frame:
        """One step of both."""
        self._step_real(action)
        frame = self.dream.step(action)
        self._curve.append(psnr(self._frames[-1], frame))
        return self._beside(frame)

    def settle(self) -> None:
        """Of the dream."""
        self.dream.settle()

    def close(self) -> None:
        """Close both."""
        self.real.close()
        self.dream.close()

    def reach(self) -> tuple[int, int]:
        """As far as both remember."""
        mine = len(self._frames) - 1
        reaches = zip(self.real.reach(), self.dream.reach(), strict=True)
        exact, farthest = (min(mine, *both) for both in reaches)
        return exact, farthest

    def rewind(self, frames: int) -> Frame:
        """Both go back."""
        frames = min(frames, self.reach()[1])
        for _ in range(frames):
            self._frames.pop()
            self._moves.pop()
            self._curve.pop()
        self.real.rewind(frames)
        return self._beside(self.dream.rewind(frames))

    def state(self) -> dict[str, Any]:
        """Of both, and the last real frames."""
        context = list(self._frames)[-CONTEXT:]
        moves = [[sorted(m.buttons), list(m.mouse)] for m in list(self._moves)[-(len(context) - 1) :]]
        shown = {"frames": stacked(context), "moves": moves if len(context) > 1 else [], "seed": self._seed}
        return {"real": self.real.state(), "dream": self.dream.state(), **shown}

    def load_state(self, state: dict[str, Any]) -> Frame:
        """Both return to it, or neither; the curve begins anew."""
        before = self.dream.state()
        frame = self.dream.load_state(state["dream"])
        try:
            self.real.load_state(state["real"])
        except ValueError:
            self.dream.load_state(before)
            raise
        self._frames = deque(np.asarray(state["frames"]), maxlen=PAST)
        self._moves = deque((Action(names, (m[0], m[1])) for names, m in state["moves"]), maxlen=PAST - 1)
        self._curve.clear()
        self._curve.append(None)
        self._seed = state["seed"]
        return self._beside(frame)

    def past(self) -> Line:
        """The line so far, of both."""
        shown = (tuple(self._frames), tuple(self._moves), tuple(self._curve))
        return Line(self.real.past(), self.dream.past(), *shown, self._seed, self.reach()[0])

    def thinned(self, past: Line, frames: int) -> Line:
        """The same line, with fewer frames of both."""
        real, dream = self.real.thinned(past.real, frames), self.dream.thinned(past.dream, frames)
        most, exact = frames + CONTEXT, min(past.exact, frames)
        kept, moves, curve = past.frames[-most:], past.moves[-most + 1 :], past.curve[-most:]
        return replace(past, real=real, dream=dream, frames=kept, moves=moves, curve=curve, exact=exact)

    def return_to(self, past: Line) -> Frame:
        """Both go to the end of a line."""
        self._frames, self._moves = deque(past.frames, maxlen=PAST), deque(past.moves, maxlen=PAST - 1)
        self._curve, self._seed = deque(past.curve, maxlen=PAST), past.seed
        self.real.return_to(past.real)
        return self._beside(self.dream.return_to(past.dream))

    def _step_real(self, action: Action) -> None:
        self._frames.append(self.real.step(action).copy())
        self._moves.append(action)

    def _beside(self, dreamed: Frame) -> Frame:
        real = self._frames[-1]
        gap = np.zeros((real.shape[0], GAP, 3), np.uint8)
        return np.concatenate([real, gap, dreamed], 1)


def stacked(frames: list[Frame]) -> Any:
    """Frames as one tensor uint8 (T, H, W, 3), for a file of states."""
    import torch

    return torch.from_numpy(np.stack(frames))


def psnr(ours: Frame, theirs: Frame) -> float:
    """Peak signal-to-noise ratio of uint8 frames in dB, at most 99."""
    error = float(np.mean((ours.astype(np.float32) - theirs) ** 2))
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0
