"""Is a dreamed frame still a picture of the world?

SickFrame    a frame that must not be shown or recorded
diagnosis    what is wrong with a frame, or None
Illness      does it keep coming back

Not here: going back to a healthy moment (ui/runner.py).
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from worldmodel.env import Env, Frame

LEAST_SPREAD = 1.5  # of 255, standard deviation of the brightest channel: below it the picture is one colour
MOST_CLIPPED = 0.97  # share of values that are 0 or 255
RELAPSE_S, MOST_ILLNESSES = 10.0, 3  # so many in so long are no accident
MOST_LATENT = 60.0  # magnitude: four times the most, 14.7, of 800 scripted frames of the first world


class SickFrame(Exception):
    """The dream broke in this step; the message says how."""


@runtime_checkable
class Vital(Protocol):
    """An Env that can tell how far its inner numbers have gone; nan or inf where they have broken."""

    def vitals(self) -> float:
        """The largest magnitude in the newest frame's latent."""
        ...


def diagnosis(env: Env, frame: Frame) -> str | None:
    """What is wrong with the frame that env has just made; None if nothing is."""
    largest = env.vitals() if isinstance(env, Vital) else 0.0
    if not np.isfinite(largest):
        return "its numbers were no longer finite"
    if largest > MOST_LATENT:
        return f"its numbers ran away (to {largest:.0f})"
    if frame.std((0, 1)).max() < LEAST_SPREAD:
        return "the picture was one colour"
    if ((frame == 0) | (frame == 255)).mean() > MOST_CLIPPED:
        return "the picture was black and white noise"
    return None


class Illness:
    """When frames were sick."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def is_lasting(self, now: float) -> bool:
        """Note a sick frame, now in seconds; True if it is the MOST_ILLNESSES-th within RELAPSE_S."""
        self._times = [t for t in self._times if now - t < RELAPSE_S] + [now]
        return len(self._times) >= MOST_ILLNESSES
