"""Who may see whom in training: the masks, read off and by what reaches the output of a network."""

import pytest
import torch
from tiny import SHAPE, A, network, sight

from worldmodel.model.masks import Sight, bidirectional, teacher_forcing


def table(clean, noisy, draws, block):
    """The law, said slowly: a clean frame sees clean blocks up to its own, a noisy one clean blocks before its own and
    the noisy frames of its own block and draw."""
    frames = [("clean", i) for i in clean] + [(f"noisy {r}", i) for r in range(draws) for i in noisy]
    rows = []
    for kind, i in frames:
        up_to = i // block if kind == "clean" else i // block - 1
        rows.append([j // block <= up_to if other == "clean" else other == kind and j // block == i // block
                     for other, j in frames])  # fmt: skip
    return torch.tensor(rows)


def reach(model, mask, frames):
    """(frames, frames): whether the output of a frame (row) changes with the input of another (column)."""
    x = torch.randn(1, frames, *SHAPE, requires_grad=True)
    v = model(x, torch.rand(1, frames), torch.rand(1, frames, A), mask)
    slopes = [torch.autograd.grad(v[0, i].square().sum(), x, retain_graph=True)[0] for i in range(frames)]
    return torch.stack([s.abs().sum((0, 2, 3, 4)) for s in slopes]) > 0


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("draws", [1, 2])
def test_teacher_forcing_sees_what_the_truth_table_says(block, draws):
    mask = teacher_forcing(range(3), range(3), sight(), draws=draws, frames_per_block=block)
    assert torch.equal(mask.view.bias == 0, table(range(3), range(3), draws, block))


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("draws", [1, 2])
def test_an_output_depends_on_what_the_truth_table_says(block, draws):
    mask = teacher_forcing(range(3), range(3), sight(), draws=draws, frames_per_block=block)
    assert torch.equal(reach(network(), mask, 3 + 3 * draws), table(range(3), range(3), draws, block))


def test_a_window_hides_older_frames_and_keeps_the_sink():
    mask = teacher_forcing(range(6), range(1, 7), sight(window=2, sink=1))
    allowed = mask.view.bias == 0
    assert allowed[5, :6].tolist() == [True, False, False, True, True, True]  # clean frame 5
    assert allowed[11, :6].tolist() == [True, False, False, False, True, True]  # noisy frame 6


def test_ages_have_a_row_each_and_old_sink_frames_share_one():
    ages = teacher_forcing(range(6), range(1, 7), sight(window=2, sink=1)).view.ages
    assert ages[5, :6].tolist() == [3, 3, 3, 2, 1, 0]
    assert ages[11, [0, 4, 5, 11]].tolist() == [3, 2, 1, 0]


def test_key_frames_beyond_the_window_have_a_row_for_each_step_of_age():
    seen = sight(window=2, near=(1,), far=2, every=3)
    view = teacher_forcing(range(12), range(1, 13), seen).view
    allowed = view.bias == 0
    assert allowed[10, :12].nonzero()[:, 0].tolist() == [3, 6, 8, 9, 10]  # clean frame 10; ages 7, 4, 2, 1, 0
    assert view.ages[10, [3, 6, 8, 9, 10]].tolist() == [7, 6, 2, 1, 0]
    assert view.ages[allowed].max() < seen.num_ages


def test_every_row_is_in_its_table_and_the_future_has_its_own():
    seen = sight(window=4, near=(1, 3))
    view = bidirectional(6, seen).view
    future = torch.ones(6, 6).triu(1).bool()
    assert view.ages.max() < seen.num_ages
    assert view.near_slots.max() < seen.num_near
    assert not set(view.ages[future & (view.bias == 0)].tolist()) & set(view.ages[~future].tolist())


def test_bidirectional_sees_both_ways_within_the_window():
    allowed = bidirectional(7, sight(window=3, near=(1, 2))).view.bias == 0
    distance = (torch.arange(7)[:, None] - torch.arange(7)).abs()
    assert torch.equal(allowed, distance <= 3)


def test_near_frames_are_those_of_the_near_ages():
    mask = teacher_forcing(range(4), range(1, 5), sight(window=4, near=(1, 3)))
    names = torch.tensor([0, 1, 2, 3, 11, 12, 13, 14])[None, :, None]
    near, hidden = mask.near(names)[0, ..., 0], mask.view.near_bias < 0
    assert near.masked_fill(hidden, -1).tolist() == [
        [0, -1, -1], [1, 0, -1], [2, 1, -1], [3, 2, 0],  # clean
        [11, 0, -1], [12, 1, -1], [13, 2, 0], [14, 3, 1],  # noisy
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"window": 0}, {"sink": -1}, {"near": [3, 1]}, {"near": [0, 1]}, {"near": [1, 9]},
                                   {"far": -1}, {"far": 3}, {"far": 3, "every": 1}])  # fmt: skip
def test_impossible_sight_is_refused(wrong):
    with pytest.raises(ValueError, match="sight"):
        Sight(**{"window": 8, "sink": 0, "near": [1, 3]} | wrong)
