"""Threads are tuned by what they cost: towards the better count, in few changes, and not where frames are in time."""

import random
from itertools import pairwise

import pytest

from worldmodel.backends.threads import BETTER, LATE, LONGEST, SETTLE, SHORTEST, WINDOW, Tuner, ladder


def play(tuner, cost, frames):
    """Counts of so many frames, each of which took cost(count, frame)."""
    counts = []
    for frame in range(frames):
        counts.append(tuner.count)
        tuner.add(cost(tuner.count, frame))
    return counts


def changes(counts):
    return sum(a != b for a, b in pairwise(counts))


def noisy(cost, seed=0):
    """Up to a twentieth more, and one frame in a hundred three times as long."""
    draw = random.Random(seed)
    return lambda n, frame: cost(n) * (1 + 0.05 * draw.random()) * (3 if draw.random() < 0.01 else 1)


def shared(n):
    return 0.080 / n


def fighting(n):
    """Threads that wait for each other."""
    return 0.020 * (1 + 0.5 * (n - 1))


def neighbour(n):
    """Four cores, one of them busy with something else: who uses all waits for the slow one at every barrier."""
    return 0.080 / n if n < 4 else 0.050


@pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 5, 6]), (8, [1, 2, 4, 7, 8])])
def test_the_ladder_knows_all_cores_and_all_but_one(cores, counts):
    assert ladder(cores) == counts


@pytest.mark.parametrize(("cost", "best"), [(shared, 6), (fighting, 1), (neighbour, 3)])
@pytest.mark.parametrize("begin", [1, 3, 5])
def test_it_ends_at_the_best_count_from_anywhere(cost, best, begin):
    tuner = Tuner([1, 2, 3, 4, 5, 6], begin, 0.001)
    play(tuner, noisy(cost), 9000)
    assert play(tuner, noisy(cost, 1), 4000).count(best) > 3900


def test_frames_in_time_are_left_alone():
    assert changes(play(Tuner([1, 2, 4], 2, 0.05), noisy(shared), 5000)) == 0


def test_a_late_frame_now_and_then_is_no_reason_to_try():
    late = play(Tuner([1, 2], 1, 0.05), lambda n, frame: 0.5 if frame % WINDOW < LATE else 0.02, 5000)
    assert changes(late) == 0


def test_without_a_budget_the_best_is_looked_for_at_once():
    tuner = Tuner([1, 2], 1, 0.0)
    assert play(tuner, lambda n, frame: shared(n), SETTLE + WINDOW + 1)[-1] == 2


def test_a_little_better_is_not_worth_a_change():
    tuner = Tuner([1, 2], 1, 0.001)
    play(tuner, lambda n, frame: 0.02 if n == 1 else 0.02 * (BETTER + 0.01), 3000)
    assert (tuner.count, tuner.is_trying) == (1, False)


def test_a_bad_count_costs_some_frames_only():
    counts = play(Tuner([1, 2], 1, 0.001), lambda n, frame: fighting(n), SETTLE + WINDOW + SHORTEST)
    assert counts.count(2) == SETTLE + LATE + 1


@pytest.mark.parametrize("seed", range(5))
def test_no_stream_of_times_makes_it_flap(seed):
    """Whatever the times: a trial is two changes at most, and after some, trials come half as often each time."""
    draw = random.Random(seed)
    frames, choices = 40_000, [1, 2, 4, 8]
    counts = play(Tuner(choices, 2, 0.0), lambda n, frame: draw.choice([0.001, 1.0]) ** draw.random(), frames)
    soon = 2 * len(choices) + (LONGEST // SHORTEST).bit_length()
    assert 1 < changes(counts) <= 2 * (soon + frames // LONGEST)
    assert changes(counts[-LONGEST:]) <= 4


def test_equal_times_lead_to_equal_choices():
    assert play(Tuner([1, 2, 4], 2, 0), noisy(shared), 999) == play(Tuner([1, 2, 4], 2, 0), noisy(shared), 999)


def test_it_goes_back_when_what_made_it_change_is_gone():
    """A neighbour that takes a core for a while."""
    tuner = Tuner([1, 2], 2, 0.001)
    play(tuner, noisy(fighting), 3000)
    assert tuner.count == 1
    play(tuner, noisy(shared), 2 * LONGEST)
    assert tuner.count == 2


def test_one_count_is_never_tried():
    assert set(play(Tuner([1], 1, 0.0), lambda n, frame: 1.0, 1000)) == {1}
