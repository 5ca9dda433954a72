"""Corruption ladders of the metrics that compare: each falls, rung by rung, as the dream gets worse."""

import numpy as np
import pytest
from films import blurred, frozen, noisy, panning, shuffled

from worldmodel.evaluation.control import response_lag
from worldmodel.evaluation.distances import kernel_distance
from worldmodel.evaluation.memory import remembered
from worldmodel.evaluation.quality import diversity, moving, nearest, skill, squared_errors, usable_horizon

STEPS = [3, 4, -2, 5, 3, -6, 2, 7, 3, 5, -4, 3]
EPISODES = 6


def films():
    """(E, T, H, W, 3) = (6, 12, 40, 64, 3) after a last context frame (E, H, W, 3)."""
    whole = np.stack([panning(STEPS, seed) for seed in range(EPISODES)])
    return whole[:, 0], whole[:, 1:]


def skills(dream):
    last, real = films()
    ceiling = squared_errors(np.stack([noisy(clip, 2) for clip in real]), real)
    copying = squared_errors(np.repeat(last[:, None], real.shape[1], 1), real)
    return skill(squared_errors(dream, real), ceiling, copying, moving(last, real))


def each(spoil, *more):
    return np.stack([spoil(clip, *more) for clip in films()[1]])


@pytest.mark.parametrize(("spoil", "rungs"), [(noisy, (4, 15, 40, 90)), (blurred, (3, 5, 9, 15))])
def test_skill_falls_with_every_rung_and_the_usable_horizon_never_rises(spoil, rungs):
    ladder = [skills(each(spoil, rung)) for rung in rungs]
    means = [np.mean([estimate.value for estimate in one]) for one in ladder]
    assert 1 > means[0] > means[1] > means[2] > means[3]
    horizons = [usable_horizon(one) for one in ladder]
    assert horizons == sorted(horizons, reverse=True)


def test_skill_of_wrong_time_and_of_wrong_actions_is_no_better_than_copying():
    real = films()[1]
    assert usable_horizon(skills(real)) == len(STEPS)
    for wrong in (each(frozen), each(shuffled), np.roll(real, 1, 0)):
        assert np.mean([estimate.value for estimate in skills(wrong)]) < 0.3
        assert usable_horizon(skills(wrong)) < 6


def test_skill_is_one_for_the_ceiling_zero_for_copying_and_nothing_where_nothing_can_be_gained():
    errors, mask = np.full((5, 3), 4.0), np.ones((5, 3), bool)
    values = [skill(e, errors, errors + 6, mask)[1].value for e in (errors, errors + 3, errors + 6)]
    assert values == pytest.approx([1, 0.5, 0])
    assert np.isnan(skill(errors, errors + 1, errors, mask)[0].value)


def test_action_effect_falls_with_noise_and_is_nothing_for_a_dream_that_does_not_listen():
    real = films()[1]
    for spoil, rungs in ((noisy, (0, 20, 60)), (blurred, (1, 7, 21))):
        right = [squared_errors(each(spoil, rung), real).mean() for rung in rungs]
        wrong = [squared_errors(np.roll(each(spoil, rung), 1, 0), real).mean() for rung in rungs]
        effect = 10 * np.log10(np.asarray(wrong) / np.maximum(right, 1e-4))
        assert effect[0] > effect[1] > effect[2] > 0


def answers(delay, rate=0.0):
    """Actions (E, T, 2) = (6, 40, 2), and answers that come `delay` frames later, a share of them made up."""
    rng = np.random.default_rng(0)
    asked = np.repeat(rng.integers(0, 2, (6, 10, 2)), 4, 1)
    made_up = rng.integers(0, 2, asked.shape)
    return asked, np.where(rng.random(asked.shape) < rate, made_up, np.roll(asked, delay, 1)).astype(float)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_response_lag_is_the_delay_even_if_some_answers_are_wrong(delay):
    assert response_lag(*answers(delay)).value == delay
    assert response_lag(*answers(delay, 0.3)).value == delay


def test_response_lag_of_no_answer_is_not_a_number_and_of_random_ones_unsure():
    asked, answered = answers(0)
    assert np.isnan(response_lag(asked, answered * 0).value)
    sure, unsure = response_lag(*answers(0)), response_lag(*answers(0, 1.0))
    assert sure.high - sure.low < unsure.high - unsure.low


def looks(spoil=lambda clip: clip):
    """Six looks: real frames (R, 2, ...), near returns (R, 3, ...), and the dream of them."""
    real = np.stack([panning([40], seed)[::-1] for seed in range(EPISODES)])
    near = np.stack([panning([-2, 2, 2], seed)[1:] for seed in range(EPISODES)])
    return np.stack([spoil(clip) for clip in real]), real, near, real[:, 1]


def test_memory_is_perfect_for_reality_and_nothing_for_what_never_looked_away():
    memory, away = remembered(*looks())
    assert (memory.value, away.value) == (1, 1)
    for still in (lambda clip: frozen(clip[::-1]), lambda clip: clip[::-1]):
        memory, away = remembered(*looks(still))
        assert (memory.value, away.value) == (0, 0)


@pytest.mark.parametrize(("spoil", "rungs"), [(noisy, (10, 30, 80)), (blurred, (3, 9, 21))])
def test_memory_falls_with_every_rung(spoil, rungs):
    scores = [remembered(*looks(lambda clip, rung=rung: spoil(clip, rung)))[0].value for rung in rungs]
    assert 1 > scores[0] > scores[1] > scores[2]


def test_memory_of_another_place_is_nothing_and_a_return_a_little_beside_is_forgiven():
    dreamt, real, near, rebuilt = looks()
    elsewhere, beside = dreamt.copy(), dreamt.copy()
    elsewhere[:, 1] = np.roll(dreamt[:, 1], 1, 0)
    beside[:, 1] = near[:, 0]
    assert remembered(elsewhere, real, near, rebuilt)[0].value < 0
    assert remembered(beside, real, near, rebuilt)[0].value == pytest.approx(1)


def test_diversity_grows_with_noise_and_is_zero_for_one_dream_many_times():
    one = np.repeat(films()[1][:, :1], 4, 1)
    rng = np.random.default_rng(0)
    spread = [diversity(np.clip(one + rng.normal(0, d, one.shape), 0, 255).astype(np.uint8)).mean() for d in (0, 5, 20)]
    assert spread[0] == 0 < spread[1] < spread[2]


def test_kernel_distance_grows_with_every_rung_and_is_near_its_floor_for_the_same():
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (12, 9, 5))
    rungs = [kernel_distance(real + shift, real).value for shift in (0, 0.5, 1.0, 2.0)]
    assert abs(rungs[0]) < 0.3 < rungs[1] < rungs[2] < rungs[3]


def test_the_nearest_frame_of_a_pool_that_holds_it_is_itself():
    real = films()[1]
    pool = real.reshape(-1, *real.shape[2:])
    np.testing.assert_array_equal(nearest(real[:2], pool), real[:2])
    assert squared_errors(nearest(real[:1], pool[12:]), real[:1]).min() > 0
