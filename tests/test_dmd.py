"""Distribution matching distillation: the gradient, the replay, and who learns from what."""

import pytest
import torch
from tiny import SHAPE, A, B, Counting, Flow, clip, network, no_grads

from train.dmd import Dreams
from worldmodel.diffusion import dmd
from worldmodel.diffusion.dmd import (
    DmdConfig,
    begin,
    critic_loss,
    dmd_gradient,
    generator_loss,
    go_on,
    opponent_loss,
    recorded,
    replay,
)
from worldmodel.diffusion.flow import add_noise
from worldmodel.diffusion.opponent import Opponent, heard, pull
from worldmodel.diffusion.rollout import consistency

SCORES = pytest.mark.parametrize("score", ["bidirectional", "causal"])
GIVEN, FRAMES = 2, 9
SIGMAS = [1.0, 0.8, 0.5]


def config(**changes):
    plain = {"sigmas": SIGMAS, "noise_scale": 1.0, "given": GIVEN, "frames": FRAMES, "score": "bidirectional",
             "windows": 3, "dreams": 2, "critic_steps": 5, "pool": 4, "critic_warmup": 0, "shift": 3.0,
             "opponent": 0.0, "opponent_levels": (0.02, 0.3)}  # fmt: skip
    return DmdConfig(**plain | changes)


def dreamt(student, exit_step=1, given=GIVEN, seed=5):
    torch.manual_seed(seed)
    latents, _ = clip(given)
    dream = begin(student, latents, torch.rand(B, given + FRAMES, A) * 2 - 1)
    return go_on(student, dream, FRAMES, SIGMAS, exit_step)


@SCORES
def test_equal_scores_give_no_gradient_at_all(score):
    student, judge = network(), network()
    run = dreamt(student)
    loss = generator_loss(replay(student, run), judge, judge, run, config(score=score))
    loss.backward()
    assert not any(p.grad.any() for p in student.parameters())


@SCORES
def test_the_derivative_by_x_is_the_gradient_over_numel(score, monkeypatch):
    run, seen = dreamt(network()), []
    monkeypatch.setattr(dmd, "dmd_gradient", lambda *inputs: seen.append(dmd_gradient(*inputs)) or seen[0])
    x = run.dreamed.clone().requires_grad_()
    generator_loss(x, network(), network(), run, config(score=score)).backward()
    torch.testing.assert_close(x.grad, seen[0] / x.numel(), rtol=1e-3, atol=1e-8)
    assert x.grad.any()


def test_the_normaliser_is_a_constant_of_each_clip():
    x, real, fake = torch.randn(3, B, 4, *SHAPE, requires_grad=True).unbind()
    gradient = dmd_gradient(x, real, fake)
    louder = torch.tensor([1.0, 10.0]).reshape(B, 1, 1, 1, 1)
    assert not gradient.requires_grad
    torch.testing.assert_close(dmd_gradient(louder * x, louder * real, louder * fake), gradient)
    torch.testing.assert_close(dmd_gradient(x[:1], real[:1], fake[:1]), gradient[:1])


def test_the_gradient_is_finite_where_the_real_score_agrees_exactly():
    x, fake = torch.randn(2, B, 4, *SHAPE)
    assert dmd_gradient(x, x, fake).isfinite().all()
    assert not dmd_gradient(x, x, x).any()


@pytest.mark.parametrize(("mu", "s"), [(2.0, 0.3), (-1.0, 2.0)])
def test_a_gaussian_moves_to_the_real_one(mu, s):
    """x = mu + s z against N(0.5, 0.8^2), both scores analytic."""
    params, config_ = torch.tensor([mu, s], requires_grad=True), config(score="causal", shift=1.0)

    def mean_x0(xt, sigma, m, d):
        a = 1 - sigma
        return m + a * d**2 / (a**2 * d**2 + sigma**2) * (xt - a * m)

    for step in range(300):
        x = (params[0] + params[1] * torch.randn(1, 2000))[..., None, None, None]
        with torch.no_grad():
            sigma = dmd.draw_levels(x, config_)
            xt, level = add_noise(x, torch.randn_like(x), sigma), sigma[..., None, None, None]
            gradient = dmd_gradient(x, mean_x0(xt, level, 0.5, 0.8), mean_x0(xt, level, *params))
        (slope,) = torch.autograd.grad(0.5 * (x - (x - gradient).detach()).square().mean(), params)
        with torch.no_grad():
            params -= 0.3 * (1 - step / 300) * slope
    torch.testing.assert_close(params.detach(), torch.tensor([0.5, 0.8]), rtol=0, atol=0.05)


