"""Teacher forcing: who depends on what, and which frames are learnt."""

import pytest
import torch
from tiny import B, Flow, T, clip, network, point

from worldmodel.diffusion.noise import NoiseConfig
from worldmodel.diffusion.teacher import forced_velocity, forcing_mask, own_past, split_clip, teacher_forcing_loss
from worldmodel.model.masks import teacher_forcing

NOISE = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1)
F = T - 1  # predicted frames


def setting(draws=1):
    """A network, its clean past and noisy frames."""
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    shape = (B, draws * F, *target.shape[2:])
    return network(), context, torch.randn(shape), torch.rand(B, draws * F)


def changed_frames(before, after):
    return (before != after).flatten(2).any(2).any(0).tolist()


def test_a_noisy_frame_does_not_depend_on_other_noisy_frames_or_draws():
    model, context, xt, sigma = setting(draws=2)
    before = forced_velocity(model, context, xt, sigma)
    for i in range(2 * F):
        x, s = xt.clone(), sigma.clone()
        x[:, i] += 1
        s[:, i] *= 0.5
        assert changed_frames(before, forced_velocity(model, context, x, s)) == [k == i for k in range(2 * F)]


def test_a_noisy_frame_depends_on_the_clean_frames_before_it_only():
    model, context, xt, sigma = setting(draws=2)
    before = forced_velocity(model, context, xt, sigma)
    for j in range(F):
        past = context.latents.clone()
        past[:, j] += 1
        after = forced_velocity(model, context._replace(latents=past), xt, sigma)
        assert changed_frames(before, after) == [i > j for i in range(1, T)] * 2


def test_the_clean_half_does_not_depend_on_the_noisy_half():
    model, context, xt, sigma = setting()
    mask = teacher_forcing(range(F), range(1, T), model.config.sight)
    actions = torch.cat([context.actions[:, :-1], context.actions[:, 1:]], 1)
    halves = [model(torch.cat([context.latents, x], 1), torch.cat([context.sigma, sigma], 1), actions, mask)[:, :F]
              for x in (xt, xt + 1)]  # fmt: skip
    assert torch.equal(*halves)


def test_an_action_changes_the_frame_it_leads_to_and_those_after_but_none_before():
    model, context, xt, sigma = setting()
    before = forced_velocity(model, context, xt, sigma)
    for j in range(T):
        actions = context.actions.clone()
        actions[:, j] *= -1
        after = forced_velocity(model, context._replace(actions=actions), xt, sigma)
        assert changed_frames(before, after) == [i >= j for i in range(1, T)]


def test_draws_are_the_same_pass_twice():
    model, context, xt, sigma = setting(draws=2)
    both = forced_velocity(model, context, xt, sigma)
    apart = [forced_velocity(model, context, xt[:, part], sigma[:, part]) for part in (slice(0, F), slice(F, None))]
    torch.testing.assert_close(both, torch.cat(apart, 1), rtol=0, atol=1e-5)


def test_the_level_of_the_context_is_told_to_the_network():
    model, context, xt, sigma = setting()
    other = context._replace(sigma=torch.full_like(context.sigma, 0.2))
    assert all(changed_frames(forced_velocity(model, context, xt, sigma), forced_velocity(model, other, xt, sigma)))


@pytest.mark.parametrize("draws", [1, 3])
def test_frame_0_is_never_a_target(draws):
    """The stand-in knows that frames 1..T are zero and knows nothing of frame 0 or of the clean half."""
    latents, actions = clip()
    latents[:, 1:] = 0
    knows = Flow(lambda xt, sigma: torch.where(sigma > 0, xt / sigma.clamp_min(1e-9), 1e6))
    assert teacher_forcing_loss(knows, latents, actions, NOISE, draws) < 1e-9


def test_a_clip_splits_into_the_past_and_what_follows():
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    assert torch.equal(context.latents, latents[:, :-1])
    assert torch.equal(target, latents[:, 1:])
    assert torch.equal(context.actions, actions)
    assert not context.sigma.any()


