"""The loop: steps, time budget, bar, log, preview, checkpoints, resume. A stage gives it a closure.

LoopConfig   how long, and how often what
train        run a stage to its end, or until told to stop

The loop holds no data state and no random state: batches and noise are functions of the seed and the step.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from torch import Tensor

from worldmodel.training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from worldmodel.training.run import Run

Metrics = dict[str, float | Tensor]


@dataclass(kw_only=True)
class LoopConfig:
    """How long a stage runs, and how often it speaks and saves."""

    steps: int
    budget_minutes: float  # of training, previews not counted, over all resumes; 0 = no limit
    batch: int
    log_every: int
    save_minutes: float  # 0 = only when stopped and at the end
    preview_every: int  # steps; 0 = never

    def __post_init__(self) -> None:
        for key in ("steps", "batch", "log_every"):
            if vars(self)[key] < 1:
                raise ValueError(f"loop.{key} must be >= 1, got {vars(self)[key]}")
        for key in ("budget_minutes", "save_minutes", "preview_every"):
            if not vars(self)[key] >= 0:
                raise ValueError(f"loop.{key} must be >= 0, got {vars(self)[key]}")


class Batches(Protocol):
    """Data as a pure function of the step."""

    def batch(self, step: int, batch_size: int) -> Any:
        """The batch of this step: the same whenever it is asked for."""


class Stateful(Protocol):
    """What a checkpoint can hold: a module, an optimiser, an EMA."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and builtins."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take back what state_dict gave."""


def train(
    run: Run,
    update: Callable[[int, Any], Metrics],
    batches: Batches,
    state: Mapping[str, Stateful],
    loop: LoopConfig,
    preview: Callable[[int], None] | None = None,
    finish: Callable[[], None] | None = None,
    *,
    looks_first: bool = False,
) -> None:
    """Call update(step, batch) until run.progress = max(step / steps, minutes / budget_minutes) reaches 1.

    state: name -> Stateful. Continues from run.dir/checkpoint bit-exactly (with a time budget: up to the clock);
    returns at once if the stage is finished and its budget was not raised since. preview(steps done) is called
    every preview_every steps and at the end, with looks_first before the first as well; finish() once after the last
    step, and again if it failed.
    torch is seeded before each step.
    SIGTERM, SIGINT and SIGUSR1 save after the running step and raise SystemExit(0); a second SIGINT kills at once.
    Raises FloatingPointError if a metric is not finite; a checkpoint is never written after such a step.
    Closes the run.
    """
    for name, thing in state.items():
        if not (hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")):
            raise ValueError(f"train: state[{name!r}] has no state_dict and load_state_dict: {type(thing).__name__}")
    try:
        checkpoint = _resume(run, state)
        if checkpoint is not None and _is_enough(loop, checkpoint):
            run.progress = 1.0
            run.say(f"already finished at step {checkpoint.step}; a larger loop.budget_minutes and loop.steps go on")
            return
        if checkpoint is not None:
            minutes = checkpoint.extra["seconds"] / 60
            run.say(f"continues at step {checkpoint.step}, after {minutes:.1f} min of training")
        with _stop_signals(run) as stop:
            clock = _Clock(run, checkpoint.extra["seconds"] if checkpoint else 0.0)
            if looks_first and checkpoint is None and preview is not None and loop.preview_every:
                with clock.paused():
                    preview(0)
            step = _steps(run, update, batches, state, loop, preview, clock, stop, checkpoint.step if checkpoint else 0)
            run.progress = 1.0
            if finish is not None:
                _save(run, state, step, clock)
                finish()
            _save(run, state, step, clock, is_finished=True)
            run.say(f"finished at step {step} after {clock.seconds() / 60:.1f} min")
            if stop:
                raise SystemExit(0)
    finally:
        run.close()


def _steps(
    run: Run,
    update: Callable[[int, Any], Metrics],
    batches: Batches,
    state: Mapping[str, Stateful],
    loop: LoopConfig,
    preview: Callable[[int], None] | None,
    clock: _Clock,
    stop: list[int],
    step: int,
) -> int:
    """Steps until progress is 1; returns how many were done in all."""
    meter = _Meter(run)
    first, first_seconds, last_save, last_preview = step, clock.seconds(), monotonic(), -1
    while (progress := _progress(loop, step, clock.seconds())) < 1:
        run.progress, run.minutes = progress, clock.seconds() / 60
        torch.manual_seed(_step_seed(run.config.seed, step))
        meter.add(step, update(step, batches.batch(step, loop.batch)))
        step += 1
        run.voice.tick(step, loop.steps)
        if step % loop.log_every == 0:
            rate = (clock.seconds() - first_seconds) / (step - first)
            meter.log(step, loop, _time_left(loop, step, clock.seconds(), rate))
        if preview is not None and loop.preview_every and step % loop.preview_every == 0:
            last_preview = step
            with clock.paused():
                preview(step)
        is_save_due = loop.save_minutes > 0 and monotonic() - last_save >= 60 * loop.save_minutes
        if (stop or is_save_due) and _progress(loop, step, clock.seconds()) < 1:
            meter.read()
            _save(run, state, step, clock)
            last_save = monotonic()
            if stop:
                run.say(f"stopped by {signal.Signals(stop[0]).name} at step {step}, saved; the same command goes on")
                raise SystemExit(0)
    if step > first:
        meter.log(step, loop, 0.0)
    if preview is not None and loop.preview_every and last_preview != step:
        _save(run, state, step, clock)
        with clock.paused():
            preview(step)
    return step


def _progress(loop: LoopConfig, step: int, seconds: float) -> float:
    by_time = seconds / (60 * loop.budget_minutes) if loop.budget_minutes else 0.0
    return min(1.0, max(step / loop.steps, by_time))


def _is_enough(loop: LoopConfig, checkpoint: Checkpoint) -> bool:
    return checkpoint.extra["is_finished"] and _progress(loop, checkpoint.step, checkpoint.extra["seconds"]) >= 1


def _time_left(loop: LoopConfig, step: int, seconds: float, rate: float) -> float:
    """Seconds, from the seconds a step takes and the budget."""
    by_steps = rate * (loop.steps - step)
    return max(0.0, min(by_steps, 60 * loop.budget_minutes - seconds) if loop.budget_minutes else by_steps)


def _step_seed(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest(), "big") >> 1


class _Clock:
    """Seconds of training, continued from the checkpoint; pauses do not count."""

    def __init__(self, run: Run, seconds: float) -> None:
        self.run = run
        self.start = monotonic() - seconds

    def seconds(self) -> float:
        return monotonic() - self.start

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = monotonic()
        yield
        self.start += monotonic() - before


class _Meter:
    """Metrics between two log lines. They stay on the device until read; the copy outlives a replayed graph."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pending: list[tuple[int, Metrics]] = []
        self.values: dict[str, list[float]] = {}
        self.smooth_loss: float | None = None

    def add(self, step: int, metrics: Metrics) -> None:
        kept = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in metrics.items()}
        self.pending.append((step, kept))

    def read(self) -> None:
        """Wait for the pending values; FloatingPointError if one is not finite."""
        pending, self.pending = self.pending, []
        for step, metrics in pending:
            for name, value in metrics.items():
                number = float(value)
                if not math.isfinite(number):
                    raise FloatingPointError(
                        f"{name} is {number} at step {step}. The last good checkpoint in {self.run.dir} is untouched: "
                        "run the same command to go on from it; if it comes back, lower optimizer.lr in a new run.dir."
                    )
                self.values.setdefault(name, []).append(number)

    def log(self, step: int, loop: LoopConfig, seconds_left: float) -> None:
        """Means since the last line go to log.jsonl and to the person."""
        self.read()
        means = {name: math.fsum(values) / len(values) for name, values in self.values.items()}
        self.values = {}
        if not means:
            return
        self.run.log(step, means)
        shown = dict(means)
        if "loss" in means:
            before = means["loss"] if self.smooth_loss is None else self.smooth_loss
            self.smooth_loss = shown["loss"] = 0.9 * before + 0.1 * means["loss"]
        text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.run.voice.status(step, loop.steps, f"{text}  {_duration(seconds_left)} left")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


