"""Rectified flow: the interpolant and its readings, shifted levels."""

import pytest
import torch

from worldmodel.diffusion.flow import add_noise, grid, shift, velocity, x0_from_velocity


def latents():
    x0, eps = torch.randn(2, 2, 3, 4, 5, 6).unbind()  # B T C h w = 2 3 4 5 6
    return x0, eps, torch.rand(2, 3)


def test_x0_comes_back_from_velocity():
    x0, eps, sigma = latents()
    xt = add_noise(x0, eps, sigma)
    torch.testing.assert_close(x0_from_velocity(xt, velocity(x0, eps), sigma), x0, rtol=0, atol=1e-6)


def test_velocity_is_the_derivative_by_sigma():
    x0, eps, sigma = (part.double() for part in latents())
    slope = (add_noise(x0, eps, sigma + 1e-6) - add_noise(x0, eps, sigma - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, velocity(x0, eps), rtol=0, atol=1e-6)


def test_sigma_0_is_clean_and_1_is_noise():
    x0, eps, sigma = latents()
    assert torch.equal(add_noise(x0, eps, torch.zeros_like(sigma)), x0)
    assert torch.equal(add_noise(x0, eps, torch.ones_like(sigma)), eps)


def test_at_sigma_0_any_velocity_leaves_x_alone():
    x0, v, sigma = latents()
    assert torch.equal(x0_from_velocity(x0, 1e3 * v, torch.zeros_like(sigma)), x0)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0, 5.0])
def test_shift_keeps_the_ends_and_the_order(factor):
    levels = shift(torch.linspace(0, 1, 101), factor)
    assert levels[0] == 0
    assert levels[-1] == 1
    assert (levels.diff() > 0).all()


def test_shift_5_warps_the_four_step_list():
    warped = shift(torch.tensor([1.0, 0.75, 0.5, 0.25]), 5.0)
    torch.testing.assert_close(warped, torch.tensor([1.0, 0.9375, 0.833333, 0.625]))


@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_the_steps_of_a_grid_add_up_to_1_in_float32_under_autocast_too(factor):
    with torch.autocast("cpu", torch.bfloat16):
        levels = grid(48, factor)
        steps = levels[:-1] - levels[1:]
    assert levels.dtype == steps.dtype == torch.float32
    assert abs(steps.double().sum().item() - 1) < 1e-6
    assert (steps > 0).all()


def test_noisy_latents_stay_float32_under_autocast():
    x0, eps, sigma = latents()
    with torch.autocast("cpu", torch.bfloat16):
        xt = add_noise(x0, eps, sigma)
        assert xt.dtype == x0_from_velocity(xt, eps, sigma).dtype == torch.float32
