"""Every metric must fall when the picture does: corruption ladders on moving textures."""

import numpy as np
import pytest
from films import blurred, noisy, panning

from worldmodel.action import Action, ActionSpace
from worldmodel.evaluation.control import branch_hits, horizontal_shift, net_turn, turn_hits
from worldmodel.evaluation.drift import Relative, limits, relative, survival, survived
from worldmodel.evaluation.manifest import Turning
from worldmodel.evaluation.quality import moving, psnr_curve, traits
from worldmodel.evaluation.statistics import median_ratio, ratio_of_sums, share

SPACE = ActionSpace(("forward", "turn_left", "turn_right"), (20.0, 0.0))
SHARP, BRIGHT, MOTION = range(3)


SHIFTS = [3, -4, 7, -2, 5, 5, -9, -6, 2, 8, -3]


def ladder() -> np.ndarray:
    return panning(SHIFTS)


@pytest.mark.parametrize("worse", [noisy, blurred])
def test_psnr_falls_with_every_rung(worse):
    real = ladder()
    rungs = [psnr_curve(worse(real, rung)[None], real[None]).mean() for rung in (3, 7, 13)]
    assert psnr_curve(real[None], real[None]).min() == 60
    assert 60 > rungs[0] > rungs[1] > rungs[2]


def test_psnr_falls_when_time_is_frozen_reversed_or_another_episodes():
    real = ladder()
    frozen, other = np.repeat(real[:1], len(real), 0), panning(SHIFTS, seed=1)
    for wrong in (frozen, real[::-1], np.roll(real, 1, 0), other):
        assert psnr_curve(np.ascontiguousarray(wrong)[None], real[None]).mean() < 40


def test_psnr_of_known_error():
    """An error of 5 grey levels everywhere is 20 log10(255 / 5) = 34.15 dB."""
    real = np.full((2, 3, 4, 6, 3), 100, np.uint8)
    np.testing.assert_allclose(psnr_curve(real + 5, real), np.full((2, 3), 34.1514), rtol=1e-4)


def test_moving_leaves_out_still_frames():
    real = np.stack([ladder(), ladder()])
    real[1, :6] = real[1, 0]
    mask = moving(real[:, 0], real[:, 1:])
    assert mask.shape == (2, 11)
    assert mask[0].all()
    assert not mask[1, :5].any()
    assert mask[1, 5:].all()


def test_blur_lowers_sharpness_monotonically_and_noise_raises_it():
    values = [traits(clip)[:, SHARP].mean() for clip in (ladder(), *(blurred(ladder(), s) for s in (3, 5, 9)))]
    assert values[0] > values[1] > values[2] > values[3]
    assert traits(noisy(ladder(), 20))[:, SHARP].mean() > values[0]


def test_freezing_kills_motion_and_shuffled_time_raises_it():
    slow = panning([1] * 20)
    frozen, shuffled = np.repeat(slow[:1], 21, 0), slow[np.random.default_rng(0).permutation(21)]
    motions = [traits(clip)[1:, MOTION].mean() for clip in (frozen, slow, shuffled)]
    assert motions[0] == 0
    assert motions[1] * 1.5 < motions[2]


def test_traits_do_not_depend_on_how_the_clip_is_cut():
    """Clips are measured 64 frames at a time; the motion across a cut must not be lost."""
    clip = panning([1, -2] * 70)
    both = np.concatenate([traits(clip[:64]), traits(clip[63:])[1:]])
    np.testing.assert_allclose(traits(clip), both, rtol=1e-5)
    np.testing.assert_allclose(traits(clip)[:, BRIGHT], clip.mean((1, 2, 3)), rtol=1e-5)


def test_horizontal_shift_is_exact_on_a_panning_texture():
    assert horizontal_shift(ladder()).tolist() == SHIFTS
    assert horizontal_shift(ladder()[:, :, ::-1].copy()).tolist() == [-s for s in SHIFTS]


