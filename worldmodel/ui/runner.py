"""The model's thread: step the world, in time with it, and hand out the newest frame.

Runner     commands in, frames out; owns the Env while it runs

The window's thread calls only send, stop and mailbox.newest, and reads the attributes. Input is taken right before the
step, after the wait for the deadline, so a frame answers the newest keys. Not here: events, drawing (session.py).
"""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

from worldmodel.action import Action
from worldmodel.data.both import Both
from worldmodel.data.health import Illness, SickFrame
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay
from worldmodel.data.states import Slots
from worldmodel.env import Env, EpisodeEnd, Frame, Rewindable, Sampled
from worldmodel.ui.abilities import (
    Backed,
    Decoding,
    Imaginative,
    Prospect,
    Seeded,
    Settling,
    change_steps,
    prospects,
)  # fmt: skip
from worldmodel.ui.branches import Branches
from worldmodel.ui.control import Control, Opening, Script
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Latch
from worldmodel.ui.mailbox import Mailbox
from worldmodel.ui.pace import PACES, keep_beat, stands, wait_for
from worldmodel.ui.saving import Saving
from worldmodel.ui.stats import Stats
from worldmodel.ui.tape import Tape, Taping

IDLE_WAIT_S = 0.004  # between two looks at the keys when the world stands still
HEALTHY_S = 0.9  # how far a broken dream goes back
IDLE = Action()


