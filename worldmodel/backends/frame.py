"""One whole frame as one function over tensors that stay where they are.

WholeFrame   commit of the newest frame merged with the first pass of the next, the other passes, decoding to uint8

The function of rollout.merged_block, rollout.denoise_block and Tokenizer.decode, held to them by tests. What depends
on noise level and action alone is computed once a frame, for all layers and passes in one product. Where to look
comes with the call, or from tables by a frame counter on the device, so that no number comes back to Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.diffusion.flow import x0_from_velocity
from worldmodel.diffusion.rollout import consistency
from worldmodel.model.cache import KVCache, Look, Rings, fill, look, num_rows, period
from worldmodel.model.dit import SIGMA_FEATURES, Block, CausalDiT
from worldmodel.model.masks import Memory, Sight, View
from worldmodel.model.positions import action_features, sigma_features
from worldmodel.tokenizer.autoencoder import Tokenizer


def least_past(sight: Sight) -> int:
    """Committed frames from which on all near frames exist, so that spatial heads need no mask."""
    return max(sight.near, default=0)


class WholeFrame(nn.Module):
    """Makes the next frame. Shares the weights of `model` and `tokenizer`, on their device and in their precision."""

    def __init__(self, model: CausalDiT, tokenizer: Tokenizer, sigmas: Sequence[float], noise_scale: float) -> None:
        """sigmas: descending noise levels, the first is 1; noise_scale: of rollout.consistency."""
        super().__init__()
        self.model, self.tokenizer, self.noise_scale = model, tokenizer, noise_scale
        device, dtype = model.place.device, model.place.dtype
        self.sigmas = [float(s) for s in sigmas]
        levels = torch.tensor([0.0, *self.sigmas], device=device)
        layers = [*(b.modulation for b in model.blocks if isinstance(b, Block)), model.modulation]
        self.sizes = [layer.out_features for layer in layers]
        self.modulation = nn.Linear(model.config.width, sum(self.sizes), device=device, dtype=dtype)  # of all layers
        with torch.no_grad():
            self.register_buffer("levels", model.sigma(sigma_features(levels, SIGMA_FEATURES).to(dtype)))
            self.modulation.weight.copy_(torch.cat([layer.weight for layer in layers]))
            self.modulation.bias.copy_(torch.cat([layer.bias for layer in layers]))
        self.modulation.requires_grad_(False)
        self.register_buffer("grid", torch.tensor([*self.sigmas, 0.0], device=device))
        self.register_buffer("near", torch.arange(model.config.sight.num_whole, device=device))
        self.tables = nn.ModuleDict({str(q): _Looks(model.config.sight, q).to(device) for q in (1, 2)})

    def forward(
        self, keys: list[Tensor], values: list[Tensor], looks: list[list[Tensor]],
        x0: Tensor, moves: Tensor, noise: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The frame after the newest, x0 (B, 1, C, h, w), and its picture uint8 (B, H, W, 3).

        keys, values: a KVCache's rings, written in place; looks: of the merged pass and of those after it, by
        looks_at. moves (B, 2, A): what led to x0, and the action now. noise (steps, B, 1, C, h, w).
        """
        near = self.near
        assert isinstance(near, Tensor)
        first, rest = (Rings(keys, values, _as_look(look, near)) for look in looks)
        return self.dream(first, rest, x0, moves, noise)

    def counted(
        self, keys: list[Tensor], values: list[Tensor], length: Tensor, x0: Tensor, moves: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same, knowing where to look by a counter on the device: length (1,) int64, the frames committed to the
        rings before x0, at least least_past(sight). Not for networks that recall: what they see is not in tables.
        """
        first, rest = (Rings(keys, values, self.tables[str(q)](length + 2 - q)) for q in (2, 1))
        return self.dream(first, rest, x0, moves, noise)

    def dream(
        self, first: Memory, rest: Memory, x0: Tensor, moves: Tensor, noise: Tensor | Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The same through two memories: of the merged pass, and of the passes after it."""
        known = self.modulations(moves)  # (B, 1 + steps, size) of each layer
        xt = noise[0]
        both = torch.cat([x0.to(xt.dtype), xt], 1)
        rotation = self.model.turned(moves)
        v = self.model.modulated(both, [m[:, :2] for m in known], rotation, first)[:, 1:]
        return self.finish(v, noise, known, of_frame(rotation, 1), rest)

    def finish(
        self, v: Tensor, noise: Tensor | Sequence[Tensor], known: Sequence[Tensor], rotation: Tensor, rest: Memory
    ) -> tuple[Tensor, Tensor]:
        """All after the first pass, which gave v; rotation: of the new frame."""
        xt = noise[0]
        assert isinstance(self.grid, Tensor)
        levels = self.grid.view(-1, 1, 1)
        for step in range(len(self.sigmas)):
            if step > 0:
                v = self.model.modulated(xt, [m[:, step + 1 : step + 2] for m in known], rotation, rest)
            if step == len(self.sigmas) - 1:
                xt = x0_from_velocity(xt, v, levels[step])
            else:
                xt = consistency(xt, v, levels[step], levels[step + 1], noise[step + 1], noise_scale=self.noise_scale)
        return xt.contiguous(), self.tokenizer.decode(xt[:, 0])

    def modulations(self, moves: Tensor) -> Sequence[Tensor]:
        """Of the commit and of each pass, for every layer: (B, 1 + steps, 6 D), at last (B, 1 + steps, 2 D)."""
        assert isinstance(self.levels, Tensor)
        action = self.model.action(action_features(moves).to(self.levels.dtype))  # (B, 2, D)
        action = torch.cat([action[:, :1], action[:, 1:].expand(-1, len(self.sigmas), -1)], 1)
        known: Tensor = self.modulation(F.silu(self.levels + action))
        return known.split(self.sizes, -1)


def of_frame(rotation: Tensor, index: int) -> Tensor:
    """Of rotary positions, those of one frame; where all frames have the same, those."""
    return rotation if rotation.ndim == 3 else rotation[:, :, index : index + 1]


def looks_at(cache: KVCache, moves: Tensor) -> list[list[Tensor]]:
    """What WholeFrame takes as looks: of the merged pass and of those after it, at the end of what is committed.

    moves (B, 2, A): as WholeFrame takes them.
    """
    n = cache.length
    both = cache.recall(cache.rings(n, 2).look, moves, n), cache.recall(cache.rings(n + 1, 1).look, moves[:, 1:], n + 1)
    return [[one.view.ages, one.view.bias, one.write, one.whole] for one in both]


def _as_look(look: list[Tensor], near: Tensor) -> Look:
    ages, bias, write, whole = look
    return Look(View(ages, bias, near, None), write, whole)


class _Looks(nn.Module):
    """All looks of so many query frames as tables, by the number of committed frames on the device."""

    def __init__(self, sight: Sight, frames: int) -> None:
        super().__init__()
        self.first, self.circle = fill(sight), period(sight)
        looks = [look(length, frames, sight) for length in range(num_rows(sight))]
        self.register_buffer("ages", torch.stack([one.view.ages for one in looks]))
        self.register_buffer("bias", torch.stack([one.view.bias for one in looks]))
        self.register_buffer("write", torch.stack([one.write for one in looks]))
        self.register_buffer("whole", torch.stack([one.whole for one in looks]))
        self.register_buffer("near", looks[0].view.near_slots)

    def forward(self, length: Tensor) -> Look:
        """length (1,) int64, at least least_past."""
        row = torch.where(length < self.first, length, self.first + (length - self.first) % self.circle)
        tables = (self.ages, self.bias, self.write, self.whole, self.near)
        ages, bias, write, whole, near = (table for table in tables if isinstance(table, Tensor))
        return _as_look([table.index_select(0, row)[0] for table in (ages, bias, write, whole)], near)
