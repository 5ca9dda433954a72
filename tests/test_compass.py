"""The heading is the sum of all turns, wherever one asks; without turns nothing is told."""

import math

import numpy as np
import pytest
import torch

from worldmodel import Action
from worldmodel.action import ActionError, ActionSpace
from worldmodel.compass import Compass

SPACE = ActionSpace(("forward", "turn_left", "turn_right"), (20.0, 0.0), (0.0, -5.0, 5.0, 20.0))
COMPASS = Compass.of(SPACE)


def vectors(*actions):
    return torch.from_numpy(np.stack([SPACE.to_vector(action) for action in actions]))


def headings(told):
    return torch.rad2deg(torch.atan2(told[..., -2], told[..., -1]))


def test_the_heading_is_the_sum_of_keys_and_mouse():
    actions = vectors(
        Action({"forward"}), Action({"turn_right"}), Action((), (-10.0, 0)), Action({"turn_left"}, (4, 0))
    )
    told = COMPASS.along(actions[None])
    assert told.shape == (1, 4, SPACE.told)
    assert torch.equal(told[0, :, : SPACE.size], actions)
    torch.testing.assert_close(headings(told[0]), torch.tensor([0.0, 5.0, -5.0, -6.0]))


def test_step_by_step_is_the_same_as_at_once_for_minutes():
    actions = torch.rand(1, 6000, 4) * torch.tensor([1.0, 1.0, 1.0, 2.0]) - torch.tensor([0.0, 0.0, 0.0, 1.0])
    at_once, last = COMPASS.along(actions), None
    for t in range(actions.shape[1]):
        last = COMPASS.along(actions[:, t : t + 1], last)
    torch.testing.assert_close(last, at_once[:, -1:], rtol=0, atol=1e-4)


def test_a_clip_may_begin_anywhere_and_turns_alike():
    actions, origins = torch.rand(3, 9, 4), torch.rand(3) * 2 * math.pi
    plain, turned = COMPASS.along(actions), torch.from_numpy(COMPASS.in_clips(actions.numpy(), origins.numpy()))
    difference = headings(turned) - headings(plain) - torch.rad2deg(origins)[:, None]
    torch.testing.assert_close((difference + 180) % 360 - 180, torch.zeros(3, 9), rtol=0, atol=1e-3)


def test_without_turns_a_network_is_told_the_action_alone():
    actions = torch.rand(2, 5, 3)
    assert Compass(()).along(actions) is actions
    assert ActionSpace(("use",)).told == 1


def test_a_space_is_equal_with_and_without_turns_and_keeps_them():
    bare = SPACE.known_to(4)
    assert bare == SPACE
    assert (bare.turns, bare.told, SPACE.told) == ((), 4, 6)
    assert ActionSpace.from_json(SPACE.to_json()).turns == SPACE.turns
    assert "turns" not in bare.to_json()
    assert SPACE.known_to(6) is SPACE


@pytest.mark.parametrize("wrong", [(1.0,), (0.0, 0.0, 0.0, math.inf)])
def test_turns_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ActionError, match="turns"):
        ActionSpace(("forward", "turn_left", "turn_right"), (20.0, 0.0), wrong)


def test_a_network_of_another_game_is_refused_in_a_line():
    with pytest.raises(ActionError, match="told 5 numbers"):
        SPACE.known_to(5)
    with pytest.raises(ActionError, match="'turns' must be"):
        ActionSpace.from_json(SPACE.to_json() | {"turns": ["5"]})