@contextmanager
def _stop_signals(run: Run) -> Iterator[list[int]]:
    """A list that the first signal's number is put into; a second SIGINT kills, as saves are atomic."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        run.say("not in the main thread: signals will not save a checkpoint")
        yield received
        return
    names = [name for name in ("SIGTERM", "SIGINT", "SIGUSR1") if name in signal.Signals.__members__]
    before = {signal.Signals[name]: signal.signal(signal.Signals[name], note) for name in names}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(run: Run, state: Mapping[str, Stateful], step: int, clock: _Clock, *, is_finished: bool = False) -> None:
    parts = {name: thing.state_dict() for name, thing in state.items()}
    extra = {"seconds": clock.seconds(), "is_finished": is_finished}
    save_checkpoint(run.dir / "checkpoint", run.stage, step, run.cfg, parts, extra)


def _resume(run: Run, state: Mapping[str, Stateful]) -> Checkpoint | None:
    """Load the newest whole checkpoint into `state`, if there is any."""
    checkpoint = _newest(run, run.dir / "checkpoint")
    if checkpoint is None:
        return None
    if checkpoint.stage != run.stage:
        raise ValueError(f"{run.dir}: holds stage {checkpoint.stage!r}, this is {run.stage!r}. Choose another run.dir.")
    theirs, ours = sorted(checkpoint.state), sorted(state)
    if theirs != ours:
        raise ValueError(f"{run.dir}: its checkpoint holds {theirs}, this stage {ours}. Choose another run.dir.")
    for name, thing in state.items():
        thing.load_state_dict(checkpoint.state[name])
    checkpoint.state = {}
    run.voice.forget_after(checkpoint.step)
    return checkpoint


def _newest(run: Run, folder: Path) -> Checkpoint | None:
    previous = folder.with_name(f"{folder.name}.previous")
    if not folder.exists():
        return load_checkpoint(previous) if previous.exists() else None
    try:
        return load_checkpoint(folder)
    except CheckpointError as error:
        if not previous.exists():
            raise
        checkpoint = load_checkpoint(previous)
        run.say(f"{error} Falling back to {previous.name}, step {checkpoint.step}.")
    # Out of the way, or the next save would rotate it over the whole one.
    damaged = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    folder.rename(damaged)
    return checkpoint