def test_mirrored_reversed_and_frozen_frames_flip_turn_agreement():
    degrees = np.asarray([[0, *SHIFTS]], float)
    clips = ladder()[None]
    right, steps = turn_hits(clips, degrees)
    assert right.tolist() == steps.tolist() == [11]
    assert turn_hits(clips[:, :, :, ::-1].copy(), degrees)[0].tolist() == [0]
    assert turn_hits(np.repeat(clips[:, :1], 12, 1), degrees)[0].tolist() == [0]
    assert turn_hits(clips, -degrees)[0].tolist() == [0]
    assert turn_hits(clips, np.minimum(degrees, 1.9))[1].tolist() == [sum(s <= -2 for s in SHIFTS)]


def test_turn_agreement_survives_mild_blur_and_noise():
    degrees = np.asarray([[0, *SHIFTS]], float)
    for clip in (blurred(ladder(), 3), noisy(ladder(), 10)):
        right, steps = turn_hits(clip[None], degrees)
        assert right[0] >= 0.9 * steps[0]


def test_net_turn_adds_keys_and_mouse_within_the_range():
    actions = [Action(), Action({"turn_right"}), Action({"turn_left"}, (8, 0)), Action({"turn_right"}, (18, 0))]
    vectors = np.stack([SPACE.to_vector(action) for action in actions])
    turning = Turning(left="turn_left", right="turn_right", key_degrees=5.0, is_view=True, look_degrees=15.0)
    np.testing.assert_allclose(net_turn(vectors, SPACE, turning), [0, 5, 3, 20], atol=1e-5)


def branches(seed: int) -> np.ndarray:
    """(B, K, H, W, 3) = (40, 5, ...): each context's views after five ways to move."""
    moved = [[0, 3, -8, 8, 15]] * 40
    return np.stack([np.stack([panning([m], seed * 40 + b)[-1] for m in row]) for b, row in enumerate(moved)])


def test_branches_are_identified_and_chance_is_a_fifth():
    real = branches(0)
    rng = np.random.default_rng(0)
    assert branch_hits(real, real).mean() == 1
    assert branch_hits(np.repeat(real[:, :1], 5, 1), real).mean() == pytest.approx(0.2)
    shuffled = np.stack([b[rng.permutation(5)] for b in real])
    assert 0.1 < branch_hits(shuffled, real).mean() < 0.3
    assert 0.1 < branch_hits(branches(1), real).mean() < 0.3
    assert branch_hits(np.roll(real, 1, 1), real).mean() == 0


def test_branch_identification_falls_with_noise():
    real = branches(0)
    scores = [branch_hits(noisy(real, d), real).mean() for d in (10, 100)]
    blend = (0.1 * real + 0.9 * real.mean(1, keepdims=True)).astype(np.uint8)
    assert scores[0] == 1
    assert branch_hits(noisy(blend, 200), real).mean() < scores[0]


def long_traits(runs: int = 3, seconds: int = 30) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.asarray([7.0, 80.0, 12.0]) * rng.uniform(0.8, 1.2, (runs, seconds * 10, 3))


def lives(ours, real, recorded=None) -> list[bool]:
    return survived(relative(ours, real, fps=10), limits([real] if recorded is None else recorded, fps=10)).tolist()


def test_reality_survives_itself():
    assert relative(long_traits(), long_traits(), fps=10).segments.shape == (3, 7, 3)
    assert lives(long_traits(), long_traits()) == [True] * 3


def test_a_night_is_no_collapse_beside_another_run_s_day():
    """Runs of a racer in snow and at night were once judged by one mean, and half of reality did not survive."""
    real = long_traits() * np.asarray([1.0, 0.2, 3.0]).reshape(3, 1, 1)
    assert lives(real, real) == [True] * 3
    assert not lives(real[::-1], real)[0]


@pytest.mark.parametrize("kind", [SHARP, BRIGHT, MOTION])
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.6, float("nan")])
def test_a_late_change_beyond_the_factor_kills_a_run(kind, factor):
    ours = long_traits()
    ours[1, 100:, kind] *= factor
    assert lives(ours, long_traits()) == [True, False, True]


def test_a_collapse_of_one_segment_kills_a_run_that_recovers():
    ours = long_traits()
    ours[2, 40:80, MOTION] *= 0.3
    assert lives(ours, long_traits()) == [True, True, False]


