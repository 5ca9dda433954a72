"""Tiny networks and clips for the tests of model and diffusion; all dimensions differ.

network        a CausalDiT whose parameters are all random, so that no gate is closed
clip           latents (B, T, C, h, w) and actions (B, T, A)
Flow, point    stand-ins for a network: an analytic velocity
Counting       a network that counts its passes
"""

from types import SimpleNamespace

import torch

from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight

B, T, C, H, W, A = 2, 7, 5, 3, 4, 6
SHAPE = (C, H, W)


def sight(window=8, sink=0, near=(1, 3), **more):
    return Sight(window=window, sink=sink, near=[age for age in near if age <= window], **more)


def network(window=8, sink=0, near=(1, 3), layers=2, **more):
    seen = sight(window, sink, near, **more)
    config = ModelConfig(width=32, layers=layers, heads=8, temporal_heads=5, mlp=2, sight=seen)
    model = CausalDiT(config, SHAPE, A)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.7 * p.shape[-1] ** -0.5 if p.ndim > 1 else 0.3)
    return model


def clip(frames=T, batch=B):
    return torch.randn(batch, frames, *SHAPE), torch.rand(batch, frames, A) * 2 - 1


def noise_table(frames, steps, batch=B):
    table = torch.randn(frames, steps, batch, 1, *SHAPE)
    return lambda t, step: table[t, step]


class Flow:
    """Stands for a network: v = rule(xt, sigma), sigma (B, T, 1, 1, 1)."""

    def __init__(self, rule):
        self.rule, self.calls, self.config = rule, 0, SimpleNamespace(sight=sight())

    def __call__(self, xt, sigma, actions, memory):
        self.calls += 1
        return self.rule(xt, sigma[..., None, None, None])


def point(target):
    """The exact flow of frames that are always `target`: v is constant along a path. Nonsense at sigma = 0.

    A clean half before the frames gets nonsense too.
    """

    def rule(xt, sigma):
        known = torch.cat([torch.zeros_like(xt[:, target.shape[1] :]), target], 1)
        return torch.where(sigma > 0, (xt - known) / sigma.clamp_min(1e-9), 1e6)

    return Flow(rule)


class Counting:
    """A network that counts its passes."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def __call__(self, *inputs):
        self.calls += 1
        return self.model(*inputs)


def no_grads(model):
    return all(p.grad is None for p in model.parameters())
