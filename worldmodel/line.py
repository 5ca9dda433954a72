"""What an engine keeps of a line of play: its moments, and the line as something to come back to.

Moment     one dreamed frame
Line       a line that was left, or is being played; thinned: the same in less memory
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from worldmodel.env import Frame

THINNED = 450  # frames of a line that was left of which only the latent is kept: 3 MB


@dataclass
class Moment:
    """One dreamed frame: what it takes to show it and to have been there.

    past: what the memory holds of it (KVCache.frame), None until it is committed.
    """

    latent: Tensor  # (1, 1, C, h, w)
    action: Tensor  # (1, 1, A): what the network was told of it
    frame: Frame
    past: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Line:
    """A line of play that can be returned to (env.Past), as deques and numbers of an Engine; nothing in it is a copy.

    exact: how many frames one can go back on it exactly
    """

    moments: tuple[Moment, ...]
    faded: tuple[tuple[Tensor, Tensor], ...]
    begun: dict[str, Any]
    begun_told: Tensor
    start_frame: Frame
    index: int
    first_time: int
    is_faded: bool
    seed: int
    steps: int
    exact: int

    def thinned(self, frames: int, seen: int) -> Line:
        """The same line, exact for at most so many frames; before them, THINNED latents. seen: the frames that a frame
        needs to be dreamed again.
        """
        surplus = max(0, len(self.moments) - frames - seen)
        if not surplus:
            return replace(self, faded=self.faded[-THINNED:])
        faded = (*self.faded, *((moment.latent, moment.action) for moment in self.moments[:surplus]))
        return replace(self, moments=self.moments[surplus:], faded=faded[-THINNED:], exact=min(self.exact, frames))
