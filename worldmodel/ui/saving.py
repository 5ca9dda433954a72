"""The ten slots as a player uses them: save, load, and a line about how it went.

Saving   slots and the chosen one

Not here: files (data/states.py), what follows from a loaded state (runner.py).
"""

from __future__ import annotations

from collections.abc import Callable

from worldmodel.data.states import NUM_SLOTS, SaveError, Slots
from worldmodel.env import Env, Frame, Rewindable


class Saving:
    """slots (None: this world is not saved); slot: the chosen one; num_saves so far; tell gets each line."""

    def __init__(self, slots: Slots | None, tell: Callable[[str], None]) -> None:
        self.slots, self.slot, self.num_saves, self._tell = slots, 0, 0, tell

    def choose(self, number: int) -> None:
        """Slot number - 1, or for 0 the next one."""
        self.slot = number - 1 if number else (self.slot + 1) % NUM_SLOTS

    def save(self, env: Env, frame: Frame, frame_index: int) -> None:
        """Fill the chosen slot."""
        if not (self.slots and isinstance(env, Rewindable)):
            self._tell("this world cannot be saved")
            return
        try:
            path = self.slots.save(self.slot, env.state(), frame, frame_index)
            self.num_saves += 1
            self._tell(f"saved to slot {self.slot}: {path}")
        except OSError as error:
            self._tell(f"not saved: {' '.join(str(error).split())}. Make room on the disk.")

    def load(self, env: Env) -> tuple[Frame, int, bool] | None:
        """Return to the chosen slot's state: the frame, its number, and whether its future is exact.

        None if that cannot be: then the reason is told, and the world is where it was.
        """
        if not (self.slots and isinstance(env, Rewindable)):
            self._tell("this world cannot be saved")
            return None
        try:
            state, index, is_exact = self.slots.load(self.slot)
            frame = env.load_state(state)
        except (SaveError, ValueError, KeyError) as error:  # KeyError: a state of another kind of Env
            self._tell(f"not loaded: {' '.join(str(error).split())}")
            return None
        self._tell(f"loaded slot {self.slot}" + ("" if is_exact else " (another build: approximate)"))
        return frame, index, is_exact
