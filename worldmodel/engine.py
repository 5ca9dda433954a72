"""Engine: an Env whose world is the student. Actions in, frames out, in real time.

One step is: denoise the next latent in a few passes, decode it, and give the frame. The frame's commit to the memory
shares a pass with the next frame's first denoising (merge), or has a pass of its own, for which `settle` uses the time
after the frame is on screen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.action import Action
from worldmodel.backends.compiled import Inputs
from worldmodel.backends.frame import least_past, looks_at
from worldmodel.backends.place import device_of, dtype_of
from worldmodel.backends.play import Frames
from worldmodel.bundle import DEFAULT_TIER, World, WorldError
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import commit_block, consistency, denoise_block, merged_block, prefill
from worldmodel.env import Frame
from worldmodel.line import Line, Moment
from worldmodel.model.cache import KVCache

REMEMBERED = 384  # frames one can go back exactly; with those in sight 0.33 MB each in the first world, in bfloat16
FADED = 1800  # frames before those, of which only the latent is kept: 6 KB each, 11 MB; going there is approximate


class Engine:
    """Plays a World. Env, Rewindable and Branching. Equal (start, seed, actions) give equal frames on one machine
    and build.
    """

    def __init__(
        self, world: World, device: str = "auto", steps: int | None = None, seed: int = 0, *, dtype: str = "auto",
        threads: int | None = None, merge: bool = True, backend: str = "eager",
    ) -> None:  # fmt: skip
        """steps: denoising passes a frame, by default the world's. dtype: float32, bfloat16 or auto. threads: of a
        CPU. merge: commit a frame together with the first pass of the next instead of by a pass of its own: the same
        function for fewer passes, 1.6 times as fast where each pass is mostly overhead. backend: see backends/play.py.

        Raises WorldError if the world has no noise levels for `steps`, or the device or the compiler is missing.
        """
        self.world, self.seed, self.merge = world, seed, merge
        self.actions, self.fps, self.size_hw = world.actions, world.fps, world.size_hw
        self.device = device_of(device)
        if threads:
            torch.set_num_threads(threads)
        self.dtype = dtype_of(dtype, self.device)
        self.model = world.model.to(self.device, self.dtype)
        self.tokenizer = world.tokenizer.to(self.device, self.dtype)
        self.steps = steps or world.steps
        self._sampler = partial(consistency, noise_scale=world.noise_scale)
        self._shape = (1, 1, *self.model.latent_shape)
        self._cache: KVCache = self.model.new_cache(1)
        self._moments: deque[Moment] = deque()
        self._faded: deque[tuple[Tensor, Tensor]] = deque(maxlen=FADED)  # (latent, action) before the moments
        self._is_faded = False  # gone back to a faded frame, and the memory is not yet built from latents
        self._begun: dict[str, Any] = {}  # the memory as it was before the oldest moment
        self._compass = Compass.of(world.actions)
        self._begun_told = torch.empty(0)  # (1, 1, A): of the action that led to the frame the line began with
        self._index = 0  # frames dreamed since the start
        self._first_time = 0  # what the memory calls frame 0
        self._other_code = 0  # of those, how many were made by other code than makes them now
        self._start_frame: Frame | None = None
        self.frames = Frames(world, self.device, self.dtype, backend, self.steps)
        self._made_by = self.backend

    @property
    def steps(self) -> int:
        """Denoising passes a frame; may be set while playing. The world may ask for more where nothing is held."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        if steps not in self.world.sigmas:
            raise WorldError(f"{self.world.name} has noise levels for {sorted(self.world.sigmas)} steps, not {steps}")
        self._steps = steps

    @torch.inference_mode()
    def reset(self, *, start: Any = 0, seed: int | None = None) -> Frame:
        """Begin at a start of the world (a number), at a picture uint8 (H, W, 3), or after real play:
        (frames uint8 (T + 1, H, W, 3), actions [T]). Gives the last of the frames the dream begins with.
        """
        self.seed = self.seed if seed is None else seed
        frames, moves = self._context(start)
        latents = self.tokenizer.encode(frames.to(self.device))[None]  # (1, T, C, h, w)
        moves = torch.cat([torch.zeros(1, self.actions.size), moves])[None].to(self.device)
        told = self._compass.along(moves)  # (1, T, A)
        self._cache.clear()
        prefill(self.model, self._cache, latents.to(self.dtype), told)
        self._begin(0, frames[-1].numpy().copy(), told[:, -1:])
        assert self._start_frame is not None
        return self._start_frame

    def _begin(self, index: int, frame: Frame, told: Tensor) -> None:
        self._moments.clear()
        self._faded.clear()
        self._is_faded = False
        self._begun, self._begun_told = self._cache.state(), told
        self._index, self._first_time = index, self._cache.length - index
        self._other_code, self._made_by = index, self.backend
        self._start_frame = frame

    def step(self, action: Action) -> Frame:
        """The next frame under the action."""
        if self._start_frame is None:
            self.reset()
        return self._step(action)

    @torch.inference_mode()
    def _step(self, action: Action) -> Frame:
        self._recall()
        if self.backend != self._made_by:
            self._other_code, self._made_by = self._index, self.backend
        held = self.actions.to_vector(action)
        steps = int(self.world.passes(held, self._steps))
        vector = self._compass.along(torch.from_numpy(held).view(1, 1, -1).to(self.device), self._told())
        last = self._pending
        is_steady = last is not None and self.merge and self._cache.length >= least_past(self._cache.sight)
        if last is not None and is_steady:
            latent, frame = self._whole_frame(last, vector, steps)
        else:
            latent, frame = self._passes(last, vector, steps)
        self._moments.append(Moment(latent, vector, frame))
        if len(self._moments) > REMEMBERED + self._seen:
            old = self._moments.popleft()
            self._faded.append((old.latent, old.action))
        self._index += 1
        return frame

    def _told(self, back: int = 0) -> Tensor:
        """What the network was told of the action that led to the newest frame, or to one so many frames before it."""
        if back < len(self._moments):
            return self._moments[-1 - back].action
        back -= len(self._moments)
        return self._faded[-1 - back][1] if back < len(self._faded) else self._begun_told

    def _whole_frame(self, last: Moment, vector: Tensor, steps: int) -> tuple[Tensor, Frame]:
        """Latent and picture of the next frame by the fastest code there is; commits the last."""
        noise = torch.stack([self._noise(step) for step in range(steps)])
        moves = torch.cat([last.action, vector], 1)
        rings = self._cache.keys, self._cache.values, looks_at(self._cache, moves)
        inputs = Inputs(*rings, last.latent, moves, noise)
        is_usual = steps == self._steps
        latent, picture = self.frames.make(inputs, steps, self._cache.length, is_usual=is_usual)
        self._cache.advance()
        last.past = self._cache.frame(self._cache.length - 1)
        return latent, picture[0].cpu().numpy()

    def _passes(self, last: Moment | None, vector: Tensor, steps: int) -> tuple[Tensor, Frame]:
        """The same pass by pass: with a memory still short, with nothing to commit, or without merging."""
        sigmas = self.world.sigmas[steps]
        first = None
        if last is not None and self.merge:
            moves = torch.cat([last.action, vector], 1)
            first = merged_block(self.model, self._cache, last.latent, moves, self._noise(0), sigmas[0])
        elif last is not None:
            commit_block(self.model, self._cache, last.latent, last.action)
        if last is not None:
            last.past = self._cache.frame(self._cache.length - 1)
        latent = denoise_block(self.model, self._cache, vector, sigmas, self._noise, self._sampler, first=first)
        self.frames.decode_s = None
        return latent.contiguous(), self.tokenizer.decode(latent[0, 0]).cpu().numpy()

    @property
    def backend(self) -> str:
        """What makes the frames now; equal frames to the byte need an engine with this backend."""
        return self.frames.backend

    @property
    def decode_s(self) -> float | None:
        """Seconds that decoding the last frame took, at the end of its step; None where that is one with the model."""
        return self.frames.decode_s

    @property
    def status(self) -> str | None:
        """What goes on beside play, in a few words; None if nothing does."""
        return self.frames.status

    def gauges(self) -> dict[str, str]:
        """Name -> value, for people: how full the memory is."""
        window = self.model.config.sight.window
        return {"window": f"{min(self._cache.length, window)} of {window} frames"}

    @property
    def _pending(self) -> Moment | None:
        """The newest moment while it is not committed."""
        return self._moments[-1] if self._moments and self._moments[-1].past is None else None

    @torch.inference_mode()
    def settle(self) -> None:
        """Do what a step needs no new action for: without merging, commit the newest frame."""
        last = self._pending
        if last is not None and not self.merge:
            commit_block(self.model, self._cache, last.latent, last.action)
            last.past = self._cache.frame(self._cache.length - 1)

    @torch.inference_mode()
    def what_if(self, actions: Sequence[Action], frames: int) -> list[Frame]:
        """The frame that holding each of the actions for so many frames leads to, dreamed as one batch.

        The world stays where it is. Stepping there later gives the same up to the rounding of a batch.
        """
        self._recall()
        held = np.stack([self.actions.to_vector(action) for action in actions])  # (K, A)
        passes = torch.from_numpy(self.world.passes(held, self._steps)).to(self.device)
        sigmas = self.world.sigmas[int(passes.max())]
        moves, shape = torch.from_numpy(held)[:, None].to(self.device), (len(actions), *self._shape[1:])
        told = self._told().expand(len(actions), -1, -1)
        cache, last = self.model.new_cache(len(actions)), self._pending
        cache.load_state(self._cache.state())
        if last is not None:
            commit_block(self.model, cache, last.latent.expand(shape), last.action.expand(len(actions), -1, -1))
        latents = torch.zeros(shape)
        for index in range(self._index, self._index + frames):

            def noise(step: int, index: int = index) -> Tensor:
                return frame_noise(self.seed, index, step, self._shape).to(self.device).expand(shape)

            told = self._compass.along(moves, told)
            latents = denoise_block(self.model, cache, told, sigmas, noise, self._sampler, passes=passes)
            commit_block(self.model, cache, latents, told)
        return [self.tokenizer.decode(latent[0]).cpu().numpy() for latent in latents]

    def vitals(self) -> float:
        """The largest magnitude in the newest frame's latent; nan or inf where the dream has broken."""
        return float(self._moments[-1].latent.abs().max()) if self._moments else 0.0

    def state(self) -> dict[str, Any]:
        """Everything that decides the future: memory, place in time, seed and steps, as tensors and builtins."""
        self._recall()
        last, frame = self._pending, self._moments[-1].frame if self._moments else self._start_frame
        pending = None if last is None else {"latent": last.latent.clone(), "action": last.action.clone()}
        return {
            "world": self.world.sha256, "tier": self.world.tier, "cache": self._cache.state(), "index": self._index,
            "seed": self.seed, "steps": self._steps, "frame": torch.from_numpy(np.array(frame)), "pending": pending,
            "backend": self.backend, "told": self._told(back=last is not None).clone(),
        }  # fmt: skip

    @torch.inference_mode()
    def load_state(self, state: dict[str, Any]) -> Frame:
        """Return to a state of this world. Raises WorldError for a state of another world, or one of another shape."""
        if state["world"] != self.world.sha256:
            raise WorldError(f"this state was saved in another world or version than {self.world.name}")
        tier = str(state.get("tier", DEFAULT_TIER))[:20]  # none in states from before there were any
        if tier != self.world.tier:
            raise WorldError(f"this state was saved in tier {tier}, not {self.world.tier}: play with tier={tier}")
        ours, theirs = ([*cache["keys"], *cache["values"]] for cache in (self._cache.state(), state["cache"]))
        if [u.shape for u in ours] != [u.shape for u in theirs] or state["frame"].shape != (*self.size_hw, 3):
            raise WorldError(f"this state does not fit {self.world.name}: another version of worldmodel saved it")
        self._cache.load_state(state["cache"])
        self.seed, self.steps = state["seed"], state["steps"]
        frame, pending = state["frame"].numpy().copy(), state["pending"]
        told = state.get("told", self._begun_told).to(self.device)  # none in states from before there was a compass
        self._begin(state["index"] - (pending is not None), frame, told)
        if pending is not None:
            self._moments.append(Moment(pending["latent"], pending["action"], frame))
            self._index += 1
        if state.get("backend") != self.backend:  # also saves from before backends were named
            self._other_code = self._index
        return frame  # type: ignore[no-any-return]

    def reach(self) -> tuple[int, int]:
        """How many frames one can go back exactly, and at all. What other code has made is not made again exactly."""
        remembered = self._index - self._oldest
        farthest = max(remembered, len(self._faded) + len(self._moments) - 1 if self._faded else 0)
        others = self._other_code if self.backend == self._made_by else self._index
        return min(remembered, self._index - others), farthest

    @property
    def _seen(self) -> int:
        """Frames that a frame needs to be dreamed again: those in sight, and itself."""
        return self._cache.sight.reach + 1

    @property
    def _oldest(self) -> int:
        """The first frame that one can return to exactly."""
        oldest = self._index - len(self._moments)
        if self._first_time + oldest > self._begun.get("length", 0):  # a moment's window must be remembered as well
            oldest = min(self._index, oldest + self._seen)
        return oldest

    @torch.inference_mode()
    def rewind(self, frames: int) -> Frame:
        """Go back that many frames, or as far as is remembered; what follows is as if they had never been.

        Beyond the exact reach the frame is the same, but what follows is approximate: the memory is built anew from
        the latents of the frames before.
        """
        oldest = self._oldest
        self._other_code = min(self._other_code, max(self._index - frames, oldest))
        if self._index - frames < oldest and self._faded:
            return self._rewind_faded(self._index - frames)
        goal = max(self._index - frames, oldest)
        kept = list(self._moments)[: len(self._moments) - (self._index - goal)]
        if kept:
            kept[-1] = replace(kept[-1], past=None)  # it is committed again, in the way that it was; a Line has it too
        committed = kept[:-1]
        self._cache.load_state(self._begun)
        first = goal - len(kept) + self._first_time
        window = committed[-self._seen :]
        times = range(first + len(committed) - len(window), first + len(committed))
        past = {time: moment.past for time, moment in zip(times, window, strict=True) if moment.past is not None}
        self._cache.restore(past, first + len(committed))
        self._moments = deque(kept)
        self._index = goal
        assert self._start_frame is not None
        return kept[-1].frame if kept else self._start_frame

    def _rewind_faded(self, goal: int) -> Frame:
        """Go back to a frame of which only the latent is left, or to the oldest such."""
        known = [*self._faded, *((moment.latent, moment.action) for moment in self._moments)]
        goal = max(goal, self._index - len(known) + 1)
        self._faded = deque(known[: len(known) - (self._index - goal)], maxlen=FADED)
        self._moments.clear()
        self._index, self._is_faded, self._other_code = goal, True, min(self._other_code, goal)
        self._start_frame = self.tokenizer.decode(self._faded[-1][0][0, 0]).cpu().numpy()
        return self._start_frame

    @torch.inference_mode()
    def _recall(self) -> None:
        """After going back to a faded frame: build the memory from the latents of the last frames and the sink."""
        if not self._is_faded:
            return
        recent = list(self._faded)[-self._seen - self._cache.slots :]  # more than is seen: the first see a wrong past
        self._cache.load_state(self._begun)
        self._cache.restore({}, self._index - len(recent) + self._first_time)
        for latent, action in recent:
            commit_block(self.model, self._cache, latent, action)
        self._begun, self._is_faded = self._cache.state(), False

    def past(self) -> Line:
        """The line so far."""
        assert self._start_frame is not None, "past() before reset()"
        exact = self._index - self._oldest
        numbers = (self._index, self._first_time, self._is_faded, self.seed, self._steps, exact)
        return Line(
            tuple(self._moments), tuple(self._faded), self._begun, self._begun_told, self._start_frame, *numbers
        )  # fmt: skip

    def thinned(self, past: Line, frames: int) -> Line:
        """The same line, exact for at most so many frames; the latents of some before them."""
        return past.thinned(frames, self._seen)

    def return_to(self, past: Line) -> Frame:
        """Go to the end of a line of this engine."""
        self._moments, self._faded = deque(past.moments), deque(past.faded, maxlen=FADED)
        self._begun, self._begun_told, self._start_frame = past.begun, past.begun_told, past.start_frame
        self._is_faded = past.is_faded
        self._index, self._first_time = past.index, past.first_time
        self.seed, self.steps = past.seed, past.steps
        return self.rewind(0)

    def close(self) -> None:
        """Give the memory back."""
        self.frames.close()
        self._moments.clear()
        self._faded.clear()

    def _noise(self, step: int) -> Tensor:
        return frame_noise(self.seed, self._index, step, self._shape).to(self.device)

    def _context(self, start: Any) -> tuple[Tensor, Tensor]:
        """Frames uint8 (T, H, W, 3) and actions (T - 1, A) to begin with."""
        if isinstance(start, int | np.integer):
            number = len(self.world.starts)
            if not 0 <= start < number:
                raise WorldError(f"{self.world.name} has starts 0 to {number - 1}, not {start}")
            return self.world.start_frames[int(start)], self.world.start_actions[int(start)]
        frames, moves = start if isinstance(start, tuple) else (np.asarray(start)[None], [])
        frames = torch.from_numpy(np.ascontiguousarray(frames))
        if frames.dtype != torch.uint8 or frames.shape[1:] != (*self.size_hw, 3) or len(moves) != len(frames) - 1:
            h, w = self.size_hw
            raise WorldError(f"a start is a number, a picture uint8 ({h}, {w}, 3), or T + 1 such frames and T actions")
        vectors = [torch.from_numpy(self.actions.to_vector(move)) for move in moves]
        return frames, torch.stack(vectors) if vectors else torch.zeros(0, self.actions.size)
