"""Three hundred frames of scripted play, dreamed: what was saved, and what was taken back, comes again byte by byte."""

import numpy as np
import pytest
from worlds import make_world

import worldmodel
from worldmodel.data.states import Slots
from worldmodel.ui.tour import tour_script

FRAMES, MORE = 300, 40


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The engine after FRAMES steps, its script, and those frames."""
    world = worldmodel.load(make_world(tmp_path_factory.mktemp("world") / "tiny"))
    engine = worldmodel.Engine(world, "cpu", threads=1, dtype="float32")
    script = tour_script(engine.actions, engine.fps)
    engine.reset(start=1, seed=4)
    return engine, script, [engine.step(script(t)).copy() for t in range(FRAMES)]


def steps(engine, script, first, count):
    return [engine.step(script(t)).copy() for t in range(first, first + count)]


def test_a_save_is_played_on_from_as_if_nothing_had_been_between(played, tmp_path):
    engine, script, frames = played
    slots = Slots(tmp_path, "tiny", "here")
    slots.save(3, engine.state(), frames[-1], FRAMES)
    before = engine.state()
    on = steps(engine, script, FRAMES, MORE)
    np.testing.assert_array_equal(engine.load_state(slots.load(3)[0]), frames[-1])
    np.testing.assert_array_equal(steps(engine, script, FRAMES, MORE), on)
    engine.load_state(before)


@pytest.mark.parametrize("back", [1, 20, 200])
def test_what_was_taken_back_comes_again_inside_the_exact_range(played, back):
    engine, script, _ = played
    engine.reset(start=1, seed=4)
    frames = steps(engine, script, 0, FRAMES)
    assert engine.reach()[0] >= back
    np.testing.assert_array_equal(engine.rewind(back), frames[FRAMES - 1 - back])
    np.testing.assert_array_equal(steps(engine, script, FRAMES - back, back), frames[FRAMES - back :])
