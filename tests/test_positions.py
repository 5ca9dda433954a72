"""Where a token is, how noisy, under which action."""

import pytest
import torch

from worldmodel.model.positions import action_features, axial_rotation, panned_rotation, rotate, sigma_features


def test_turned_dot_products_depend_on_the_offset_alone():
    at = axial_rotation(5, 6, 8).reshape(2, 5, 6, 1, 4)
    q, k = torch.randn(2, 1, 1, 8)
    score = lambda a, b: (rotate(q, at[:, *a]) * rotate(k, at[:, *b])).sum()  # noqa: E731
    torch.testing.assert_close(score((0, 1), (2, 4)), score((2, 2), (4, 5)))
    assert (score((0, 1), (2, 4)) - score((0, 1), (4, 4))).abs() > 1e-3


def test_turning_keeps_lengths():
    x = torch.randn(2, 30, 3, 8)
    torch.testing.assert_close(rotate(x, axial_rotation(5, 6, 8)).norm(dim=-1), x.norm(dim=-1))


def test_every_place_has_its_own_angles():
    assert len(axial_rotation(5, 6, 8).unique(dim=1)[0]) == 30


def fit(a, b, q, k):
    """Dot product of q at place and heading a with k at b, in a picture 90 degrees and 9 places wide."""
    here, there = (panned_rotation(1, 9, 64, torch.tensor(heading), 90.0)[:, place] for place, heading in (a, b))
    return (rotate(q, here[:, None]) * rotate(k, there[:, None])).sum()


def test_a_direction_in_the_world_is_at_one_place_whatever_the_heading():
    q, k = torch.randn(2, 1, 1, 64).double() * torch.cat([torch.zeros(16), torch.ones(8), torch.zeros(8)]).repeat(2)
    middle, right = (4, 0.0), (8, 0.0)  # the last place's own middle is 41.6 degrees to the right
    beside = float(torch.atan(torch.tensor(8 / 9)))
    torch.testing.assert_close(fit(middle, right, q, k), fit((4, 0.3), (8, 0.3), q, k))
    torch.testing.assert_close(fit(middle, middle, q, k), fit((4, beside), right, q, k), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fit(middle, right, q, k), fit(middle, (8, 2 * torch.pi), q, k), rtol=1e-4, atol=1e-4)
    assert (fit(middle, middle, q, k) - fit(middle, right, q, k)).abs() > 1e-3


def test_rows_do_not_turn_with_the_heading():
    panned, plain = panned_rotation(6, 8, 64, torch.rand(2, 3), 90.0), axial_rotation(6, 8, 64)
    assert panned.shape == (2, 2, 3, 48, 32)
    torch.testing.assert_close(panned[..., :16], plain[:, None, None, :, :16].expand(2, 2, 3, 48, 16))


def test_a_head_too_small_for_two_axes_is_refused():
    with pytest.raises(ValueError, match="multiple of 4"):
        axial_rotation(5, 6, 6)


def test_sigma_features_are_float32_under_autocast():
    sigma = torch.rand(2, 7)
    plain = sigma_features(sigma, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sigma_features(sigma, 16)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, plain)
    assert inside.shape == (2, 7, 16)


def test_levels_that_bfloat16_would_merge_are_told_apart():
    close = torch.tensor([0.9810, 0.9815])
    assert close.bfloat16().unique().numel() == 1
    assert (sigma_features(close[0], 16) - sigma_features(close[1], 16)).abs().max() > 0.1


def test_actions_are_odd_features_and_even_ones_and_zero_is_distinct():
    a = torch.rand(2, 7, 3) * 2 - 1
    ours, mirrored = action_features(a), action_features(-a)
    assert ours.shape == (2, 7, 18)
    torch.testing.assert_close(ours[..., :6], -mirrored[..., :6])
    assert (action_features(a) != action_features(torch.zeros_like(a))).any(-1).all()
