"""CausalDiT: the one network of this project. Latents with noise in, velocity out, the past through a memory.

ModelConfig   sizes (conf/model/*.yaml)
Block         attention of both kinds of heads and an MLP, modulated by noise level and action (AdaLN-zero)
CausalDiT     model(xt, sigma, actions, memory) -> v

bidirectional, teacher, student and fake_score are this network with other weights and another memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.model.attention import attend
from worldmodel.model.cache import KVCache
from worldmodel.model.masks import LayerMemory, Memory, Sight
from worldmodel.model.positions import action_features, axial_rotation, panned_rotation, rotate, sigma_features

SIGMA_FEATURES = 128
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": lambda x: F.relu(x).square(),  # arXiv:2109.08668
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "swiglu": lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],  # arXiv:2002.05202; two thirds as wide
}
FEW = 2  # query frames, as in a pass that makes one frame


@dataclass(kw_only=True)
class ModelConfig:
    """width D; layers; heads, of which temporal_heads look through time, in every temporal_every-th layer, and in the
    others around like the rest; mlp: hidden width over D; activation: one of ACTIVATIONS; sight; pan: degrees that the
    picture is wide, if its columns are to be directions in the world, else 0.
    """

    width: int
    layers: int
    heads: int
    temporal_heads: int
    mlp: int
    sight: Sight
    activation: str = "relu2"
    temporal_every: int = 1
    pan: float = 0.0

    @property
    def hidden(self) -> int:
        """Hidden width of a layer's MLP."""
        return self.mlp * self.width * 2 // 3 // 32 * 32 if self.activation == "swiglu" else self.mlp * self.width

    @property
    def needs_heading(self) -> bool:
        """Whether the network goes by the heading, and so has to be told it (compass.py)."""
        return bool(self.pan or self.sight.recall)

    def __post_init__(self) -> None:
        if not 0 <= self.pan < 180:
            raise ValueError(f"model: pan must be from 0 to below 180 degrees, got {self.pan}")
        if self.activation not in ACTIVATIONS or not 1 <= self.temporal_every <= self.layers:
            raise ValueError(
                f"model: activation {self.activation} is one of {', '.join(ACTIVATIONS)}; temporal_every "
                f"{self.temporal_every} is from 1 to the number of layers"
            )
        if self.heads < 1 or self.width % (4 * self.heads) or not 0 < self.temporal_heads < self.heads:
            raise ValueError(
                f"model: width {self.width} must be a multiple of 4 x heads {self.heads}, "
                f"and both kinds of heads are needed, got {self.temporal_heads} temporal ones"
            )


def normalise(x: Tensor) -> Tensor:
    """RMS norm over the last axis, without a gain."""
    return F.rms_norm(x, (x.shape[-1],))


