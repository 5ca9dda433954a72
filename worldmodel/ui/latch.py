"""What a player did between two steps.

Feel    how strongly mouse and stick turn the view, and how keys are held
Latch   events of keys, mouse and stick in, one Action a step out

Not here: where events come from (events.py, gamepad.py), which key presses which button (keymap.py).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from worldmodel.action import OPPOSITES, Action, ActionSpace, cancel_opposites


@dataclass(frozen=True, kw_only=True)
class Feel:
    """degrees_per_pixel: of the mouse; stick_degrees: a second, with the look stick at its end; dead_zone: share of a
    stick's way that counts as its middle; invert_y: up and down change places; toggle: a press holds a button until
    the next press of it.
    """

    degrees_per_pixel: float = 0.15
    stick_degrees: float = 180.0
    dead_zone: float = 0.15
    invert_y: bool = False
    toggle: bool = False

    def __post_init__(self) -> None:
        for name in ("degrees_per_pixel", "stick_degrees"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.dead_zone <= 0.9:
            raise ValueError(f"dead_zone must be in [0, 0.9], got {self.dead_zone}")


class Latch:
    """What the player did since the last step: written by the window's thread, taken by the model's.

    Held codes count while held; a tap shorter than a step counts for one step; mouse motion is summed, turned into
    degrees and clamped to the space's range, the rest is dropped; a stick turns as long as it is tilted. fps: steps a
    second of the world. Raises ActionError if a binding names a button that the space does not have.
    """

    def __init__(self, space: ActionSpace, bindings: Mapping[int, str], feel: Feel, fps: float) -> None:
        space.check(Action(bindings.values()))
        self.space, self.bindings, self.feel, self.fps = space, dict(bindings), feel, fps
        self.input_time: float | None = None  # of the oldest event in the Action taken last, time.perf_counter()
        self._lock = threading.Lock()
        self._down: set[int] = set()
        self._toggled: set[str] = set()
        self._tapped: set[str] = set()
        self._pixels = [0.0, 0.0]
        self._tilt = (0.0, 0.0)
        self._first_event: float | None = None

    def bind(self, bindings: Mapping[int, str]) -> None:
        """Other keys from now on; what is held is forgotten. ActionError for a button that the space lacks."""
        self.space.check(Action(bindings.values()))
        self.release_all()
        with self._lock:
            self.bindings = dict(bindings)

    def press(self, code: int) -> None:
        """A key, a mouse button or a part of a gamepad went down; codes without a button are ignored."""
        if code in self.bindings:
            with self._lock:
                self._note_event()
                name = self.bindings[code]
                if not self.feel.toggle:
                    self._down.add(code)
                    self._tapped.add(name)
                elif name in self._toggled:
                    self._toggled.discard(name)
                else:
                    self._toggled -= {other for pair in OPPOSITES if name in pair for other in pair}
                    self._toggled.add(name)
                    self._tapped.add(name)

    def release(self, code: int) -> None:
        """It went up."""
        with self._lock:
            if code in self._down:
                self._note_event()
                self._down.discard(code)

    def hold_again(self, codes: Iterable[int]) -> None:
        """The window has the focus again, and these are down; what was toggled on stays off."""
        self.release_all()
        for code in () if self.feel.toggle else codes:
            self.press(code)

    def move(self, dx: float, dy: float) -> None:
        """The mouse moved by pixels, +x right, +y down; ignored on axes that the space does not have."""
        with self._lock:
            if (dx and self.space.mouse[0]) or (dy and self.space.mouse[1]):
                self._note_event()
                self._pixels[0] += dx
                self._pixels[1] += dy

    def tilt(self, x: float, y: float) -> None:
        """The look stick stands at x, y in [-1, 1], +x right, +y down; within the dead zone that is its middle."""
        length, zone = math.hypot(x, y), self.feel.dead_zone
        far = min(1.0, max(0.0, (length - zone) / (1 - zone)))
        share = far * far / length if far else 0.0  # squared: fine near the middle
        with self._lock:
            tilt = (x * share if self.space.mouse[0] else 0.0, y * share if self.space.mouse[1] else 0.0)
            if tilt != self._tilt:
                self._note_event()
                self._tilt = tilt

    def release_all(self) -> None:
        """Forget everything: held codes, taps, tilt and motion (the window lost the focus)."""
        with self._lock:
            self._down.clear()
            self._toggled.clear()
            self._tilt = (0.0, 0.0)
        self.forget_pending()

    def forget_pending(self) -> None:
        """Forget taps and motion, keep what is held (play goes on after a pause)."""
        with self._lock:
            self._tapped.clear()
            self._pixels = [0.0, 0.0]
            self._first_event = None

    def take(self) -> Action:
        """The Action of the step that begins now; taps and motion start over."""
        with self._lock:
            held = {self.bindings[code] for code in self._down}
            buttons = cancel_opposites(held | self._toggled | self._tapped)
            mouse = self._degrees(0), self._degrees(1)
            self.input_time, self._first_event = self._first_event, None
            self._tapped.clear()
            self._pixels = [0.0, 0.0]
        return Action(buttons, mouse)

    @property
    def is_idle(self) -> bool:
        """True if take() would give an Action in which nothing was done."""
        with self._lock:
            return not (self._down or self._toggled or self._tapped or any(self._pixels) or any(self._tilt))

    def _degrees(self, axis: int) -> float:
        limit, feel = self.space.mouse[axis], self.feel
        turn = self._pixels[axis] * feel.degrees_per_pixel + self._tilt[axis] * feel.stick_degrees / self.fps
        turn = -turn if axis == 1 and feel.invert_y else turn
        return min(max(round(turn, 3), -limit), limit) + 0.0  # never -0.0

    def _note_event(self) -> None:
        if self._first_event is None:
            self._first_event = time.perf_counter()
