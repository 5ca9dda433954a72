"""The past in play is the past of training: a ring of keys and values against one masked pass over all frames."""

import pytest
import torch
from tiny import A, B, clip, network, sight

from worldmodel.diffusion.rollout import commit_block, prefill
from worldmodel.diffusion.teacher import Context, forced_velocity
from worldmodel.model.cache import num_slots, slot_of
from worldmodel.model.masks import visible

SIGHTS = {
    "inside the window": {"window": 20},
    "beyond the window": {"window": 6},  # clips are three windows long
    "with a sink": {"window": 5, "sink": 2},
    "with a sink longer than the window": {"window": 2, "sink": 4, "near": (1, 2)},
    "one frame of window": {"window": 1, "near": (1,)},
    "no near frames": {"window": 4, "sink": 1, "near": ()},
    "key frames beyond the window": {"window": 3, "sink": 1, "near": (1, 3), "far": 3, "every": 4},
    "what looked the same way": {"window": 6, "sink": 1, "recall": 3},
    "key frames that looked the same way": {"window": 3, "near": (1, 2), "far": 3, "every": 4, "recall": 2},
    "every other frame for longer": {"window": 2, "sink": 0, "near": (1,), "far": 2, "every": 2},
}


def step_by_step(model, latents, actions, xt, sigma):
    """v of the noisy frames 1..T, each from a cache of the clean ones before it."""
    cache, out = model.new_cache(len(xt)), []
    for i in range(xt.shape[1]):
        commit_block(model, cache, latents[:, i : i + 1], actions[:, i : i + 1])
        out.append(model(xt[:, i : i + 1], sigma[:, i : i + 1], actions[:, i + 1 : i + 2], cache))
    return torch.cat(out, 1)


def warm(model, frames=9, seed=1):
    torch.manual_seed(seed)
    cache = model.new_cache(B)
    prefill(model, cache, *clip(frames))
    return cache


def query(model, cache):
    """The velocity of one fixed next frame."""
    torch.manual_seed(7)
    x, actions = clip(1)
    with torch.no_grad():
        return model(x, torch.full((B, 1), 0.6), actions, cache)


@pytest.mark.parametrize("seen", SIGHTS.values(), ids=SIGHTS)
def test_play_equals_the_masked_pass(seen):
    model = network(**seen)
    latents, actions = clip(19)
    xt, sigma = torch.randn(latents[:, 1:].shape), torch.rand(B, 18)
    context = Context(latents[:, :-1], torch.zeros(B, 18), actions)
    masked = forced_velocity(model, context, xt, sigma)
    with torch.no_grad():
        played = step_by_step(model, latents, actions, xt, sigma)
    torch.testing.assert_close(played, masked, rtol=0, atol=1e-4)


def remembers(model, frames, changed):
    """Whether another frame `changed` in a past of so many frames changes what comes next."""
    latents, actions = clip(frames)
    other = latents.clone()
    other[:, changed] += 1
    answers = []
    for past in (latents, other):
        cache = model.new_cache(B)
        prefill(model, cache, past, actions)
        answers.append(query(model, cache))
    return not torch.equal(*answers)


def test_frames_out_of_sight_are_forgotten_and_sinks_are_not():
    """One layer, so that nothing is handed on: frame 0 of 9 is seen as a sink and not otherwise."""
    for sink, remembered in ((0, False), (1, True)):
        model = network(window=4, sink=sink, layers=1)
        assert remembers(model, 9, 0) == remembered


def test_denoising_passes_are_not_remembered():
    model = network(window=4)
    cache, once = warm(model), warm(model)
    for _ in range(3):
        model(torch.randn(B, 1, *model.latent_shape), torch.rand(B, 1), torch.rand(B, 1, A), cache)
    assert torch.equal(query(model, cache), query(model, once))


def test_a_new_cache_knows_nothing_of_the_old_one():
    model = network()
    fresh = query(model, model.new_cache(B))
    warm(model)
    assert torch.equal(query(model, model.new_cache(B)), fresh)
    assert not torch.equal(query(model, warm(model)), fresh)


def test_rows_of_a_batch_have_pasts_of_their_own():
    model = network(window=4)
    latents, actions = clip(9)
    both, one = model.new_cache(B), model.new_cache(1)
    prefill(model, both, latents, actions)
    prefill(model, one, latents[1:], actions[1:])
    x, a, sigma = torch.randn(B, 1, *model.latent_shape), torch.rand(B, 1, A), torch.rand(B, 1)
    with torch.no_grad():
        rows, alone = model(x, sigma, a, both)[1:], model(x[1:], sigma[1:], a[1:], one)
    torch.testing.assert_close(rows, alone, rtol=0, atol=1e-5)


def test_a_state_brings_the_past_back_exactly():
    model = network(window=4, sink=1)
    cache = warm(model)
    state, before = cache.state(), query(model, cache)
    prefill(model, cache, *clip(7))  # must not write into the state
    assert not torch.equal(query(model, cache), before)
    cache.load_state(state)
    assert torch.equal(query(model, cache), before)
    other = model.new_cache(B)
    other.load_state(state)
    assert torch.equal(query(model, other), before)


def test_a_world_does_not_know_how_old_it_is():
    """Frame 1000 and frame 20 answer alike after the same last frames: position is age and nothing else."""
    model = network(window=4, near=(1, 3), layers=2)
    latents, actions = clip(10)  # two layers hand on two windows at most
    answers = []
    for before in (10, 990):
        cache = warm(model, before, seed=before)
        prefill(model, cache, latents, actions)
        answers.append(query(model, cache))
    torch.testing.assert_close(*answers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("more", [{}, {"far": 3, "every": 4}, {"far": 1, "every": 2}, {"far": 9, "every": 9}])
def test_every_frame_in_sight_has_a_slot_of_its_own(more):
    seen = sight(window=5, sink=2, **more)
    for length in range(300):
        times = torch.arange(length + 2)
        held = times[visible(length - times, times, seen)].tolist()
        assert len({slot_of(t, seen) for t in held}) == len(held)
        assert max(slot_of(t, seen) for t in held) < num_slots(seen)


def test_key_frames_are_remembered_and_others_beyond_the_window_are_not():
    """One layer, and the same last frames: what differs is frame 4, a key frame, or frame 5, 15 frames ago."""
    for changed, remembered in ((4, True), (5, False)):
        model = network(window=4, layers=1, far=4, every=4)
        assert remembers(model, 19, changed) == remembered


def test_what_was_first_seen_in_play_can_be_learnt_through():
    torch.manual_seed(0)
    model = network(window=3, sink=0, near=(2,))  # looks that no other test asks for
    with torch.inference_mode():
        warm(model)
    x, actions = clip(1)
    model(x, torch.full((B, 1), 0.6), actions, warm(model)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