def test_a_self_rollout_carries_no_gradient():
    run = dreamt(network())
    assert run.dreamed.shape == run.exits.shape == (B, FRAMES, *SHAPE)
    assert not run.dreamed.requires_grad
    assert not run.exits.requires_grad
    assert torch.equal(run.past, torch.cat([run.given, run.dreamed], 1)[:, :-1])


@pytest.mark.parametrize("given", [1, 3])
@pytest.mark.parametrize("seen", [{"window": 20}, {"window": 3, "sink": 1}])
def test_the_replay_of_the_last_step_is_what_was_dreamed(given, seen):
    student = network(**seen)
    run = dreamt(student, exit_step=len(SIGMAS) - 1, given=given)
    torch.testing.assert_close(replay(student, run), run.dreamed, rtol=0, atol=1e-4)


@pytest.mark.parametrize("exit_step", [0, 1])
def test_the_replay_of_an_earlier_step_is_the_x0_that_the_next_step_started_from(exit_step):
    """All steps of one rollout, noted one after another: the next input is (1 - sigma) x0 + sigma eps."""
    student = network(window=3, sink=1)
    run, later = (dreamt(student, exit_step=e) for e in (exit_step, exit_step + 1))
    torch.manual_seed(5)
    clip(GIVEN), torch.rand(B, GIVEN + FRAMES, A)
    eps = torch.randn(FRAMES, len(SIGMAS), B, 1, *SHAPE)[:, exit_step + 1].transpose(0, 1).squeeze(2)
    again = add_noise(replay(student, run), eps, torch.full((B, FRAMES), later.sigma))
    torch.testing.assert_close(again, later.exits, rtol=0, atol=1e-4)


def test_the_exit_step_does_not_change_the_dream():
    student = network()
    runs = [dreamt(student, exit_step=e) for e in range(len(SIGMAS))]
    assert all(torch.equal(run.dreamed, runs[0].dreamed) for run in runs)
    assert [run.sigma for run in runs] == SIGMAS
    assert not torch.equal(runs[0].exits, runs[1].exits)


def windows(student, number, given=GIVEN, frames=4):
    torch.manual_seed(5)
    latents, _ = clip(given)
    dream = begin(student, latents, torch.rand(B, given + number * frames, A) * 2 - 1)
    runs = []
    while dream.has(frames):
        runs.append(go_on(student, dream, frames, [1.0], 0))
    return runs


def test_a_dream_goes_on_where_its_last_window_ended():
    """Two windows are one of twice the length: same frames before, same memory, same actions."""
    student = network(window=20)
    first, second = windows(student, 2)
    assert (first.is_true, second.is_true) == (True, False)
    assert torch.equal(second.given, first.dreamed[:, -GIVEN:])
    assert torch.equal(second.actions[:, :GIVEN], first.actions[:, -GIVEN:])
    whole = first._replace(
        dreamed=torch.cat([first.dreamed, second.dreamed], 1), exits=torch.cat([first.exits, second.exits], 1),
        actions=torch.cat([first.actions, second.actions[:, GIVEN:]], 1),
    )  # fmt: skip
    torch.testing.assert_close(replay(student, whole), whole.dreamed, rtol=0, atol=1e-4)


def test_a_later_window_replays_as_dreamed_where_its_past_holds_all_that_is_seen():
    student = network(window=1, near=[1], sink=0)
    student.blocks = student.blocks[:1]  # a second layer would see what the first made of older frames
    *_, last = windows(student, 3)
    torch.testing.assert_close(replay(student, last), last.dreamed, rtol=0, atol=1e-4)


def test_the_bidirectional_score_of_a_later_window_knows_nothing_of_what_was_dreamed_before():
    judge, (first, second) = network(window=20), windows(network(), 2)
    xt, sigma = torch.randn_like(first.dreamed), torch.full(first.dreamed.shape[:2], 0.5)
    for run, sees in ((first, True), (second, False)):
        other = run._replace(given=run.given + 1)
        before, after = (dmd.bidirectional_score(judge, xt, sigma, r) for r in (run, other))
        assert before.shape == xt.shape
        assert torch.equal(before, after) != sees


def test_dreams_are_taken_in_turn_and_are_of_different_ages():
    dreams = Dreams(network(), config(windows=4, dreams=2, sigmas=[1.0], frames=3))
    latents, _ = clip(GIVEN + 12)
    actions = torch.rand(B, GIVEN + 12, A)
    anew = [dreams.next(latents, actions, 0, consistency).is_true for _ in range(16)]
    assert anew[0::2] == [True, False, True, False, False, False, True, False]
    assert anew[1::2] == [True, False, False, False] * 2


