"""The model's thread: step the world, in time with it, and hand out the newest frame.

Settling   what some Envs can do besides: work ahead
Shown      a frame and what led to it
Runner     commands in, frames out; owns the Env while it runs

The window's thread calls only send, stop and newest, and reads the attributes. Input is taken right before the step,
after the wait for the deadline, so a frame answers the newest keys. Not here: events, drawing (session.py).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldmodel.action import Action
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.data.states import NUM_SLOTS, SaveError, Slots
from worldmodel.env import Env, EpisodeEnd, Frame, Rewindable, Sampled
from worldmodel.ui.keymap import Command, Latch
from worldmodel.ui.stats import Stats

PACES = ("realtime", "uncapped", "turn")
MOST_STEPS = 64  # tried when a player asks for more sampling steps
IDLE_WAIT_S = 0.004  # between two looks at the keys when the world stands still
IDLE = Action()
Script = Callable[[int], Action]


@runtime_checkable
class Settling(Protocol):
    """An Env with work left after a step that needs no new action: it is done while the frame is being shown."""

    def settle(self) -> None:
        """Do that work; without the call, the next step does it first."""
        ...


@dataclass(frozen=True)
class Shown:
    """A frame uint8 (H, W, 3), the action that led to it, and its number in Stats (None: no step made it)."""

    frame: Frame
    action: Action
    number: int | None


class Runner:
    """Plays one Env. pace: realtime keeps to env.fps and runs free where the model is slower (a slower world, no
    step is skipped); uncapped never waits; turn steps only while a key or the mouse is used, at most at env.fps.

    For reading from the window's thread: is_paused; is_over (the episode has ended); start, seed and frame_index (steps
    since the reset); steps of the sampler; recording_since (perf_counter, None while nothing is recorded); stats.
    Lines for the player appear in `messages`.
    """

    def __init__(
        self, env: Env, latch: Latch, pace: str, start: Any, seed: int, num_starts: int, slots: Slots | None = None
    ) -> None:
        if pace not in PACES:
            raise ValueError(f"pace must be one of {PACES}, got {pace!r}")
        self.env, self.latch, self.pace = env, latch, pace
        self.start, self.seed, self.num_starts = start, seed, num_starts
        self.stats, self.frame_index = Stats(), 0
        self.recording_since: float | None = None
        self.is_paused = self.is_over = False
        self.slots, self.slot, self.num_saves = slots, 0, 0
        self.rewound: int | None = None
        self.is_exact = True
        self.messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._recorder = env if isinstance(env, Recorder) else None
        self._told_problem: str | None = None
        self._inner = self._recorder.env if self._recorder else env
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._newest: Shown | None = None  # a mailbox with one place: a frame nobody fetched is replaced
        self._arrived = threading.Event()

    def send(self, command: Command) -> None:
        """Ask for a command; it is obeyed between two steps."""
        self._commands.put(command)
        self._wake.set()

    def stop(self) -> None:
        """End run() after the step in progress."""
        self._stop.set()
        self._wake.set()

    def newest(self, timeout_s: float) -> Shown | None:
        """The newest frame if one came since the last call, waiting for it no longer than timeout_s."""
        if not self._arrived.wait(timeout_s):
            return None
        self._arrived.clear()
        return self._newest

    @property
    def steps(self) -> int | None:
        """Sampling steps a frame of a dreamed world, None where there are none."""
        return self._inner.steps if isinstance(self._inner, Sampled) else None

    def run(self, max_frames: int | None, script: Script | None) -> None:
        """Play until stop(), or max_frames steps, or (with max_frames) the episode's end. Blocks; any error ends it.

        script  the action of step 0, 1, 2 ... instead of the keyboard's. A running recording is always finished.
        """
        try:
            self._reset()
            deadline = time.perf_counter()
            while not self._stop.is_set() and (max_frames is None or self.stats.num_frames < max_frames):
                do_single = self._obey()
                if self.rewound is not None:
                    deadline = _wait_for(deadline, 1 / self.env.fps)
                    self._rewind(1)
                    continue
                if not do_single and (
                    self.is_paused or (self.pace == "turn" and script is None and self.latch.is_idle)
                ):
                    self.stats.interrupt()
                    self._wake.wait(IDLE_WAIT_S)
                    self._wake.clear()
                    continue
                if self.pace != "uncapped":
                    deadline = _wait_for(deadline, 1 / self.env.fps)
                try:
                    self._step(script)
                except EpisodeEnd:
                    if max_frames is not None:
                        return
                    self.is_paused = self.is_over = True
                    self.messages.put("the episode is over: F4 plays it again")
        finally:
            self._finish_recording()

    def _step(self, script: Script | None) -> None:
        action = script(self.stats.num_frames) if script else self.latch.take()
        latch = time.perf_counter()
        event = None if script else self.latch.input_time
        if isinstance(self._inner, Replay):
            action = self._inner.recorded_action or action  # what was pressed then, for the key caps
        start = time.perf_counter()
        frame = self.env.step(action)
        end = time.perf_counter()
        self.frame_index += 1
        number = self.stats.add(event, latch, start, end)
        self._publish(frame, action, number)
        if isinstance(self._inner, Settling):
            self._inner.settle()
            self.stats.settled(number, time.perf_counter())
        self._watch_recording()

    def _publish(self, frame: Frame, action: Action = IDLE, number: int | None = None) -> None:
        # copied, because an Env may write its next frame into the same memory while this one is drawn
        self._newest = Shown(np.array(frame, order="C"), action, number)
        self._arrived.set()

    def _reset(self) -> None:
        frame = self.env.reset(start=self.start, seed=self.seed)
        self.is_paused = self.is_paused and not self.is_over
        self.frame_index, self.is_over, self.is_exact = 0, False, True
        self.stats.interrupt()
        self._publish(frame)
        self._watch_recording()

    def _obey(self) -> bool:
        """Carry out all waiting commands; True if one step is to be made although paused."""
        do_single = False
        while not self._commands.empty():
            command = self._commands.get()
            if command is not Command.REWIND:  # whatever else is asked for ends the rewind
                self._stop_rewind()
            match command:
                case Command.RESET:
                    self._reset()
                case Command.NEXT_START:
                    self._next_start()
                case Command.PAUSE:
                    self._set_paused(not self.is_paused)
                case Command.HOLD:
                    self._set_paused(True)
                case Command.RESUME:
                    self._set_paused(False)
                case Command.SINGLE_STEP:
                    do_single = self.is_paused and not self.is_over
                case Command.STEP_BACK:
                    if self.is_paused:
                        self._rewind(1)
                case Command.REWIND:
                    self._rewind(1)
                    self.rewound = self.rewound or (1 if isinstance(self.env, Rewindable) else None)
                case Command.SAVE:
                    self._save()
                case Command.LOAD:
                    self._load()
                case Command.NEXT_SLOT:
                    self.slot = (self.slot + 1) % NUM_SLOTS
                case Command.RECORD:
                    self._toggle_recording()
                case Command.FEWER_STEPS:
                    self._change_steps(-1)
                case Command.MORE_STEPS:
                    self._change_steps(+1)
        return do_single

    def _set_paused(self, wanted: bool) -> None:
        if self.is_paused and not wanted:
            self.latch.forget_pending()  # what was tapped during the pause was not meant for the world
        self.is_paused = wanted or self.is_over

    def _next_start(self) -> None:
        """The next start image; in a world with one start, the next seed."""
        if self.num_starts > 1:
            self.start = (self.start + 1) % self.num_starts if isinstance(self.start, int) else 0
        else:
            self.seed += 1
        self._reset()

    def _rewind(self, frames: int) -> None:
        """Go back, or as far as is remembered; say whether what follows is exact."""
        if not isinstance(self.env, Rewindable):
            self.messages.put("this world cannot go back")
            return
        exact, farthest = self.env.reach()
        frames = min(frames, farthest)
        self.is_exact = self.is_exact and frames <= exact
        frame = self.env.rewind(frames)
        self.frame_index -= frames
        if self.rewound is not None:
            self.rewound += frames
        if self.is_over:
            self.is_paused = self.is_over = False
        self._interrupt(frame)

    def _stop_rewind(self) -> None:
        if self.rewound is not None:
            kind = "exact" if self.is_exact else "approximate: further back than the memory goes"
            self.messages.put(f"went back {self.rewound / self.env.fps:.1f} s ({kind}): a new branch")
            self.rewound = None
            self.latch.forget_pending()

    def _interrupt(self, frame: Frame) -> None:
        """Show a frame that no step has led to."""
        self.stats.interrupt()
        self._publish(frame)
        self._watch_recording()

    def _save(self) -> None:
        if not (self.slots and isinstance(self.env, Rewindable)):
            self.messages.put("this world cannot be saved")
            return
        try:
            assert self._newest is not None
            path = self.slots.save(self.slot, self.env.state(), self._newest.frame, self.frame_index)
            self.num_saves += 1
            self.messages.put(f"saved to slot {self.slot}: {path}")
        except OSError as error:
            self.messages.put(f"not saved: {' '.join(str(error).split())}. Make room on the disk.")
        self.stats.interrupt()

    def _load(self) -> None:
        """Return to the slot's state; whatever is wrong with it is said, and play goes on where it was."""
        if not (self.slots and isinstance(self.env, Rewindable)):
            self.messages.put("this world cannot be saved")
            return
        try:
            state, index, self.is_exact = self.slots.load(self.slot)
            frame = self.env.load_state(state)
        except (SaveError, ValueError, KeyError) as error:  # KeyError: a state of another kind of Env
            self.messages.put(f"not loaded: {' '.join(str(error).split())}")
            return
        self.frame_index = index
        self.is_paused = self.is_paused and not self.is_over
        self.is_over = False
        self.messages.put(f"loaded slot {self.slot}" + ("" if self.is_exact else " (another build: approximate)"))
        self._interrupt(frame)

    def _toggle_recording(self) -> None:
        if not self._recorder:
            self.messages.put("this world is not recorded")
        elif self._recorder.is_recording:
            self._finish_recording()
        else:
            self._recorder.start()
            self._watch_recording()

    def _finish_recording(self) -> None:
        """Close a running recording and say where it is, or what is wrong with it."""
        if self._recorder and self._recorder.is_recording:
            path = self._recorder.episode_path
            self._recorder.stop()
            if path and not self._recorder.problem:
                self.messages.put(f"recorded {path}")
        self._watch_recording()

    def _watch_recording(self) -> None:
        """Keep the red light true, and say so once when a recording fails."""
        if not self._recorder:
            return
        if not self._recorder.is_recording:
            self.recording_since = None
        elif self.recording_since is None:
            self.recording_since = time.perf_counter()
        if self._recorder.problem != self._told_problem:
            self._told_problem = self._recorder.problem
            if self._told_problem:
                self.messages.put(self._told_problem)

    def _change_steps(self, by: int) -> None:
        """To the next number of sampling steps, up or down, that the world was made for."""
        if not isinstance(self._inner, Sampled):
            self.messages.put("this world has no sampling steps")
            return
        now = self._inner.steps
        for steps in range(now + by, 0 if by < 0 else MOST_STEPS + 1, by):
            try:
                self._inner.steps = steps
                break
            except ValueError:  # the world has no noise levels for this number: try the one after it
                continue
        most = "" if self._inner.steps != now else ", there are no " + ("fewer" if by < 0 else "more")
        self.messages.put(f"{self._inner.steps} sampling steps{most}")


def _wait_for(deadline: float, period: float) -> float:
    """Sleep until the deadline; gives the next one. Who is more than a period late starts anew instead of racing."""
    now = time.perf_counter()
    if deadline > now:
        time.sleep(deadline - now)
    return (deadline if deadline > now - period else now) + period
