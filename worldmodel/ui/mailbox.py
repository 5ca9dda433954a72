"""From the model's thread to the window's: the newest frame.

Shown     a frame and what led to it
Mailbox   one place: a frame nobody fetched is replaced
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from worldmodel.action import Action
from worldmodel.env import Frame


@dataclass(frozen=True)
class Shown:
    """A frame uint8 (H, W, 3), the action that led to it, and its number in Stats (None: no step made it)."""

    frame: Frame
    action: Action
    number: int | None


class Mailbox:
    """last: what was put in last, fetched or not; None before the first frame."""

    def __init__(self) -> None:
        self.last: Shown | None = None
        self._arrived = threading.Event()

    def put(self, frame: Frame, action: Action, number: int | None) -> Frame:
        """Put a copy in, because an Env may write its next frame into the same memory; gives the copy."""
        self.last = Shown(np.array(frame, order="C"), action, number)
        self._arrived.set()
        return self.last.frame

    def newest(self, timeout_s: float) -> Shown | None:
        """The newest frame if one came since the last call, waiting for it no longer than timeout_s."""
        if not self._arrived.wait(timeout_s):
            return None
        self._arrived.clear()
        return self.last