def test_what_real_players_do_is_no_collapse():
    """Players rest for a whole segment: by fixed limits a quarter of a platformer's real minutes did not survive."""
    real, ours = long_traits(), long_traits()
    real[0, 80:130, MOTION] *= 0.05
    ours[2, 40:80, MOTION] *= 0.3
    assert lives(real, real) == [True] * 3
    assert lives(ours, real) == [True] * 3
    ours[2, 200:240, MOTION] *= 0.04
    ours[1, 120:160, SHARP] *= 0.3  # in which reality never went so far
    assert lives(ours, real) == [True, False, False]


def test_limits_are_as_far_as_recorded_play_goes_and_never_tighter_than_the_factors():
    real = long_traits()
    real[1, :200, BRIGHT] *= 0.15  # of 300 steps, beside a mean of .433
    within, steady = limits([real], fps=10), limits([long_traits()], fps=10)
    np.testing.assert_allclose(steady.segments, [[1 / 2.5] * 3, [2.5] * 3])
    np.testing.assert_allclose(steady.end, [[1 / 1.5] * 3, [1.5] * 3])
    np.testing.assert_allclose(within.segments[:, BRIGHT], [0.15 / 0.433, 2.5], rtol=0.03)
    np.testing.assert_allclose(within.end[:, BRIGHT], [0.15 / 0.433, 1.5], rtol=0.03)
    np.testing.assert_array_equal(within.end[:, [SHARP, MOTION]], steady.end[:, [SHARP, MOTION]])


def test_survival_is_told_of_runs_that_are_long_enough_and_only_up_to_its_time():
    short, long = long_traits(2, 20), long_traits(3, 30)
    long[0, 220:, SHARP] = 0
    real = [long_traits(2, 20), long_traits(3, 30)]
    assert survival([short, long], real, real, 10, 20).value == 1
    assert survival([short, long], real, real, 10, 20).samples == 5
    assert survival([short, long], real, real, 10, 30).value == pytest.approx(2 / 3)
    assert survival([short, long], real, real, 10, 40) is None


def test_limits_of_survival_belong_to_it():
    segments, end, within = np.full((2, 3, 3), 2.5), np.full((2, 3), 1.5), limits([long_traits()], fps=10)
    assert survived(Relative(segments, end), within).all()
    assert not survived(Relative(segments * 1.001, end), within).any()


def test_bootstrap_covers_the_mean_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    draws = [ratio_of_sums(rng.normal(3, 2, 40)) for _ in range(100)]
    assert 88 <= sum(e.low <= 3 <= e.high for e in draws) <= 100
    assert np.mean([e.high - e.low for e in draws]) == pytest.approx(2 * 1.96 * 2 / 40**0.5, rel=0.1)


def test_bootstrap_of_constants_masks_and_nothing():
    ones = ratio_of_sums(np.full(7, 4.0))
    assert (ones.value, ones.low, ones.high, ones.samples) == (4, 4, 4, 7)
    masked = ratio_of_sums(np.asarray([2.0, 0, 4]), np.asarray([1, 0, 1]))
    assert (masked.value, masked.samples) == (3, 2)
    assert np.isnan(ratio_of_sums(np.zeros(3), np.zeros(3)).value)
    assert ratio_of_sums(np.arange(9.0)) == ratio_of_sums(np.arange(9.0))


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(0)
    episode = rng.normal(20, 4, 64)
    ours, theirs = episode + rng.normal(1, 0.5, 64), episode
    paired, alone = ratio_of_sums(ours - theirs), ratio_of_sums(ours)
    assert paired.low > 0.8
    assert paired.high - paired.low < 0.25 * (alone.high - alone.low)


def test_share_is_honest_at_the_ends():
    """All of 32 survivors say no more than 'at least 89 %' (Wilson)."""
    assert share(np.ones(32, bool)).low == pytest.approx(0.893, abs=1e-3)
    assert share(np.zeros(32, bool)).high == pytest.approx(0.107, abs=1e-3)
    half = share(np.arange(10) < 5)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.237, 0.763), abs=1e-3)


def test_median_ratio_ignores_an_outlier():
    student = np.asarray([10.0] * 39 + [900.0])
    assert median_ratio(6 * student, student).value == 6
