"""Where a token is, how noisy, under which action."""

import pytest
import torch

from worldmodel.model.positions import action_features, axial_rotation, rotate, sigma_features


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
