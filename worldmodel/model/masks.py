"""What a frame may see, said once: in training as a Mask over all frames, in play as a KVCache (cache.py).

Sight            how far frames see: window, sink, near ages
View             for some query frames: which key frames, how old, which of them whole
Mask             a memory that holds nothing but the frames at hand
teacher_forcing  [clean | noisy | noisy ...]: noise sees the clean past, strictly before its own block
bidirectional    every frame sees every frame

A memory gives each layer its own: `view`, `extend(k, v)` and `near(frames)`; the network knows no more of it.

Heads come in two kinds. Temporal heads see one place of the picture through the whole window, and beyond it through
key frames: every so many frames of an episode one is remembered for longer. Spatial heads see the whole picture of a
few frames, those of the near ages (0 is the frame itself).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.model.recall import Poses, offers, poses, recalled

SightKey = tuple[int, int, tuple[int, ...], int, int, int]
NEVER = -1e9  # added to the logit of a key that may not be seen


@dataclass(kw_only=True)
class Sight:
    """window: how many past frames are seen; sink: how many of the episode's first frames are never forgotten;
    near: ages of the past frames that spatial heads see, ascending, none older than the window; far: how many key
    frames are seen beyond the window; every: an episode's frames 0, every, 2 every... are its key frames; recall: how
    old a frame must be to be seen whole because it looked the same way (recall.py); 0: none is.
    """

    window: int
    sink: int
    near: list[int]
    far: int = 0  # as in bundles that were made before there was a far
    every: int = 0
    recall: int = 0

    def __post_init__(self) -> None:
        if self.window < 1 or self.sink < 0:
            raise ValueError(f"sight: window must be >= 1 and sink >= 0, got {self.window} and {self.sink}")
        if self.far < 0 or (self.far > 0 and self.every < 2):
            raise ValueError(f"sight: far must be >= 0, and every >= 2 where it is not 0, got {self.far}, {self.every}")
        if self.recall < 0 or self.recall == 1:
            raise ValueError(f"sight: recall must be 0 or an age of at least 2, got {self.recall}")
        if sorted(set(self.near)) != list(self.near) or not all(1 <= age <= self.window for age in self.near):
            raise ValueError(f"sight: near must be ascending ages from 1 to {self.window}, got {self.near}")

    @property
    def key(self) -> SightKey:
        """The same as something that can be a key of a table; Sight.of brings it back."""
        return self.window, self.sink, tuple(self.near), self.far, self.every, self.recall

    @classmethod
    def of(cls, key: SightKey) -> Sight:
        """The sight of that key."""
        window, sink, near, far, every, recall = key
        return cls(window=window, sink=sink, near=list(near), far=far, every=every, recall=recall)

    @property
    def reach(self) -> int:
        """Age of the oldest frame that can be seen, sinks apart."""
        return self.window + self.far * self.every

    @property
    def num_ages(self) -> int:
        """Rows of the temporal age table: 0..window, one for an old sink frame, the window again for the future, and
        one for each far key frame.
        """
        return 2 * self.window + 2 + self.far

    @property
    def num_near(self) -> int:
        """Rows of the near table: the frame itself, near past, what is recalled, near future."""
        return 1 + 2 * len(self.near) + bool(self.recall)

    @property
    def num_whole(self) -> int:
        """Frames that a query frame sees whole, where none is of the future."""
        return 1 + len(self.near) + bool(self.recall)


class View(NamedTuple):
    """Q query frames over K key frames.

    ages (Q, K): row of the age table; bias (Q, K): 0 or NEVER;
    near_slots (n,): rows of the near table; near_bias (Q, n): 0 or NEVER, for the n frames that `near` gives, or
    None where all of them are there: then attention needs no mask. offer (Q, K): of recall.offers, or None.
    """

    ages: Tensor
    bias: Tensor
    near_slots: Tensor
    near_bias: Tensor | None
    offer: Tensor | None = None


class Memory(Protocol):
    """Through what the network looks at other frames."""

    def layer(self, index: int) -> LayerMemory:
        """The memory of one layer of the network."""
        ...

    def recalling(self, told: Tensor) -> Memory:
        """The same, with what each query frame recalls; told (B, Q, A + 2) of the query frames."""
        ...


class LayerMemory(Protocol):
    """Through what one layer looks at other frames."""

    @property
    def view(self) -> View:
        """Who sees whom, for the query frames at hand."""
        ...

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, N, heads, d) of all key frames, given those (B, Q, ...) of the query frames."""
        ...

    def near(self, frames: Tensor) -> Tensor:
        """(B, K, ...) of all key frames -> (B, Q, n, ...) of those that each query frame sees whole."""
        ...


def age_rows(age: Tensor, sight: Sight) -> Tensor:
    """Row of the age table of a key `age` frames older than its query; negative ages lie in the future."""
    past = age.clamp(0, sight.window + 1)
    rows = torch.where(age < 0, sight.window + 1 + (-age).clamp(1, sight.window), past)
    if not sight.far:
        return rows
    far = 2 * sight.window + 2 + (age - sight.window - 1).clamp_min(0) // sight.every
    return torch.where((age > sight.window) & (age <= sight.reach), far, rows)


def visible(age: Tensor, key_time: Tensor, sight: Sight) -> Tensor:
    """Whether a key is within the window, one of the episode's first frames or a key frame within reach; broadcasts."""
    seen = (age <= sight.window) | (key_time < sight.sink)
    return seen | ((age <= sight.reach) & (key_time % sight.every == 0)) if sight.far else seen


Run = tuple[int, int]  # first key frame or -1 for none, number of frames


