"""The past of a running world: keys and values of committed frames in a ring.

Look      where the query frames of one pass write, and what they see; look() computes it
Ring      what one layer sees of the past; Rings, all of them under one look
KVCache   a memory (masks.py) for one or two query frames at the end of what is committed

The ring has three parts: the episode's first frames; key frames (masks.py), which stay for long; all others.

Query frames write their keys and values into the ring's next slots at every pass and are not remembered until
`advance`: denoising passes overwrite each other, the commit pass comes last. The age of a slot is the only notion of
time, so a world never meets a position it was not trained at.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from worldmodel.model.masks import NEVER, Sight, SightKey, View, age_rows, visible
from worldmodel.model.recall import Poses, offers, poses, recalled

KEPT = 4096  # looks: a few worlds' whole circles
SPARE = 2  # slots besides the window: the query frame, and one more when a commit is merged with a denoising pass


class Look(NamedTuple):
    """What the query frames of one pass look at, and where they write."""

    view: View
    write: Tensor  # (Q,) slots
    whole: Tensor  # (Q, n) slots of the frames that each query frame sees whole; (B, Q, n) with what is recalled


class Parts(NamedTuple):
    """Slots of the ring: of sinks, of key frames, of all other frames."""

    sink: int
    keys: int
    others: int


def parts(sight: Sight) -> Parts:
    """How the ring is divided: no frame in sight shares its slot, and slots repeat after some time."""
    recent = sight.window + SPARE
    if not sight.far:
        return Parts(sight.sink, 0, recent)
    others, group = recent - recent // sight.every, sight.every - 1  # at most so many of them are no key frames
    return Parts(sight.sink, -(-(sight.reach + SPARE) // sight.every), -(-others // group) * group)


def num_slots(sight: Sight) -> int:
    """Frames that the ring holds."""
    return sum(parts(sight))


def slot_of(time: int, sight: Sight) -> int:
    """Where in the ring the frame of that time lies."""
    sink, keys, others = parts(sight)
    if time < sink:
        return time
    if not sight.far:
        return sink + (time - sink) % others
    if time % sight.every == 0:
        return sink + time // sight.every % keys
    return sink + keys + (time - 1 - time // sight.every) % others  # counts the frames that are no key frames


def period(sight: Sight) -> int:
    """Frames after which the slots, and with them the looks, repeat."""
    _, keys, others = parts(sight)
    return sight.every * math.lcm(keys, others // (sight.every - 1)) if sight.far else others


def fill(sight: Sight) -> int:
    """Committed frames from which on every look is one of a circle of `period` looks."""
    return sight.sink + sight.reach + SPARE


def row_of(length: int, sight: Sight) -> int:
    """Which of the num_rows looks there are is that after `length` committed frames: the ring goes in a circle."""
    first = fill(sight)
    return length if length < first else first + (length - first) % period(sight)


def num_rows(sight: Sight) -> int:
    """How many looks there are."""
    return fill(sight) + period(sight)


def look(length: int, frames: int, sight: Sight) -> Look:
    """The look of `frames` query frames after `length` committed ones, on the CPU."""
    slots = num_slots(sight)
    query = torch.arange(length, length + frames)
    end = length + frames
    far = range(max(0, length - sight.reach) // sight.every * sight.every, length, sight.every) if sight.far else ()
    held = [-1] * slots  # a list, and no frame that is out of sight: play waits for every new look
    for t in (*range(min(sight.sink, end)), *far, *range(max(0, length - sight.window), end)):
        held[slot_of(t, sight)] = t  # a later frame takes the place of an older one, as in the ring
    time = torch.tensor(held)
    age = query[:, None] - time[None]
    allowed = (time >= 0)[None] & (age >= 0) & visible(age, time[None], sight)
    whole = (0, *sight.near, *([1] if sight.recall else []))  # what is recalled is found later
    wanted = [[t - near for near in whole] for t in range(length, end)]  # (Q, n) times
    exists = torch.tensor(wanted) >= 0
    view = View(
        age_rows(age.clamp_min(0), sight),
        torch.where(allowed, 0.0, NEVER),
        torch.arange(len(whole)),
        None if bool(exists.all()) else torch.where(exists, 0.0, NEVER),
        offers(age, allowed, sight.recall) if sight.recall else None,
    )
    write = torch.tensor([slot_of(t, sight) for t in range(length, end)])
    return Look(view, write, torch.tensor([[slot_of(max(t, 0), sight) for t in row] for row in wanted]))


@lru_cache(KEPT)
@torch.inference_mode(False)  # who plays first must not keep it from who learns later
def _kept_look(row: int, frames: int, sight: SightKey, device: torch.device) -> Look:
    """The look of a row, on a device. For all caches: nobody writes into it."""
    view, *slots = look(row, frames, Sight.of(sight))
    there = View(*(None if u is None else u.to(device) for u in view))  # type: ignore[arg-type]
    return Look(there, *(u.to(device) for u in slots))


class Ring(NamedTuple):
    """One layer's keys and values (B, slots, N, heads, d), and where the query frames of a pass write and look."""

    keys: Tensor
    values: Tensor
    view: View
    write: Tensor  # (Q,) slots
    whole: Tensor  # as in Look

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write the query frames' keys and values (B, Q, N, heads, d) into their slots; gives the whole ring.

        For inference only: it writes in place, which would leak gradients between frames.
        """
        self.keys.index_copy_(1, self.write, k.to(self.keys.dtype))
        self.values.index_copy_(1, self.write, v.to(self.values.dtype))
        return self.keys, self.values

    def near(self, frames: Tensor) -> Tensor:
        """(B, slots, ...) -> (B, Q, n, ...) of the frames that each query frame sees whole."""
        if self.whole.ndim == 2:
            return frames.index_select(1, self.whole.flatten()).unflatten(1, self.whole.shape)
        return frames[torch.arange(len(frames), device=frames.device)[:, None, None], self.whole]


class Rings(NamedTuple):
    """A memory: the rings of all layers, and the look of one pass."""

    keys: list[Tensor]
    values: list[Tensor]
    look: Look

    def layer(self, index: int) -> Ring:
        """What one layer sees."""
        return Ring(self.keys[index], self.values[index], *self.look)

    def recalling(self, told: Tensor) -> Rings:
        """Itself: the look says what is recalled."""
        return self


class KVCache:
    """Ring of num_slots frames, batch first. shape: (layers, N tokens, heads, d)."""

    def __init__(
        self, shape: tuple[int, int, int, int], sight: Sight, batch: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        layers, *frame = shape
        self.sight = sight
        self.slots = num_slots(sight)
        new = (batch, self.slots, *frame)
        self.keys = [torch.zeros(new, device=device, dtype=dtype) for _ in range(layers)]
        self.values = [torch.zeros(new, device=device, dtype=dtype) for _ in range(layers)]
        self.poses = torch.zeros(2, batch, self.slots, device=device)  # Poses, if frames are recalled
        self.length = 0  # committed frames
        self.expect(1)

    def expect(self, frames: int) -> None:
        """Say how many query frames (1, or 2 when a commit is merged) the next pass brings."""
        self._rings = self.rings(self.length, frames)

    def rings(self, length: int, frames: int) -> Rings:
        """What `frames` query frames after `length` committed ones look through."""
        row = row_of(length, self.sight)
        return Rings(self.keys, self.values, _kept_look(row, frames, self.sight.key, self.keys[0].device))

    def recalling(self, told: Tensor) -> Rings:
        """What the query frames of the next pass look through, whose actions were told as (B, Q, A + 2)."""
        return self._rings._replace(look=self.recall(self._rings.look, told, self.length))

    def recall(self, look: Look, told: Tensor, length: int) -> Look:
        """A look of so many committed frames, with what each query frame recalls; notes their poses."""
        offer = look.view.offer
        if offer is None:
            return look
        heading, stirred = poses(told)
        moved = stirred.cumsum(1)
        if length:
            moved = moved + self.poses[1, :, self.slot(length - 1)][:, None]
        self.poses[:, :, look.write] = torch.stack([heading, moved])
        found = recalled(offer, Poses(heading, moved), Poses(*self.poses))
        return look._replace(whole=torch.cat([look.whole[:, :-1].expand(len(told), -1, -1), found[..., None]], -1))

    def slot(self, time: int) -> int:
        """Where in the ring the frame of that time lies."""
        return slot_of(time, self.sight)

    def layer(self, index: int) -> Ring:
        """The ring of one layer, for the query frames of the next pass."""
        return self._rings.layer(index)

    def clear(self) -> None:
        """Forget everything; the tensors stay where they are."""
        for ring in (*self.keys, *self.values, self.poses):
            ring.zero_()
        self.restore({}, 0)

    def advance(self, frames: int = 1) -> None:
        """What the last pass wrote for the first `frames` query frames is now the past."""
        self.length += frames
        self.expect(1)

    def frame(self, time: int) -> tuple[Tensor, Tensor]:
        """A copy of one held frame: keys and values (2, layers, B, N, heads, d), and its pose (2, B)."""
        slot = self.slot(time)
        rings = torch.stack([torch.stack([u[:, slot] for u in ring]) for ring in (self.keys, self.values)])
        return rings, self.poses[..., slot].clone()

    def restore(self, frames: dict[int, tuple[Tensor, Tensor]], length: int) -> None:
        """Put frames back by their times, and say how many are committed."""
        for time, (rings, pose) in frames.items():
            self.poses[..., self.slot(time)] = pose
            for ring, parts in zip((self.keys, self.values), rings, strict=True):
                for u, part in zip(ring, parts, strict=True):
                    u[:, self.slot(time)] = part
        self.length = length
        self.expect(1)

    def state(self) -> dict[str, Any]:
        """A copy of everything, as tensors and builtins."""
        return {
            "keys": [k.clone() for k in self.keys],
            "values": [v.clone() for v in self.values],
            "length": self.length,
        } | ({"poses": self.poses.clone()} if self.sight.recall else {})

    def load_state(self, state: dict[str, Any]) -> None:
        """Return to a state of a cache of the same shape."""
        for ours, theirs in zip(self.keys + self.values, state["keys"] + state["values"], strict=True):
            ours.copy_(theirs)
        if self.sight.recall:
            self.poses.copy_(state["poses"])
        self.length = int(state["length"])
        self.expect(1)