def test_only_one_pass_carries_gradient():
    student = network()
    counting = Counting(student)
    counting.config, counting.new_cache = student.config, student.new_cache
    run = dreamt(counting)
    passes = counting.calls
    assert replay(counting, run).requires_grad
    assert counting.calls == passes + 1
    assert passes == GIVEN + FRAMES * (len(SIGMAS) + 1)


def test_no_gradient_crosses_frames_through_their_inputs():
    student = network()
    run = dreamt(student)
    run = run._replace(exits=run.exits.requires_grad_())
    replay(student, run)[:, -1].square().sum().backward()
    assert not run.exits.grad[:, :-1].any()
    assert run.exits.grad[:, -1].any()


def test_the_pasts_keys_and_values_are_learnt_and_its_latents_are_not():
    student, outputs = network(), []
    student.blocks[-1].qkv.register_forward_hook(lambda layer, x, y: y.retain_grad() or outputs.append(y))
    run = dreamt(network())
    replay(student, run).square().sum().backward()
    past = run.past
    q, k, v = outputs[0].grad[:, : past.shape[1]].chunk(3, -1)  # (B, past, N, D) each
    assert not q.any()
    assert k.any()
    assert v.any()
    assert not past.requires_grad


@SCORES
def test_a_step_of_the_student_leaves_both_scores_alone(score):
    student, real, fake = (network() for _ in range(3))
    run = dreamt(student)
    generator_loss(replay(student, run), real, fake, run, config(score=score)).backward()
    assert no_grads(real)
    assert no_grads(fake)
    assert not no_grads(student)


@SCORES
def test_a_step_of_the_critic_leaves_the_student_alone(score):
    student, fake = network(), network()
    run = dreamt(student)
    critic_loss(fake, replay(student, run), run, config(score=score)).backward()
    assert no_grads(student)
    assert not no_grads(fake)


@SCORES
def test_given_frames_are_never_a_target(score):
    """The stand-in knows that dreamed frames are zero and knows nothing of given ones; nor does the causal past."""
    run = dreamt(network(), given=3)
    knows = Flow(lambda xt, sigma: torch.where(sigma > 0, xt / sigma.clamp_min(1e-9), 1e6))
    assert critic_loss(knows, torch.zeros_like(run.dreamed), run, config(score=score)) < 1e-9


@SCORES
def test_a_score_speaks_of_the_dreamed_frames_and_sees_the_given_ones(score):
    judge, run = network(window=20), dreamt(network(), given=3)
    xt, sigma = torch.randn(B, FRAMES, *SHAPE), torch.full((B, FRAMES), 0.5)
    before = dmd.SCORES[score](judge, xt, sigma, run)
    after = dmd.SCORES[score](judge, xt, sigma, run._replace(given=run.given + 1))
    assert before.shape == xt.shape
    assert (before != after).flatten(2).any(2).all()


@SCORES
def test_a_score_is_told_that_the_past_is_clean(score):
    run, seen = dreamt(network(), given=3), []
    listen = Flow(lambda xt, sigma: seen.extend([xt, sigma[..., 0, 0, 0]]) or xt)
    sigma = torch.full((B, FRAMES), 0.5)
    dmd.SCORES[score](listen, torch.randn(B, FRAMES, *SHAPE), sigma, run)
    clean = run.given if score == "bidirectional" else run.past
    assert torch.equal(seen[0][:, : clean.shape[1]], clean)
    assert not seen[1][:, : clean.shape[1]].any()
    assert torch.equal(seen[1][:, -FRAMES:], sigma)


def test_a_causal_score_sees_the_dreamed_past_and_a_bidirectional_one_the_noisy_clip():
    judge, run = network(window=20), dreamt(network())
    xt, sigma = torch.randn(B, FRAMES, *SHAPE), torch.full((B, FRAMES), 0.5)
    other = xt.clone()
    other[:, 4] += 1
    reached = {name: (s(judge, xt, sigma, run) != s(judge, other, sigma, run)).flatten(2).any(2).all(0).tolist()
               for name, s in dmd.SCORES.items()}  # fmt: skip
    assert reached["causal"] == [i == 4 for i in range(FRAMES)]
    assert all(reached["bidirectional"])


@SCORES
def test_scores_are_asked_at_levels_of_a_clip_or_of_a_frame(score):
    sigma = dmd.draw_levels(torch.zeros(50, FRAMES, *SHAPE), config(score=score, shift=5.0))
    assert sigma.min() >= 0.02
    assert sigma.max() <= 0.98
    assert (sigma == sigma[:, :1]).all() == (score == "bidirectional")


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": "both"},
        {"sigmas": [0.9, 0.5]},
        {"sigmas": [1.0, 0.3, 0.5]},
        {"windows": 0},
        {"dreams": 0},
        {"opponent": -1.0},
        {"opponent_levels": (0.3, 0.2)},
        {"opponent_levels": (0.0, 1.0)},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="dmd"):
        config(**wrong)


