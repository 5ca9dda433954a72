"""Frames and latents: shapes, the best linear start, statistics, frames apart, figures."""

import pytest
import torch

from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig, principal_start, to_pixels
from worldmodel.tokenizer.loss import ReconstructionConfig, _dct, local_spectrum, psnr, reconstruction_loss, sharpness

LOSS = {
    "l1": 1.0,
    "mse": 4.0,
    "edges": 0.3,
    "texture": 1.0,
    "texture_apart": 2,
    "spectrum": 1.0,
    "latent": 0.0,
    "latent_noise": 0.0,
}


def config(**changes):
    sizes = {"size_hw": [24, 32], "channels": 5, "patch": 8, "widths": [12, 8, 4], "whiten": 0.0}
    return TokenizerConfig(**sizes | changes)


def frames(number=40):
    """Smooth random pictures, uint8 (N, 24, 32, 3)."""
    coarse = torch.rand(number, 3, 6, 8)
    fine = torch.nn.functional.interpolate(coarse, (24, 32), mode="bilinear") + 0.05 * torch.randn(number, 3, 24, 32)
    return fine.permute(0, 2, 3, 1).mul(255).clamp(0, 255).to(torch.uint8)


def random_tokenizer(**changes):
    tokenizer = Tokenizer(config(**changes))
    with torch.no_grad():
        for p in tokenizer.parameters():
            p.normal_(0, 0.5 * p[0].numel() ** -0.5)
    return tokenizer


def started(pictures, **changes):
    tokenizer = Tokenizer(config(**changes))
    principal_start(tokenizer, to_pixels(pictures))
    return tokenizer


@pytest.mark.parametrize("lead", [(), (7,), (2, 7)])
def test_latents_and_frames_keep_their_leading_axes(lead):
    tokenizer, shown = random_tokenizer(), torch.randint(0, 256, (*lead, 24, 32, 3), dtype=torch.uint8)
    latents = tokenizer.encode(shown)
    again = tokenizer.decode(latents)
    assert latents.shape == (*lead, 5, 3, 4) == (*lead, *config().latent_shape)
    assert latents.dtype == torch.float32
    assert again.shape == shown.shape
    assert again.dtype == torch.uint8


def test_half_precision_gives_float32_latents_too():
    tokenizer = random_tokenizer().bfloat16()
    latents = tokenizer.encode(frames(3))
    assert latents.dtype == torch.float32
    assert tokenizer.decode(latents).dtype == torch.uint8


def test_the_start_is_the_best_linear_reconstruction():
    pixels = to_pixels(frames())
    tokenizer = Tokenizer(config())
    principal_start(tokenizer, pixels)
    patches = torch.nn.functional.unfold(pixels, 8, stride=8).transpose(1, 2).reshape(-1, 3 * 8 * 8)
    lost = torch.linalg.svdvals((patches - patches.mean(0)).double())[5:].square().sum() / patches.numel()
    with torch.no_grad():
        error = (tokenizer(pixels, noise=0.0)[0] - pixels).square().mean()
    torch.testing.assert_close(error.double(), lost, rtol=1e-3, atol=0)


def test_the_start_gives_raw_latents_of_mean_square_1_and_mean_0():
    shown = frames()
    raw = started(shown).encode_pixels(to_pixels(shown))
    assert abs(raw.square().mean() - 1) < 1e-3
    assert raw.mean((0, 2, 3)).abs().max() < 1e-3


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_measured_latents_have_mean_0_and_mean_square_1(whiten):
    tokenizer, shown = random_tokenizer(whiten=whiten), frames()
    tokenizer.measure_latents(tokenizer.encode_pixels(to_pixels(shown)))
    latents = tokenizer.encode(shown)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-4
    assert abs(latents.square().mean() - 1) < 5e-3


@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_whitening_takes_that_power_off_the_loudness_of_channels(whiten):
    tokenizer, shown = random_tokenizer(whiten=whiten), frames()
    raw = tokenizer.encode_pixels(to_pixels(shown)).detach()
    tokenizer.measure_latents(raw)
    ours, expected = tokenizer.encode(shown).std((0, 2, 3)), raw.std((0, 2, 3)) ** (1 - whiten)
    torch.testing.assert_close(ours / ours.norm(), expected / expected.norm(), rtol=1e-3, atol=0)


