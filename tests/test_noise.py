"""Which noise: training levels, a disturbed context, reproducible noise in play."""

import pytest
import torch

from worldmodel.diffusion.noise import NoiseConfig, disturb, draw_sigma, frame_noise

SHAPE = (2, 1, 5, 3, 4)


def config(**changes):
    return NoiseConfig(**{"mean": 0.5, "std": 0.8, "context_chance": 0.5, "context_most": 0.3} | changes)


def test_levels_are_logit_normal():
    sigma = draw_sigma((100, 200), config(), torch.device("cpu"))
    logit = sigma.logit()
    assert sigma.dtype == torch.float32
    assert abs(logit.mean() - 0.5) < 0.03
    assert abs(logit.std() - 0.8) < 0.03


def test_the_context_is_disturbed_by_the_level_it_is_told():
    x0 = torch.zeros(40, 50, 3, 4, 5)
    noisy, sigma = disturb(x0, config())
    torch.testing.assert_close(noisy.std((2, 3, 4)), sigma, rtol=0.6, atol=1e-6)
    assert 0.4 < (sigma == 0).float().mean() < 0.6
    assert sigma.max() < 0.3


def test_a_context_without_a_chance_of_noise_is_untouched():
    x0 = torch.randn(2, 7, 5, 3, 4)
    noisy, sigma = disturb(x0, config(context_chance=0.0))
    assert torch.equal(noisy, x0)
    assert not sigma.any()


def test_frame_noise_is_a_function_of_its_arguments_alone():
    first = frame_noise(3, 20, 1, SHAPE)
    torch.manual_seed(99)
    torch.randn(5)
    assert torch.equal(frame_noise(3, 20, 1, SHAPE), first)


def test_frame_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    frame_noise(3, 20, 1, SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_frame_noise_differs_wherever_an_argument_does():
    draws = {frame_noise(*key, SHAPE).sum().item() for key in [(3, 2, 1), (3, 1, 2), (2, 3, 1), (32, 1, 1), (3, 21, 1)]}
    assert len(draws) == 5


def test_frame_noise_is_standard_normal():
    draw = frame_noise(0, 0, 0, (100, 100))
    assert abs(draw.mean()) < 0.05
    assert abs(draw.std() - 1) < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": 0.0},
        {"context_chance": 1.5},
        {"own_chance": -0.1},
        {"own_depth": 0},
        {"own_level": 0.0},
        {"own_errors": [1.0]},
        {"own_errors": [1.0, 0.0]},
        {"context_most": 1.0},
    ],
)
def test_impossible_noise_is_refused(wrong):
    with pytest.raises(ValueError, match="noise"):
        config(**wrong)
