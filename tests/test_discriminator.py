"""The decoder's opponent: what it can tell apart, and whom its verdict moves."""

import pytest
import torch

from worldmodel.tokenizer.discriminator import Discriminator, DiscriminatorConfig


def discriminator(**changes):
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(**{"weight": 0.1, "width": 8, "lr": 1e-2, "betas": [0.5, 0.9]} | changes))


def grain(seed, number=8):
    return 0.3 * torch.randn(number, 3, 24, 32, generator=torch.Generator().manual_seed(seed))


def board(number=8):
    place = torch.arange(24)[:, None] + torch.arange(32)
    return torch.where(place % 2 < 1, 0.3, -0.3).expand(number, 3, 24, 32)


def test_it_learns_to_tell_a_checkerboard_from_grain_as_strong():
    judge = discriminator()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-2, betas=(0.5, 0.9))
    for step in range(60):
        optimizer.zero_grad()
        judge.loss(board(), grain(step)).backward()
        optimizer.step()
    assert judge(board()).max() < judge(grain(1000)).min()
    assert judge.verdict(board()) > judge.verdict(grain(1000))


def test_scores_are_of_places():
    assert discriminator()(torch.zeros(2, 3, 24, 32)).shape == (2, 1, 6, 8)


def test_a_verdict_moves_the_picture_and_a_loss_the_discriminator_alone():
    judge, picture = discriminator(), grain(0).requires_grad_(True)
    judge.verdict(picture).backward()
    assert picture.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())
    picture.grad = None
    judge.loss(picture, grain(1)).backward()
    assert picture.grad is None
    assert all(p.grad is not None for p in judge.parameters())


def test_one_that_cannot_tell_has_a_loss_near_two():
    same = grain(0)
    assert discriminator().loss(same, same).item() == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("change", [{"weight": -1.0}, {"width": 0}, {"lr": 0.0}])
def test_values_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match="discriminator"):
        discriminator(**change)
