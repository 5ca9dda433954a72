"""Where the view points, by what was pressed alone: two more numbers that a network is told with every action.

Compass   actions (..., T, A) -> what a network is told, (..., T, A + 2): the action, sine and cosine of the heading

Where turning is never blocked, the sum of all turns is the heading. A network that is told of it finds, among the
frames it remembers, those that looked the same way, and need not add up turns itself; camera poses serve memory
likewise in WorldMem (arXiv:2504.12369). Which way is 0 means nothing: training turns it at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.action import ActionSpace


@dataclass(frozen=True)
class Compass:
    """turns: degrees to the right that one of each component of an action turns the view; (): there is no compass."""

    turns: tuple[float, ...]

    @staticmethod
    def of(space: ActionSpace) -> Compass:
        """The compass of a game's actions."""
        return Compass(space.turns)

    def along(self, actions: Tensor, last: Tensor | None = None) -> Tensor:
        """What a network is told of actions (..., T, A) in a row, float32.

        last (..., 1, A + 2): what it was told of the step before them; without it they begin at heading 0.
        """
        if not self.turns:
            return actions
        degrees = torch.tensor(self.turns, dtype=torch.float64, device=actions.device)
        heading = torch.deg2rad(actions.double() @ degrees).cumsum(-1)  # (..., T)
        if last is not None:
            heading = heading + torch.atan2(last[..., -2].double(), last[..., -1].double())
        return torch.cat([actions, towards(heading)], -1)

    def in_clips(self, actions: np.ndarray, headings: np.ndarray) -> np.ndarray:
        """The same of clips float32 (B, T, A) that begin at headings (B,) in radians."""
        if not self.turns:
            return actions
        begun = towards(torch.from_numpy(headings)[:, None])  # (B, 1, 2)
        last = torch.cat([begun.new_zeros(len(begun), 1, len(self.turns)), begun], -1)
        return self.along(torch.from_numpy(actions), last).numpy()


def towards(heading: Tensor) -> Tensor:
    """Sine and cosine, float32 (..., 2)."""
    return torch.stack([heading.sin(), heading.cos()], -1).float()