class Runner:
    """Plays one Env. pace: realtime keeps to env.fps and runs free where the model is slower (a slower world, no
    step is skipped); uncapped never waits; turn steps only while a key or the mouse is used, at most at env.fps.

    For reading from the window's thread: world (the Env inside a Recorder); is_paused; is_over (the
    episode has ended); start, seed and frame_index (steps since the reset); branches; steps of the sampler; taping;
    saving; control; fan (what-if); stats; mailbox.
    Lines for the player appear in `messages`.
    """

    def __init__(
        self, env: Env, latch: Latch, pace: str, start: Any, seed: int, num_starts: int, slots: Slots | None = None,
        opening: Opening | None = None, films: Path = Path("out"),
    ) -> None:  # fmt: skip
        if pace not in PACES:
            raise ValueError(f"pace must be one of {PACES}, got {pace!r}")
        self.env, self.latch, self.pace = env, latch, pace
        self.start, self.seed, self.num_starts = start, seed, num_starts
        self.stats, self.frame_index = Stats(), 0
        self.is_paused = self.is_over = False
        self.control = Control(latch, opening)
        self.fan: list[Prospect] = []
        self.rewound: int | None = None
        self.is_exact = True
        self._illness = Illness()
        self.messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.saving = Saving(slots, self.messages.put)
        recorder = env if isinstance(env, Recorder) else None
        self.world = recorder.world if recorder else env
        self.tape, self.taping = Tape(env.fps, env.size_hw), Taping(recorder, films, self.messages.put)
        self.branches = Branches(env, self.tape)
        self._commands: queue.SimpleQueue[tuple[Command, Any]] = queue.SimpleQueue()
        self._wake, self._stop = threading.Event(), threading.Event()
        self.mailbox = Mailbox()

    def send(self, command: Command, number: Any = 0) -> None:
        """Ask for a command; it is obeyed between two steps. number: which prospect, how many frames back, (number of
        a line, frame of it), or a start or slot and one more (0: the next); a start may also be a picture uint8
        (H, W, 3).
        """
        self._commands.put((command, number))
        self._wake.set()

    def stop(self) -> None:
        """End run() after the step in progress."""
        self._stop.set()
        self._wake.set()

    @property
    def steps(self) -> int | None:
        """Sampling steps a frame of a dreamed world, None where there are none."""
        return self.world.steps if isinstance(self.world, Sampled) else None

    @property
    def can_go_back(self) -> bool:
        """True if the past of this world can be returned to."""
        return isinstance(self.env, Rewindable)

    @property
    def divergence(self) -> list[float | None] | None:
        """PSNR of the dream against the real game beside it, one a step; None where there is none."""
        return list(self.world.divergence) if isinstance(self.world, Both) else None

    def run(self, max_frames: int | None, script: Script | None) -> None:
        """Play until stop(), or max_frames steps, or (with max_frames) the episode's end. Blocks; any error ends it.

        script  the action of step 0, 1, 2 ... instead of the keyboard's. A running recording is always finished.
        """
        try:
            self.control.script = script
            self._reset()
            deadline = time.perf_counter()
            while not self._stop.is_set() and (max_frames is None or self.stats.num_frames < max_frames):
                do_single = self._obey()
                if self.rewound is not None:
                    deadline = keep_beat(deadline, 1 / self.env.fps)
                    self._rewind(1)
                    continue
                if not do_single and (self.is_paused or stands(self.pace, self.control, self.latch)):
                    self.stats.interrupt()
                    self._wake.wait(IDLE_WAIT_S)
                    self._wake.clear()
                    continue
                deadline = wait_for(deadline, self.env.fps, self.pace, self.control)
                try:
                    self._step()
                except SickFrame as sick:
                    self._recover(str(sick))
                except EpisodeEnd:
                    if max_frames is not None:
                        return
                    self.is_paused = self.is_over = True
                    self.messages.put("the episode is over")
        finally:
            self.taping.close()

    def _step(self) -> None:
        control = self.control
        is_mine, was_opening = control.is_players, control.is_opening
        action, steps = control.take(self.stats.num_frames)
        if steps is not None and isinstance(self.world, Sampled):
            self.world.steps = steps
        if was_opening and not control.is_opening:
            self.is_paused = control.then_pauses
            self.messages.put(f"frame {self.frame_index + 1}: yours from here")
        latch = time.perf_counter()
        event = self.latch.input_time if is_mine else None
        if isinstance(self.world, Replay):
            action = self.world.recorded_action or action  # what was pressed then, for the key caps
        self.branches.go_on(self.frame_index)
        start = time.perf_counter()
        frame = self.env.step(action)
        end = time.perf_counter()
        self.frame_index += 1
        number = self.stats.add(event, latch, start, end)
        if isinstance(self.world, Decoding) and self.world.decode_s is not None:
            self.stats.decoded(number, end - self.world.decode_s)
        shown = self._publish(frame, action, number)
        self.tape.add(action, shown, self.steps, self.world.backend if isinstance(self.world, Backed) else None)
        if isinstance(self.world, Settling):
            self.world.settle()
            self.stats.settled(number, time.perf_counter())
        self.taping.watch()

    def _publish(self, frame: Frame, action: Action = IDLE, number: int | None = None) -> Frame:
        return self.mailbox.put(frame, action, number)

    def _leave(self) -> None:
        """Keep the line up to here: what comes next is another."""
        here = self.branches.here(self.frame_index, (self.start, self.seed), is_exact=self.is_exact)
        self.branches.leave(here, self.frame_index)

    def _go(self, number: int, index: int) -> None:
        """Go to a frame of a line that was left, and wait there."""
        self._leave()
        went = self.branches.go(number, index)
        if went is None:
            self.messages.put(f"branch {number} is no longer kept")
            return
        frame, line, self.is_exact = went
        (self.start, self.seed), self.frame_index, self.is_over = line.begun, index, False
        self.control.drop()
        self._interrupt(frame)
        kind = "exact" if self.is_exact else "approximate: further back than the memory goes"
        self.messages.put(f"branch {number}, frame {index} ({kind})")

    def _reset(self) -> None:
        self._leave()
        begin = self.control.opening.begin
        frame = begin(self.env) if begin else self.env.reset(start=self.start, seed=self.seed)
        self.control.begin()
        self.is_paused = self.is_paused and not self.is_over
        self.frame_index, self.is_over, self.is_exact = 0, False, True
        self._interrupt(frame)
        self.tape.begin(frame.copy(), is_reset=True)
        self.branches.begin(0)

    def _obey(self) -> bool:
        """Carry out all waiting commands; True if one step is to be made although paused."""
        do_single = False
        while not self._commands.empty():
            command, number = self._commands.get()
            had_fan, self.fan = bool(self.fan), self.fan if command is Command.CHOOSE else []
            if command is not Command.REWIND:  # whatever else is asked for ends the rewind
                self._stop_rewind()
            match command:
                case Command.RESET:
                    self._reset()
                case Command.NEXT_START:
                    self._next_start(number)
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
                        self._rewind(max(1, number))
                case Command.WHAT_IF if not had_fan:  # the same key leaves it
                    self._imagine()
                case Command.GO:
                    self._go(*number)
                case Command.CHOOSE:
                    self._follow(number)
                case Command.TAKE_OVER if self.control.is_opening:
                    self.control.drop()
                    self.messages.put(f"frame {self.frame_index}: yours from here")
                case Command.RESYNC:
                    self._resync()
                case Command.REWIND:
                    self._rewind(1)
                    self.rewound = self.rewound or (1 if isinstance(self.env, Rewindable) else None)
                case Command.SAVE:
                    self._save()
                case Command.LOAD:
                    self._load()
                case Command.NEXT_SLOT:
                    self.saving.choose(number)
                case Command.RECORD:
                    self.taping.toggle()
                case Command.KEEP_LAST:
                    self.taping.keep(self.tape, can_begin_again=self.control.opening.begin is None)
                case Command.FEWER_STEPS:
                    self.messages.put(change_steps(self.world, -1))
                case Command.MORE_STEPS:
                    self.messages.put(change_steps(self.world, +1))
        return do_single

    def _set_paused(self, wanted: bool) -> None:
        if self.is_paused and not wanted:
            self.latch.forget_pending()  # what was tapped during the pause was not meant for the world
        self.is_paused = wanted or self.is_over

    def _next_start(self, number: Any) -> None:
        """Start number - 1, or for 0 the next one; in a world with one start, the next seed. Or a picture."""
        self._leave()  # which knows its start
        self.control.opening = Opening(())
        if not isinstance(number, int):
            self.start = number
        elif number:
            self.start = number - 1
        elif self.num_starts > 1:
            self.start = (self.start + 1) % self.num_starts if isinstance(self.start, int) else 0
        else:
            self.seed += 1
        self._reset()

    def _recover(self, illness: str) -> None:
        """After a frame that nobody may see: back to a second ago with other noise; if that keeps happening, to the
        start, paused.
        """
        is_lasting = self._illness.is_lasting(time.perf_counter())
        if isinstance(self.world, Seeded):
            self.world.seed += 1  # the same noise would lead to the same frame
        if is_lasting or not isinstance(self.env, Rewindable) or not self.env.reach()[0]:
            self.branches.give_up(self.frame_index)
            self._reset()
            self.is_paused = is_lasting
            self.messages.put(f"the dream broke ({illness}): back to the start")
            return
        before = self.frame_index
        back = min(round(HEALTHY_S * self.env.fps), self.env.reach()[1] - 1)
        self._interrupt(self.env.rewind(1 + back))  # the sick frame is one of those
        self.frame_index = before - back
        self.tape.cut(back)
        self.branches.shorten(self.frame_index)
        self.tape.is_whole = False  # a reset and the same actions would not lead here
        self.messages.put(f"the dream broke ({illness}): back to {back / self.env.fps:.1f} s ago")

    def _rewind(self, frames: int) -> None:
        """Go back, or as far as is remembered; say whether what follows is exact."""
        self.control.drop()
        if not isinstance(self.env, Rewindable):
            self.messages.put("this world cannot go back")
            return
        exact, farthest = self.env.reach()
        frames = min(frames, farthest)
        if not frames:
            return
        self._leave()
        self.is_exact = self.is_exact and frames <= exact
        frame = self.env.rewind(frames)
        self.frame_index -= frames
        self.tape.cut(frames)
        if self.rewound is not None:
            self.rewound += frames
        if self.is_over:
            self.is_paused = self.is_over = False
        self._interrupt(frame)

    def _stop_rewind(self) -> None:
        if self.rewound is not None:
            kind = "exact" if self.is_exact else "approximate: further back than is remembered exactly"
            self.messages.put(f"went back {self.rewound / self.env.fps:.1f} s ({kind}): a new branch")
            self.rewound = None
            self.latch.forget_pending()

    def _interrupt(self, frame: Frame) -> None:
        """Show a frame that no step has led to."""
        self.stats.interrupt()
        self._publish(frame)
        self.taping.watch()

    def _imagine(self) -> None:
        """Make the fan: the next second under each button, while the world stands still."""
        if not isinstance(self.world, Imaginative) or not self.is_paused or self.is_over:
            self.messages.put("what if: pause a dreamed world first")
            return
        self.fan = prospects(self.world, self.env.actions, round(self.env.fps))

    def _follow(self, number: int) -> None:
        """Play the chosen prospect, then wait again."""
        if number < len(self.fan):
            self._leave()
            action = self.fan[number].action
            self.fan, self.is_paused = [], False
            self.control.play(action, round(self.env.fps))

    def _resync(self) -> None:
        if isinstance(self.world, Both):
            self._publish(self.world.resync())
            self.messages.put("the dream goes on from the real game")
        else:
            self.messages.put("there is no real game beside: env=both")

    def _save(self) -> None:
        assert self.mailbox.last is not None
        self.saving.save(self.env, self.mailbox.last.frame, self.frame_index)
        self.stats.interrupt()

    def _load(self) -> None:
        """Return to the slot's state, if it has one that fits; else play goes on where it was."""
        here = self.branches.here(self.frame_index, (self.start, self.seed), is_exact=self.is_exact)
        loaded = self.saving.load(self.env)
        if loaded:
            self.branches.leave(here, self.frame_index)
            frame, self.frame_index, self.is_exact = loaded
            self.control.drop()
            self.is_paused = self.is_paused and not self.is_over
            self.is_over = False
            self._interrupt(frame)
            self.tape.begin(frame.copy(), is_reset=False)
            self.branches.begin(self.frame_index)