def test_a_look_in_inference_mode_does_not_spoil_training():
    """The mask is made once and shared: made under torch.inference_mode it can never be trained through."""
    model, (latents, actions) = network(window=5), clip()
    forcing_mask.cache_clear()
    try:
        with torch.inference_mode():
            teacher_forcing_loss(model, latents, actions, NOISE)
        teacher_forcing_loss(model, latents, actions, NOISE).backward()
    finally:
        forcing_mask.cache_clear()


def test_the_loss_falls_on_a_clip_learnt_by_heart():
    model, (latents, actions) = network(), clip()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = teacher_forcing_loss(model, latents, actions, NOISE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_past_of_its_own_is_true_up_to_some_frame_and_the_models_work_from_there_on():
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    context = context._replace(sigma=torch.full_like(context.sigma, 0.1))
    always, never = (NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=c) for c in (1, 0))
    assert own_past(network(), context, target, never) is context
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        past = own_past(network(), context, target, always)
        assert torch.equal(past.actions, context.actions)
        changed = (past.latents != context.latents).flatten(2).any(2)
        assert torch.equal(changed, past.sigma == 0)  # a running world's past says nothing of its errors
        for row in changed.tolist():
            assert row == sorted(row)
            assert not row[0]
            seen.add(sum(row))
    assert seen == set(range(F))


def test_what_a_perfect_model_sees_in_a_frame_is_the_frame():
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    always = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=1.0)
    past = own_past(point(target), context, target, always)
    torch.testing.assert_close(past.latents, context.latents, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
def test_after_so_many_passes_so_many_own_frames_are_those_of_play(depth, monkeypatch):
    """More passes change later frames alone, as one frame after another is made in play."""
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    least_first, most_depth = torch.zeros(B, 1, dtype=torch.long), lambda high: torch.tensor(high - 1)
    monkeypatch.setattr(torch, "randint", lambda *a, **k: least_first if len(a) == 3 else most_depth(a[0]))
    pasts, model = [], network()
    for passes in (depth, depth + 3):
        torch.manual_seed(0)
        config = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=1.0,
                             own_depth=passes, own_level=1.0)  # fmt: skip
        pasts.append(own_past(model, context, target, config).latents)
    short, long = pasts
    torch.testing.assert_close(short[:, : depth + 1], long[:, : depth + 1], rtol=1e-4, atol=1e-5)
    assert (short[:, depth + 1] - long[:, depth + 1]).abs().max() > 1e-3
    assert torch.equal(short[:, 0], context.latents[:, 0])


def test_an_own_past_from_noise_alone_owes_nothing_to_the_true_frames():
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    kept, model = [], network()
    for other in (target, target + 1):
        torch.manual_seed(4)
        config = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=1.0, own_level=1.0)
        past = own_past(model, context, other, config).latents
        kept.append(past[(past != context.latents).flatten(2).any(2)])
    torch.testing.assert_close(kept[0], kept[1], rtol=1e-4, atol=1e-5)


def test_the_own_past_may_be_made_by_another_network():
    latents, actions = clip()
    asked = []

    def dreamer(*args):
        asked.append(1)
        return torch.zeros_like(args[0])

    dreamer.config = network().config
    config = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=1.0, own_depth=3)
    torch.manual_seed(1)
    loss = teacher_forcing_loss(network(), latents, actions, config, dreamer=dreamer)
    assert 1 <= len(asked) <= 3
    assert loss.isfinite()


@pytest.mark.parametrize("times", [0.0, -1.0])
def test_errors_of_an_own_past_may_be_taken_back_or_mirrored(times):
    latents, actions = clip()
    context, target = split_clip(latents, actions, None)
    pasts = []
    for errors in (1.0, times):
        torch.manual_seed(0)
        config = NoiseConfig(mean=0.0, std=1.0, context_chance=0.0, context_most=0.1, own_chance=1.0,
                             own_errors=[errors, errors])  # fmt: skip
        pasts.append(own_past(network(), context, target, config).latents - context.latents)
    assert pasts[0].abs().max() > 0.1
    torch.testing.assert_close(pasts[1], times * pasts[0], rtol=1e-4, atol=1e-5)