class Block(nn.Module):
    """One layer. The residual branches start at zero."""

    def __init__(self, config: ModelConfig, *, looks_back: bool) -> None:
        super().__init__()
        d, self.heads, self.temporal = config.width, config.heads, config.temporal_heads if looks_back else 0
        self.activation = ACTIVATIONS[config.activation]
        self.size = d // config.heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.expand = nn.Linear(d, config.hidden * (1 + (config.activation == "swiglu")), bias=False)
        self.contract = nn.Linear(config.hidden, d, bias=False)
        self.modulation = nn.Linear(d, 6 * d)
        if looks_back:
            self.ages = nn.Parameter(torch.randn(config.sight.num_ages, self.temporal, self.size) * 0.02)
        self.nearness = nn.Parameter(torch.randn(config.sight.num_near, self.heads - self.temporal, self.size) * 0.02)
        for zero in (self.out.weight, self.contract.weight, self.modulation.weight, self.modulation.bias):
            nn.init.zeros_(zero)
        with torch.no_grad():  # the gates are open; out and contract keep the branches at zero
            self.modulation.bias.view(6, d)[[2, 5]] = 1.0

    def forward(self, x: Tensor, condition: Tensor, rotation: Tensor, memory: LayerMemory) -> Tensor:
        """x (B, T, N, D), condition (B, T, D) -> (B, T, N, D)."""
        return self.modulated(x, self.modulation(condition), rotation, memory)

    def modulated(self, x: Tensor, modulation: Tensor, rotation: Tensor, memory: LayerMemory) -> Tensor:
        """The layer under a modulation (B, T, 6 D) that is known already."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation[:, :, None].chunk(6, -1)
        qkv = self.qkv(normalise(x) * (1 + scale_a) + shift_a)
        qkv = qkv.unflatten(-1, (3, self.heads, self.size))
        (q, k), v = normalise(qkv[:, :, :, :2]).unbind(3), qkv[:, :, :, 2]  # (B, T, N, heads, d)
        s = self.heads - self.temporal
        q_space, k_space = rotate(q[..., :s, :], rotation), rotate(k[..., :s, :], rotation)
        k, v = memory.extend(torch.cat([k_space, k[..., s:, :]], -2), v)
        seen = self._space(q_space, k, v, memory)
        if self.temporal:
            seen = torch.cat([seen, self._time(q[..., s:, :], k, v, memory)], -1)
        x = x + gate_a * self.out(seen)
        hidden = self.expand(normalise(x) * (1 + scale_m) + shift_m)
        return x + gate_m * self.contract(self.activation(hidden))

    def _space(self, q: Tensor, k: Tensor, v: Tensor, memory: LayerMemory) -> Tensor:
        """All places of the near frames -> (B, T, N, s d)."""
        view, s = memory.view, self.heads - self.temporal
        b, t, n = q.shape[:3]
        keys = memory.near(k[..., :s, :]) + self.nearness[view.near_slots][:, None].to(k.dtype)  # (B, T, n, N, s, d)
        values = memory.near(v[..., :s, :])
        keys, values = (u.flatten(2, 3).transpose(2, 3).flatten(0, 1) for u in (keys, values))  # (B T, s, n N, d)
        bias = view.near_bias
        if bias is not None:
            bias = bias.repeat_interleave(n, 1)[None].expand(b, -1, -1).reshape(b * t, 1, 1, -1)
        seen = attend(q.flatten(0, 1).transpose(1, 2), keys, values, bias)
        return seen.transpose(1, 2).reshape(b, t, n, -1)

    def _time(self, q: Tensor, k: Tensor, v: Tensor, memory: LayerMemory) -> Tensor:
        """The same place of all frames in sight -> (B, T, N, heads d). Ages as in arXiv:1803.02155 eq. 4."""
        view, s = memory.view, self.heads - self.temporal
        b, t, n = q.shape[:3]
        ages = self.ages[view.ages].to(q.dtype)  # (T, K, heads, d)
        if t <= FEW:  # no matrix product is worth its call for one query a place
            keys = k[:, None, :, :, s:] + ages[:, :, None]  # (B, T, K, N, heads, d)
            logits = (q[:, :, None] * keys).sum(-1, dtype=torch.float) * self.size**-0.5
            weights = (logits + view.bias[:, :, None, None]).softmax(2).to(v.dtype)
            return (weights[..., None] * v[:, None, :, :, s:]).sum(2).flatten(-2)
        table = ages.permute(2, 0, 3, 1)  # (heads, T, d, K)
        by_age = q.permute(3, 1, 0, 2, 4).flatten(2, 3) @ table  # (heads, T, B N, K): the table is not copied B N times
        by_age = by_age.unflatten(2, (b, n)).permute(2, 3, 0, 1, 4).float() * self.size**-0.5
        q, k, v = (u.permute(0, 2, 3, 1, 4) for u in (q, k[..., s:, :], v[..., s:, :]))  # (B, N, heads, frames, d)
        seen = attend(q, k, v, by_age + view.bias)
        return seen.permute(0, 3, 1, 2, 4).reshape(b, t, n, -1)


class CausalDiT(nn.Module):
    """Frame-wise diffusion transformer. latent_shape: (C, h, w); num_actions: A."""

    def __init__(self, config: ModelConfig, latent_shape: tuple[int, int, int], num_actions: int) -> None:
        super().__init__()
        self.config, self.latent_shape, self.num_actions = config, latent_shape, num_actions
        channels, height, width = latent_shape
        d = config.width
        self.embed = nn.Linear(channels, d)
        self.place = nn.Parameter(torch.randn(height * width, d) * 0.02)
        self.sigma = nn.Sequential(nn.Linear(SIGMA_FEATURES, d), nn.SiLU(), nn.Linear(d, d))
        self.action = nn.Sequential(nn.Linear(6 * num_actions, d), nn.SiLU(), nn.Linear(d, d))
        every = config.temporal_every
        self.blocks = nn.ModuleList([Block(config, looks_back=(i + 1) % every == 0) for i in range(config.layers)])
        self.modulation = nn.Linear(d, 2 * d)
        self.head = nn.Linear(d, channels)
        for zero in (self.modulation, self.head):
            nn.init.zeros_(zero.weight)
            nn.init.zeros_(zero.bias)
        self.register_buffer("rotation", axial_rotation(height, width, d // config.heads), persistent=False)

    def forward(self, xt: Tensor, sigma: Tensor, actions: Tensor, memory: Memory) -> Tensor:
        """Velocity v = eps - x0 of xt (B, T, C, h, w) at sigma (B, T) in [0, 1], float32.

        actions (B, T, A): those that led to each frame.
        """
        condition = self.condition(sigma, actions).to(self.place.dtype)  # (B, T, D)
        x = self._tokens(xt)
        memory, rotation = memory.recalling(actions), self.turned(actions)
        for layer, block in enumerate(self.blocks):
            x = block(x, condition, rotation, memory.layer(layer))
        return self._velocity(x, self.modulation(condition))

    def modulated(self, xt: Tensor, modulations: Sequence[Tensor], rotation: Tensor, memory: Memory) -> Tensor:
        """The same under modulations that are known already: (B, T, 6 D) for each layer, then (B, T, 2 D); rotation:
        of `turned`; the memory recalls what it shall.
        """
        x = self._tokens(xt)
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = block.modulated(x, modulations[layer], rotation, memory.layer(layer))
        return self._velocity(x, modulations[-1])

    def turned(self, actions: Tensor) -> Tensor:
        """Rotary positions (2, ..., N, d / 2) of frames whose actions (B, T, A) tell the heading."""
        if not self.config.pan:
            assert isinstance(self.rotation, Tensor)
            return self.rotation
        heading = torch.atan2(actions[..., -2], actions[..., -1])
        return panned_rotation(*self.latent_shape[1:], self.config.width // self.config.heads, heading, self.config.pan)

    def _tokens(self, xt: Tensor) -> Tensor:
        return self.embed(xt.flatten(3).transpose(2, 3).to(self.place.dtype)) + self.place  # (B, T, N, D)

    def _velocity(self, x: Tensor, modulation: Tensor) -> Tensor:
        shift, scale = modulation[:, :, None].chunk(2, -1)
        v = self.head(normalise(x) * (1 + scale) + shift)  # (B, T, N, C)
        return v.transpose(2, 3).unflatten(3, self.latent_shape[1:]).float()

    def condition(self, sigma: Tensor, actions: Tensor) -> Tensor:
        """What modulates a frame: its noise level and action, (B, T, D)."""
        dtype = self.place.dtype
        level = self.sigma(sigma_features(sigma, SIGMA_FEATURES).to(dtype))
        return F.silu(level + self.action(action_features(actions).to(dtype)))

    def new_cache(self, batch: int) -> KVCache:
        """An empty past for this network, on its device and in its precision."""
        c = self.config
        shape = (c.layers, self.place.shape[0], c.heads, c.width // c.heads)
        return KVCache(shape, c.sight, batch, device=self.place.device, dtype=self.place.dtype)

    def compile_blocks(self) -> None:
        """Compile the layers in place; weights keep their names."""
        for block in self.blocks:
            block.compile(dynamic=False)

    def matrix_parameters(self) -> list[nn.Parameter]:
        """The hidden matrices, which Muon orthogonalises."""
        layers = [m for b in self.blocks for m in (b.qkv, b.out, b.expand, b.contract)]  # type: ignore[union-attr]
        return [m.weight for m in layers]  # type: ignore[union-attr, misc]
