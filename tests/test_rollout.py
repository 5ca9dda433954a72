"""The one way to make a frame: its cost, its causality, its determinism, and the merged pass."""

import pytest
import torch
from tiny import SHAPE, A, B, Counting, clip, network, noise_table, point

from train.passes import from_the_last_step
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import commit_block, consistency, denoise_block, euler, merged_block, prefill, rollout

SIGMAS = [1.0, 0.8, 0.5]


def started(model, given=2):
    cache = model.new_cache(B)
    torch.manual_seed(3)
    prefill(model, cache, *clip(given))
    return cache


def merged_rollout(model, cache, actions, sigmas, noise):
    """What an engine does: the commit of a frame rides with the next frame's first pass."""
    x0 = denoise_block(model, cache, actions[:, :1], sigmas, lambda step: noise(0, step))
    frames = [x0]
    for t in range(1, actions.shape[1]):
        first = merged_block(model, cache, x0, actions[:, t - 1 : t + 1], noise(t, 0), sigmas[0])
        x0 = denoise_block(model, cache, actions[:, t : t + 1], sigmas, lambda s, t=t: noise(t, s), first=first)
        frames.append(x0)
    return torch.cat(frames, 1)


def test_a_frame_costs_its_steps_and_a_commit():
    model = network()
    cache, counting = started(model), Counting(model)
    rollout(counting, cache, clip(5)[1], SIGMAS, noise_table(5, 3))
    assert counting.calls == 5 * (len(SIGMAS) + 1)


def test_a_merged_frame_costs_its_steps():
    model = network()
    cache, counting = started(model), Counting(model)
    with torch.no_grad():
        merged_rollout(counting, cache, clip(5)[1], SIGMAS, noise_table(5, 3))
    assert counting.calls == 5 * len(SIGMAS)


def test_without_a_commit_a_frame_costs_its_steps_and_leaves_a_noisy_past():
    model, actions, noise = network(), clip(5)[1], noise_table(5, 3)
    cache, counting = started(model), Counting(model)
    dreamed = from_the_last_step(counting, cache, actions, SIGMAS, noise, consistency)
    plain = rollout(model, started(model), actions, SIGMAS, noise)
    assert counting.calls == 5 * (len(SIGMAS) + 1)  # recomputed here; in play the last pass's own would stay
    torch.testing.assert_close(dreamed[:, :1], plain[:, :1])
    assert (dreamed[:, 1] - plain[:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("seen", [{"window": 20}, {"window": 3, "sink": 1}, {"window": 1, "near": (1,)}])
def test_merged_passes_dream_the_same_frames(seen):
    model, actions, noise = network(**seen), clip(9)[1], noise_table(9, 3)
    plain = rollout(model, started(model), actions, SIGMAS, noise)
    with torch.no_grad():
        merged = merged_rollout(model, started(model), actions, SIGMAS, noise)
    torch.testing.assert_close(merged, plain, rtol=0, atol=1e-4)


def test_a_merged_pass_is_a_commit_and_a_denoising_pass():
    model = network(window=3, sink=1)
    (x0, xt), actions = torch.randn(2, B, 1, *SHAPE), torch.rand(B, 2, A)
    one, two = started(model, 9), started(model, 9)
    with torch.no_grad():
        merged = merged_block(model, one, x0, actions, xt, 0.7)
        commit_block(model, two, x0, actions[:, :1])
        apart = model(xt, torch.full((B, 1), 0.7), actions[:, 1:], two)
    torch.testing.assert_close(merged, apart, rtol=0, atol=1e-5)
    assert one.length == two.length == 10


def test_an_action_changes_the_frame_it_leads_to_and_those_after_but_none_before():
    model, actions, noise = network(), clip(7)[1], noise_table(7, 3)
    plain = rollout(model, started(model), actions, SIGMAS, noise)
    for j in range(7):
        other = actions.clone()
        other[:, j] *= -1
        changed = rollout(model, started(model), other, SIGMAS, noise)
        assert torch.equal(changed[:, :j], plain[:, :j])
        assert (changed[:, j:] != plain[:, j:]).flatten(2).any(2).all()


def test_a_dream_is_a_function_of_its_past_its_actions_and_its_noise():
    model, actions = network(), clip(5)[1]
    noise = lambda t, step: frame_noise(4, t, step, (B, 1, *SHAPE))  # noqa: E731
    first = rollout(model, started(model), actions, SIGMAS, noise)
    torch.manual_seed(1234)
    second = rollout(model, started(model), actions, SIGMAS, noise)
    assert torch.equal(first, second)


def test_every_input_is_recorded_and_the_first_is_noise():
    model, actions, noise, seen = network(), clip(4)[1], noise_table(4, 3), {}
    rollout(model, started(model), actions, SIGMAS, noise, record=lambda t, step, xt: seen.update({(t, step): xt}))
    assert sorted(seen) == [(t, step) for t in range(4) for step in range(3)]
    assert all(torch.equal(seen[t, 0], noise(t, 0)) for t in range(4))


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 0.8], [1.0, 0.7, 0.2]])
def test_the_flow_of_a_point_ends_at_the_point(sigmas):
    target, noise, cache = torch.randn(B, 1, *SHAPE), noise_table(1, 3), network().new_cache(B)
    for sampler in ({}, {"sampler": euler}):
        x0 = denoise_block(point(target), cache, torch.zeros(B, 1, A), sigmas, lambda s: noise(0, s), **sampler)
        torch.testing.assert_close(x0, target, rtol=0, atol=1e-5)


def test_euler_takes_no_fresh_noise():
    model, actions = network(), torch.zeros(B, 1, A)
    first, others = torch.randn(B, 1, *SHAPE), [torch.randn(B, 1, *SHAPE) for _ in range(2)]
    with torch.no_grad():
        ends = [denoise_block(model, model.new_cache(B), actions, SIGMAS, lambda s, o=o: o if s else first, euler)
                for o in others]  # fmt: skip
    assert torch.equal(*ends)


def test_a_rollout_carries_no_gradient():
    model = network()
    assert not rollout(model, started(model), clip(3)[1], SIGMAS, noise_table(3, 3)).requires_grad
