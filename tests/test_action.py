"""Actions by name and as numbers."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.action import OPPOSITES, Action, ActionError, ActionSpace, cancel_opposites

SPACE = ActionSpace(("forward", "backward", "attack"), (20.0, 5.0))
NAMES = st.sampled_from(["forward", "backward", "attack", "use", "strafe_left", "strafe_right"])
quick = settings(max_examples=50, deadline=None, database=None)


@st.composite
def spaces(draw):
    ranges = st.one_of(st.just(0.0), st.floats(0.5, 90.0))
    return ActionSpace(tuple(draw(st.lists(NAMES, unique=True))), (draw(ranges), draw(ranges)))


@st.composite
def moves(draw):
    """A space and an action that it can express."""
    space = draw(spaces())
    held = draw(st.sets(st.sampled_from(space.buttons))) if space.buttons else set()
    return space, Action(held, tuple(r * draw(st.floats(-1, 1)) for r in space.mouse))


@given(moves())
@quick
def test_an_action_comes_back_from_its_vector(pair):
    space, action = pair
    vector = space.to_vector(action)
    back = space.from_vector(vector)
    assert vector.shape == (space.size,)
    assert vector.dtype == np.float32
    assert back.buttons == action.buttons
    assert back.mouse == pytest.approx(action.mouse, rel=1e-5, abs=1e-5)


@given(spaces())
@quick
def test_a_space_comes_back_from_json(space):
    assert ActionSpace.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_the_vector_is_buttons_in_order_then_axes_over_their_range():
    assert SPACE.to_vector(Action({"attack", "forward"}, (-10.0, 2.5))).tolist() == [1, 0, 1, -0.5, 0.5]
    assert ActionSpace(("use",), (0.0, 5.0)).to_vector(Action((), (9.0, 5.0))).tolist() == [0, 1]


def test_mouse_beyond_the_range_is_clipped():
    assert SPACE.to_vector(Action((), (100.0, -100.0))).tolist() == [0, 0, 0, 1, -1]


def test_equal_actions_are_equal_text_and_one_key():
    a, b = Action(["attack", "forward"], (1, 2)), Action({"forward", "attack"}, (1.0, 2.0))
    assert json.dumps(a.to_json()) == json.dumps(b.to_json())
    assert len({a, b}) == 1


def test_an_unknown_button_is_refused_with_the_known_ones():
    with pytest.raises(ActionError, match=r"jump.*forward"):
        SPACE.to_vector(Action({"jump"}))


def test_a_text_in_place_of_a_set_of_buttons_is_refused():
    with pytest.raises(ActionError, match="forward"):
        Action("forward")


def test_a_vector_of_another_space_is_refused():
    with pytest.raises(ActionError, match="4 components"):
        SPACE.from_vector(np.zeros(4))


@pytest.mark.parametrize("wrong", [{"buttons": ("use", "use")}, {"buttons": ("use",), "mouse": (-1.0, 0.0)}])
def test_impossible_spaces_are_refused(wrong):
    with pytest.raises(ActionError):
        ActionSpace(**wrong)


@pytest.mark.parametrize("wrong", [
    {}, {"buttons": ["use"]}, {"buttons": "use", "mouse": [1, 1]}, {"buttons": [1], "mouse": [1, 1]},
    {"buttons": ["use"], "mouse": [1]}, {"buttons": ["use"], "mouse": ["a", "b"]},
])  # fmt: skip
def test_json_that_is_no_space_is_refused(wrong):
    with pytest.raises(ActionError, match="action space"):
        ActionSpace.from_json(wrong)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_range_that_is_no_number_is_refused(wrong):
    with pytest.raises(ActionError):
        ActionSpace.from_json({"buttons": ["use"], "mouse": [wrong, 1.0]})


def test_a_motion_that_is_no_number_reaches_no_vector():
    with suppress(ActionError):  # refusing it is right as well
        assert np.isfinite(SPACE.to_vector(Action((), (float("nan"), 0.0)))).all()


@pytest.mark.parametrize("pair", OPPOSITES)
def test_opposite_keys_cancel_and_others_stay(pair):
    assert cancel_opposites({*pair, "attack"}) == {"attack"}
    assert cancel_opposites({pair[0], "attack"}) == {pair[0], "attack"}
