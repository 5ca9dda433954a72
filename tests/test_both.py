"""Real and dreamed side by side: the same keys, a true measure between them, and a dream that can be set to reality."""

from types import SimpleNamespace

import numpy as np
import pytest

from worldmodel.action import Action, ActionError, ActionSpace
from worldmodel.data.both import CONTEXT, GAP, Both, psnr
from worldmodel.data.states import Slots
from worldmodel.env import Branching, Env, Rewindable, Sampled

H, W = 4, 6


class Game:
    """Its frame counts the steps with a button held."""

    actions, fps, size_hw = ActionSpace(("add", "wait")), 20.0, (H, W)

    def reset(self, *, start=0, seed=0):
        self.count, self.seen, self.begun = 10 * start, [], seed
        return self.frame()

    def step(self, action):
        self.seen.append(action)
        self.count += "add" in action.buttons
        return self.frame()

    def frame(self):
        return np.full((H, W, 3), self.count, np.uint8)

    def close(self):
        self.is_closed = True

    status = None

    def reach(self):
        return len(self.seen), len(self.seen)

    def rewind(self, frames):
        for action in self.seen[len(self.seen) - frames :]:
            self.count -= ("add" in action.buttons) + self.drift
        del self.seen[len(self.seen) - frames :]
        return self.shown()

    def state(self):
        return {"count": self.count, "seen": len(self.seen)}

    def load_state(self, state):
        if state["count"] < 0:
            raise ValueError("of another version")
        self.count, self.seen = state["count"], [Action()] * state["seen"]
        return self.shown()

    def past(self):
        return SimpleNamespace(count=self.count, seen=tuple(self.seen), exact=len(self.seen))

    def thinned(self, past, frames):
        return past

    def return_to(self, past):
        self.count, self.seen = past.count, list(past.seen)
        return self.shown()

    drift = 0

    def shown(self):
        return self.frame()


class Dream(Game):
    """Counts wrongly by one a step, and begins where it is told."""

    steps, seed, drift = 2, 0, 1

    def shown(self):
        return self.frame()

    def reset(self, *, start=0, seed=0):
        frames, moves = start
        assert len(frames) == len(moves) + 1
        self.begun_with = frames, moves
        self.count, self.seen = int(frames[-1, 0, 0, 0]), []
        return self.frame()

    def step(self, action):
        super().step(action)
        self.count += 1
        return self.frame()

    def settle(self):
        self.is_settled = True


@pytest.fixture
def both():
    env = Both(Game(), Dream())
    env.reset(start=2, seed=7)
    return env


def halves(frame):
    assert frame.shape == (H, 2 * W + GAP, 3)
    return int(frame[0, 0, 0]), int(frame[0, -1, 0])


def test_it_is_an_env_with_sampling_steps_that_can_go_back(both):
    assert isinstance(both, Env)
    assert isinstance(both, Sampled)
    assert isinstance(both, Rewindable)
    assert isinstance(both, Branching)
    both.steps = 1
    assert both.dream.steps == 1


def test_the_dream_begins_with_what_the_game_has_shown(both):
    frames, moves = both.dream.begun_with
    assert (len(frames), moves) == (CONTEXT, [Action()] * (CONTEXT - 1))
    assert both.real.begun == 7


def test_both_get_the_same_keys_and_the_curve_is_the_psnr_between_them(both):
    moves = [Action({"add"}), Action({"wait"}), Action({"add"})]
    shown = [halves(both.step(move)) for move in moves]
    assert both.real.seen[-3:] == both.dream.seen == moves
    assert shown == [(21, 22), (21, 23), (22, 25)]
    expected = [20 * np.log10(255 / off) for off in (1, 2, 3)]
    assert list(both.divergence)[1:] == pytest.approx(expected)


def test_resync_sets_the_dream_to_the_last_real_frames(both):
    for _ in range(CONTEXT + 3):
        both.step(Action({"add"}))
    assert halves(both.resync()) == (20 + CONTEXT + 3,) * 2
    frames, moves = both.dream.begun_with
    assert frames[:, 0, 0, 0].tolist() == list(range(24, 24 + CONTEXT))
    assert moves == [Action({"add"})] * (CONTEXT - 1)
    assert both.divergence[-1] is None
    both.settle()
    both.close()
    assert both.real.is_closed
    assert both.dream.is_closed


def test_both_go_back_together_and_the_dream_can_be_set_to_reality_from_there(both):
    moves = [Action({"add"}) if t % 3 else Action() for t in range(9)]
    frames = [both.step(move) for move in moves]
    curve = both.divergence
    np.testing.assert_array_equal(both.rewind(4), frames[4])
    assert both.divergence == curve[:-4]
    np.testing.assert_array_equal([both.step(move) for move in moves[5:]], frames[5:])
    assert both.divergence == curve
    both.rewind(2)
    both.resync()
    seen, led = both.dream.begun_with
    assert (len(seen), led[-7:]) == (CONTEXT, moves[:7])
    assert seen[-1, 0, 0, 0] == both.real.count


def test_a_line_of_both_that_was_left_is_gone_on_with(both):
    shown = [both.step(Action({"add"})) for _ in range(5)]
    line, curve = both.thinned(both.past(), 3), both.divergence
    assert line.exact == 3
    both.rewind(4)
    both.step(Action())
    np.testing.assert_array_equal(both.return_to(line), shown[-1])
    assert both.divergence == curve[-3 - CONTEXT :]
    np.testing.assert_array_equal(both.rewind(3), shown[1])
    assert halves(both.resync()) == (22, 22)


def test_going_back_ends_where_the_dream_was_set_to_reality(both):
    both.step(Action())
    both.resync()
    frame = both.step(Action({"add"}))
    assert both.reach() == (1, 1)
    both.step(Action())
    assert both.rewind(99)[0, 0, 0] == frame[0, 0, 0] - 1


def test_a_state_of_both_goes_through_a_file_and_fits_both_or_neither(both, tmp_path):
    slots = Slots(tmp_path, "both", "here")
    for _ in range(5):
        frame = both.step(Action({"add"}))
    slots.save(0, both.state(), frame, 5)
    both.step(Action())
    state = slots.load(0)[0]
    shown = both.dream.count
    with pytest.raises(ValueError, match="another version"):
        both.load_state({**state, "real": {"count": -1, "seen": 0}})
    assert both.dream.count == shown
    np.testing.assert_array_equal(both.load_state(state), frame)
    frames, moves = (both.resync(), both.dream.begun_with)[1]
    assert frames[:, 0, 0, 0].tolist() == [20] * 11 + [21, 22, 23, 24, 25]
    assert moves[-5:] == [Action({"add"})] * 5


def test_only_the_dreams_half_is_looked_at(both):
    frame = both.step(Action())
    np.testing.assert_array_equal(both.dreamed(frame), both.dream.frame())
    both.seed = 8
    assert both.dream.seed == 8


def test_a_game_with_other_actions_is_refused():
    class Other(Game):
        actions = ActionSpace(("jump",))

    with pytest.raises(ActionError):
        Both(Other(), Dream())


def test_psnr_of_equal_frames_is_finite():
    assert psnr(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)) == 99.0
    assert psnr(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)) == 0.0