class Mask:
    """A memory for training: all frames at once, no past besides them."""

    def __init__(self, times: Sequence[int], allowed: Tensor, sight: Sight, *, future: bool) -> None:
        """times: each frame's place in its episode; allowed (L, L) bool: who may see whom before the window."""
        time = torch.tensor(list(times))
        age = time[:, None] - time[None]
        allowed = allowed & visible(age, time[None], sight) & (age >= -sight.window)
        past, future_ages = [0, *sight.near], [-a for a in sight.near if future]
        index = torch.full((len(time), len(past) + len(future_ages)), -1)
        for slot, offset in enumerate(past + future_ages):
            sees = allowed & (age == offset)
            index[:, slot] = torch.where(sees.any(1), sees.int().argmax(1), -1)
        there = index >= 0
        if sight.recall:
            there = torch.cat([there[:, : len(past)], (allowed & (age > 0)).any(1)[:, None], there[:, len(past) :]], 1)
        self._view = View(
            age_rows(age, sight),
            torch.where(allowed, 0.0, NEVER),
            torch.arange(there.shape[1]),
            None if bool(there.all()) else torch.where(there, 0.0, NEVER),
            offers(age, allowed, sight.recall) if sight.recall else None,
        )
        self._runs = [_runs(column.tolist()) for column in index.T]
        self._times = time - time.min()
        self.num_past = len(past)  # columns of `near` before what is recalled

    @property
    def view(self) -> View:
        """Who sees whom."""
        return self._view

    def to(self, device: torch.device) -> Mask:
        """Move the view's tensors; returns itself."""
        self._view = View(*(None if u is None else u.to(device) for u in self._view))  # type: ignore[arg-type]
        self._times = self._times.to(device)
        return self

    def recalling(self, told: Tensor) -> Memory:
        """What frames recall of each other; frames of one time are told the same. told (B, L, A + 2)."""
        if self._view.offer is None:
            return self
        heading, stirred = poses(told)
        by_time = stirred.new_zeros(len(told), int(self._times.max()) + 1).index_copy(1, self._times, stirred)
        here = Poses(heading, by_time.cumsum(1)[:, self._times])
        chosen = recalled(self._view.offer, here, here)
        return Recalling(self, F.one_hot(chosen, len(self._times)))

    def layer(self, index: int) -> Mask:
        """The same for every layer."""
        return self

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The frames themselves: nothing else is remembered."""
        return k, v

    def near(self, frames: Tensor) -> Tensor:
        """(B, L, ...) -> (B, L, n, ...), zeros where there is no such frame.

        By slices instead of an index: on a CPU the gradient of an index is a slow scatter.
        """
        return torch.stack(self.columns(frames), 2)

    def columns(self, frames: Tensor) -> list[Tensor]:
        """The same as a list."""
        columns = []
        for runs in self._runs:
            parts = [frames[:, i : i + n] if i >= 0 else frames.new_zeros(frames[:, :n].shape) for i, n in runs]
            columns.append(torch.cat(parts, 1))
        return columns


class Recalling(NamedTuple):
    """A mask for frames of which each recalls another. chosen (B, L, L): 1 where the query frame recalls the key."""

    mask: Mask
    chosen: Tensor

    @property
    def view(self) -> View:
        """Who sees whom."""
        return self.mask.view

    def layer(self, index: int) -> Recalling:
        """The same for every layer."""
        return self

    def recalling(self, told: Tensor) -> Recalling:
        """Itself: it has been told."""
        return self

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The frames themselves."""
        return k, v

    def near(self, frames: Tensor) -> Tensor:
        """(B, L, ...) -> (B, L, n, ...): what is recalled comes after the near past. By a product, whose gradient is
        one as well.
        """
        columns, past = self.mask.columns(frames), self.mask.num_past
        found = (self.chosen.to(frames.dtype) @ frames.flatten(2)).view(frames.shape)
        return torch.stack([*columns[:past], found, *columns[past:]], 2)


def _runs(index: list[int]) -> list[Run]:
    """Consecutive frame numbers as (first, length); -1 stands for none."""
    runs: list[Run] = []
    for i in index:
        if runs and ((i < 0 and runs[-1][0] < 0) or (i >= 0 and runs[-1][0] >= 0 and i == sum(runs[-1]))):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((i, 1))
    return runs


def teacher_forcing(
    clean: Sequence[int], noisy: Sequence[int], sight: Sight, *, draws: int = 1, frames_per_block: int = 1
) -> Mask:
    """The mask of a sequence [clean frames | noisy frames] with `draws` independent noisy halves.

    clean, noisy: times of the frames. A clean frame sees clean frames up to its block, a noisy one clean frames
    strictly before its block and the noisy frames of its own block and draw (algorithms of Causal Forcing, stage 1).
    """
    times = [*clean, *(list(noisy) * draws)]
    stream = torch.tensor([0] * len(clean) + [1 + r for r in range(draws) for _ in noisy])
    block = torch.tensor(times) // frames_per_block
    key_is_clean = stream[None] == 0
    query_is_clean = stream[:, None] == 0
    past = torch.where(query_is_clean, block[None] <= block[:, None], block[None] < block[:, None])
    own = ~query_is_clean & (stream[None] == stream[:, None]) & (block[None] == block[:, None])
    return Mask(times, (key_is_clean & past) | own, sight, future=frames_per_block > 1)


def bidirectional(frames: int, sight: Sight) -> Mask:
    """Every frame of a clip sees every frame within the window, in both directions of time."""
    return Mask(range(frames), torch.ones(frames, frames, dtype=torch.bool), sight, future=True)
