"""What a frame recalls: the one that looked the same way, old enough, and not from long before."""

import numpy as np
import pytest
import torch
from tiny import network
from worlds import TURNING, make_world

from worldmodel.action import ActionSpace
from worldmodel.bundle import WorldError, read_bundle
from worldmodel.compass import Compass
from worldmodel.model.masks import Sight, teacher_forcing
from worldmodel.model.recall import offers, poses, recalled

TURNS = Compass((0.0, 20.0))  # an action: walk, and a turn of 20 degrees
LEAST = 3


def choices(walks, turns, sight=None):
    """Times that each frame of one clip recalls, by the mask of a clip whose frames see their past."""
    told = TURNS.along(torch.tensor([walks, turns], dtype=torch.float).T[None])
    frames = len(turns)
    mask = teacher_forcing(range(frames), [], sight or Sight(window=frames, sink=0, near=[], recall=LEAST))
    return mask.recalling(told).chosen.argmax(-1)[0].tolist()


def test_who_turns_away_and_back_recalls_the_same_views():
    turns = [0, 0, 1, 1, 1, 1, -1, -1, -1, -1]
    found = choices([0] * 10, turns)
    assert found[7:] == [3, 2, 0]


def test_who_rests_recalls_the_oldest():
    assert choices([0] * 9, [0] * 9)[LEAST:] == [0] * 6


def test_who_walks_on_recalls_the_newest_that_is_old_enough():
    assert choices([1] * 9, [0] * 9)[LEAST:] == [0, 1, 2, 3, 4, 5]


def test_a_full_turn_comes_back_to_its_beginning():
    assert choices([0] * 19, [0] + [1] * 18)[18] == 0


def test_frames_out_of_sight_are_not_recalled():
    seen = Sight(window=4, sink=0, near=[], recall=LEAST)
    assert choices([0] * 9, [0] * 9, seen)[LEAST:] == [0, 0, 1, 2, 3, 4]


def test_where_none_is_old_enough_an_older_one_is_taken_and_the_first_frame_has_none():
    mask = teacher_forcing(range(4), [], Sight(window=4, sink=0, near=[1], recall=LEAST))
    assert mask.recalling(TURNS.along(torch.zeros(1, 4, 2))).chosen.argmax(-1)[0, 1:].tolist() == [0, 0, 0]
    assert (mask.view.near_bias == 0).tolist() == [[True, False, False], *[[True] * 3] * 3]


def test_each_clip_of_a_batch_recalls_its_own():
    seen = Sight(window=9, sink=0, near=[], recall=2)
    told = TURNS.along(torch.tensor([[[0, 0], [0, 3], [0, 3], [0, -3]], [[1, 0]] * 4], dtype=torch.float))
    assert teacher_forcing(range(4), [], seen).recalling(told).chosen.argmax(-1)[:, 3].tolist() == [1, 1]
    age = torch.arange(4)[:, None] - torch.arange(4)
    here = poses(told)
    assert recalled(offers(age, age > -9, 3), here, here)[:, 3].tolist() == [0, 0]


def test_what_is_recalled_is_seen():
    model = network(recall=4, near=())
    latents, actions = torch.randn(1, 6, *model.latent_shape), torch.zeros(1, 6, model.num_actions)
    actions[..., -2:] = torch.tensor([[0.0, 1.0]] + [[1.0, 0.0]] * 4 + [[0.0, 1.0]])  # the last looks as the first
    mask = teacher_forcing(range(6), [], model.config.sight)
    for block in model.blocks:  # without what looks through time
        with torch.no_grad():
            block.out.weight[:, (block.heads - block.temporal) * block.size :] = 0
    latents.requires_grad_()
    model(latents, torch.zeros(1, 6), actions, mask)[0, 5].sum().backward()
    reached = latents.grad.abs().sum((0, 2, 3, 4)) > 0
    assert reached.tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("recall", [-1, 1])
def test_a_frame_does_not_recall_itself_or_the_last(recall):
    with pytest.raises(ValueError, match="recall"):
        Sight(window=4, sink=0, near=[], recall=recall)


def test_a_world_that_goes_by_the_heading_and_is_not_told_it_is_refused(tmp_path):
    told = make_world(tmp_path / "told", **TURNING)
    assert read_bundle(told).model.config.needs_heading
    with pytest.raises(WorldError, match="heading"):
        make_world(tmp_path / "untold", **TURNING | {"turns": ()})


def test_the_space_of_these_tests_tells_two_more_numbers():
    assert ActionSpace(("walk", "turn"), turns=TURNS.turns).told == TURNS.along(torch.zeros(1, 2)).shape[-1]
    assert np.isclose(poses(TURNS.along(torch.tensor([[[0.0, 1.0]]]))).heading.item(), 20.0)
