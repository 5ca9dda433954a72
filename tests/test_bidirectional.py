"""The bidirectional model: sees both ways, learns what is not given."""

import pytest
import torch
from tiny import B, Flow, T, clip, network, no_grads

from worldmodel.diffusion.bidirectional import bidirectional_loss, clip_velocity, dream_clip


def test_every_frame_sees_past_and_future():
    model, (x, actions), sigma = network(), clip(), torch.rand(B, T)
    before = clip_velocity(model, x, sigma, actions)
    for j in (0, 3, T - 1):
        other = x.clone()
        other[:, j] += 1
        after = clip_velocity(model, other, sigma, actions)
        assert (after != before).flatten(2).any(2).all()


def test_past_and_future_are_told_apart():
    model, sigma = network(), torch.full((B, T), 0.5)
    x, actions = clip()
    backwards = clip_velocity(model, x.flip(1), sigma, actions.flip(1)).flip(1)
    assert (clip_velocity(model, x, sigma, actions) - backwards).abs().max() > 1e-2


@pytest.mark.parametrize("bounds", [(1, 1), (0, 3)])
def test_given_frames_are_clean_and_never_a_target(bounds):
    """The stand-in knows that all frames are zero, except where sigma says that they are given."""
    levels = []

    def rule(xt, sigma):
        levels.append(sigma[..., 0, 0, 0])
        return torch.where(sigma > 0, xt / sigma.clamp_min(1e-9), 1e6)

    latents, actions = clip(batch=50)
    assert bidirectional_loss(Flow(rule), torch.zeros_like(latents), actions, given=bounds) < 1e-9
    given = (levels[0] == 0).sum(1)
    assert set(given.tolist()) == set(range(bounds[0], bounds[1] + 1))
    assert all((row[:n] == 0).all() and (row[n:] >= 0.02).all() for row, n in zip(levels[0], given, strict=True))


def test_most_clips_share_one_level():
    levels = []
    record = Flow(lambda xt, sigma: levels.append(sigma[..., 0, 0, 0]) or xt)
    bidirectional_loss(record, *clip(batch=1000), given=(1, 1))
    shared = (levels[0][:, 1:] == levels[0][:, 1:2]).all(1).float().mean()
    assert 0.65 < shared < 0.75
    assert levels[0].max() <= 0.98


def test_the_loss_reaches_every_parameter():
    model = network()
    bidirectional_loss(model, *clip(), given=(1, 2)).backward()
    assert not no_grads(model)
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_a_dreamed_clip_walks_from_noise_to_the_models_x0():
    x, actions = clip()
    levels = []

    def rule(xt, sigma):  # leads straight to x
        levels.append(sigma.flatten()[0].item())
        return (xt - x) / sigma

    noise = torch.randn(B, T, *x.shape[2:])
    dreamed = dream_clip(Flow(rule), actions, [1.0, 0.75, 0.25], lambda t: noise[:, t : t + 1])
    assert levels == [1.0, 0.75, 0.25]
    assert torch.allclose(dreamed, x, atol=1e-5)