@SCORES
def test_an_opponent_pulls_as_long_as_it_may_and_moves_only_the_student(score, monkeypatch):
    student, real, fake = (network() for _ in range(3))
    run, seen = dreamt(student), []
    x = replay(student, run).detach().requires_grad_()
    monkeypatch.setattr(dmd, "dmd_gradient", lambda *inputs: seen.append(dmd_gradient(*inputs)) or seen[-1])
    opponent = Opponent(fake.config.width)
    generator_loss(x, real, fake, run, config(score=score, opponent=0.5), opponent).backward()
    pulled = (x.grad * x.numel() - seen[0]).flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(pulled, 0.5 * seen[0].flatten(1).norm(dim=1).mean(), rtol=1e-3, atol=0)
    assert all(no_grads(model) for model in (student, real, fake, opponent))


@SCORES
def test_an_opponent_listens_to_little_noise(score, monkeypatch):
    """Of every question of its own: its lesson's two, and the student's one after the two of the scores."""
    student, real, fake = (network() for _ in range(3))
    run, levels = dreamt(student), []
    asked = dmd.SCORES[score]
    monkeypatch.setitem(dmd.SCORES, score, lambda m, xt, sigma, of: levels.append(sigma) or asked(m, xt, sigma, of))
    opponent = Opponent(fake.config.width)
    config_ = config(score=score, opponent=0.5, opponent_levels=(0.1, 0.15))
    opponent_loss(opponent, fake, run.dreamed, run, run, config_)
    generator_loss(replay(student, run), real, fake, run, config_, opponent)
    lesson, of_play, real_, fake_, pulling = levels
    assert all(level.min() >= 0.1 and level.max() <= 0.15 for level in (lesson, of_play, pulling))
    assert (lesson == of_play).all()
    assert (real_ == fake_).all()
    assert real_.max() > 0.15


def test_an_opponent_tells_play_from_dreams_and_pulls_towards_play():
    """Its features are of a network with random weights; dreams are brighter by two than what is recorded."""
    fake, run = network(), dreamt(network())
    opponent, config_ = Opponent(fake.config.width), config(opponent=1.0, shift=1.0)
    optimizer = torch.optim.Adam(opponent.parameters(), 1e-2)
    play = torch.randn_like(run.dreamed)
    losses = []
    for _ in range(120):
        true = run._replace(dreamed=torch.randn_like(play))
        loss = opponent_loss(opponent, fake, torch.randn_like(play) + 2, run, true, config_)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert no_grads(fake)
    assert sum(losses[-20:]) / 20 < 0.8 * losses[0]
    x = (torch.randn_like(play) + 2).requires_grad_()
    generator_loss(x, fake, fake, run, config_, opponent)  # equal scores: nothing to measure a pull by
    tokens = heard(fake, lambda: dmd.SCORES[config_.score](fake, x, torch.full(x.shape[:2], 0.3), run))
    assert pull(opponent, tokens, x, torch.ones_like(x), 1.0).mean() > 0


def test_what_could_be_recorded_is_pulled_less():
    """A mark is the mean of a place's features here; the second clip's are above those of any recorded one."""
    opponent, x = Opponent(4), torch.zeros(2, 1, 4, 1, 1, requires_grad=True)
    opponent.forward = lambda tokens: tokens.mean(-1)  # type: ignore[method-assign]
    marks = torch.tensor([-3.0, 6.0]).reshape(2, 1, 1, 1)

    def pulls():
        return pull(opponent, x.flatten(2)[:, :, None] + marks, x, torch.ones_like(x), 1.0).flatten(1).norm(dim=1)

    dreamed, true = pulls()
    assert true < 0.01 * dreamed
    assert (dreamed + true).item() / 2 == pytest.approx(2)  # on the average as long as the other gradient
    marks += 3  # all of them better: the pull grows less at once, and its usual length only little by little
    assert pulls()[0] < 0.7 * dreamed


def test_a_window_of_recorded_play_is_a_rollout_of_one_clip():
    run = dreamt(network())
    latents, actions = clip(GIVEN + FRAMES + 5)
    true = recorded(latents, actions, run)
    assert true.dreamed.shape == run.dreamed.shape
    whole = torch.cat([true.given, true.dreamed], 1)
    places = [at for at in range(6) if torch.equal(latents[:, at : at + GIVEN + FRAMES], whole)]
    assert len(places) == 1
    assert torch.equal(true.actions, actions[:, places[0] : places[0] + GIVEN + FRAMES])
    assert recorded(latents, actions, run._replace(is_true=False)).is_true is False