def test_statistics_do_not_change_what_is_decoded():
    tokenizer, shown = started(frames()), frames(3)
    before = tokenizer.decode(tokenizer.encode(shown))
    tokenizer.measure_latents(3 * tokenizer.encode_pixels(to_pixels(shown)) + 1)
    after = tokenizer.decode(tokenizer.encode(shown))
    assert (before.int() - after.int()).abs().max() <= 1  # rounding


def test_frames_are_coded_one_by_one():
    tokenizer, shown = random_tokenizer(), frames(7)
    latents = tokenizer.encode(shown)
    alone = torch.stack([tokenizer.encode(frame) for frame in shown])
    torch.testing.assert_close(latents, alone, rtol=0, atol=1e-5)
    decoded = torch.stack([tokenizer.decode(latent) for latent in latents])
    assert (tokenizer.decode(latents).int() - decoded.int()).abs().max() <= 1


def test_pixels_are_in_minus_1_to_1_and_channels_first():
    corners = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 4, 5, 3)
    assert to_pixels(corners).shape == (2, 3, 4, 5)
    assert to_pixels(corners).flatten(1).unique(dim=1).flatten().tolist() == [-1, 1]


def test_a_perfect_reconstruction_costs_nothing_and_blur_costs_texture():
    pixels = to_pixels(frames(3))
    blurred = torch.nn.functional.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
    weights = ReconstructionConfig(**LOSS)
    only_texture = ReconstructionConfig(**dict.fromkeys(LOSS, 0.0) | {"texture": 1.0, "texture_apart": 2})
    raw = torch.zeros(3, 5, 3, 4)
    assert reconstruction_loss(pixels, pixels, raw, weights) == 0
    assert reconstruction_loss(blurred, pixels, raw, only_texture) > 0.01


def test_a_checkerboard_is_no_texture_for_pixels_two_apart():
    pixels = torch.zeros(2, 3, 24, 32)
    board = pixels.clone()
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 0.05
    raw = torch.zeros(2, 5, 3, 4)
    for apart, pays in ((1, True), (2, False)):
        loss = ReconstructionConfig(**dict.fromkeys(LOSS, 0.0) | {"texture": 1.0, "texture_apart": apart})
        assert (reconstruction_loss(board, pixels, raw, loss) > 0.01) == pays


@pytest.mark.parametrize("period", [2, 4])
def test_stripes_are_no_grain(period):
    only_spectrum = ReconstructionConfig(**dict.fromkeys(LOSS, 0.0) | {"spectrum": 1.0, "texture_apart": 2})
    grain = 0.05 * torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    other = 0.05 * torch.randn(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    place = torch.arange(48)[:, None] + torch.arange(64)
    stripes = torch.where(place % period < period // 2, 0.05, -0.05).expand_as(grain)
    raw = torch.zeros(2, 5, 3, 4)
    costs = [
        reconstruction_loss(x, grain, raw, only_spectrum).item() for x in (other, stripes, torch.zeros_like(grain))
    ]
    assert costs[0] < 0.6 * costs[1]
    assert costs[0] < 0.6 * costs[2]


def test_a_local_spectrum_keeps_the_energy_of_a_block():
    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    waves = _dct(8).reshape(63, 64)
    torch.testing.assert_close(waves @ waves.T, torch.eye(63))
    assert local_spectrum(pixels).shape == (3, 63, 1, 1)


def test_a_checkerboard_is_not_sharp():
    board = torch.full((3, 24, 32, 3), 100, dtype=torch.uint8)
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = 110
    assert sharpness(board).tolist() == [0.0] * 3


def test_psnr_of_equal_frames_is_60_and_of_a_known_error_is_known():
    shown = torch.full((3, 24, 32, 3), 100, dtype=torch.uint8)
    assert psnr(shown, shown).tolist() == [60.0] * 3
    expected = torch.full((3,), 20 * torch.tensor(255 / 10).log10().item())
    torch.testing.assert_close(psnr(shown + 10, shown), expected)


def test_a_blurred_picture_is_less_sharp():
    shown = frames(3)
    soft = torch.nn.functional.avg_pool2d(shown.permute(0, 3, 1, 2).float(), 5, 1, 2).permute(0, 2, 3, 1)
    assert (sharpness(soft.to(torch.uint8)) < 0.8 * sharpness(shown)).all()


@pytest.mark.parametrize("wrong", [{"patch": 6}, {"size_hw": [24, 30]}, {"widths": [12, 8]}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="tokenizer"):
        config(**wrong)
