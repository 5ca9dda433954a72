"""A game that only knows reset and step gets a past: rewind, saves, and a word where it does not repeat itself."""

import numpy as np
import pytest
from test_recorder import Counter, press, record

from worldmodel.action import Action, ActionError
from worldmodel.data import rerun
from worldmodel.data.episode import list_episodes, load_episode
from worldmodel.data.replay import first_difference
from worldmodel.data.rerun import Rerun
from worldmodel.data.states import Slots
from worldmodel.env import Branching, Env, Rewindable


class Chaos(Counter):
    """Deterministic, but every step matters for all later ones."""

    def reset(self, *, start=0, seed=0):
        self.value = 1000 * seed + start
        self.num_steps = 0
        return self.frame()

    def step(self, action):
        self.actions.check(action)
        self.value = (31 * self.value + len(action.buttons) + round(10 * action.mouse[0])) % 65521
        self.num_steps += 1
        return self.frame()

    def frame(self):
        return np.random.default_rng(self.value).integers(0, 256, (*self.size_hw, 3), dtype=np.uint8)


def moves(count):
    return [Action({"add"} if t % 3 else (), (0.1 * t, 0.0)) for t in range(count)]


def played(env, actions):
    return [env.step(action).copy() for action in actions]


@pytest.fixture
def env():
    game = Rerun(Chaos())
    game.reset(start=2, seed=5)
    return game


def test_it_is_an_env_that_can_go_back(env):
    assert isinstance(env, Env)
    assert isinstance(env, Rewindable)
    assert isinstance(env, Branching)


@pytest.mark.parametrize("back", [1, 7, 40, 41, 99])
def test_a_rewind_shows_the_frame_of_then_and_the_same_keys_lead_to_the_same_frames(env, back, monkeypatch):
    actions = moves(41)
    first = env.rewind(0)
    frames = [first, *played(env, actions)]
    np.testing.assert_array_equal(env.rewind(back), frames[max(0, 41 - back)])
    assert env.reach() == (max(0, 41 - back),) * 2
    again = played(env, actions[max(0, 41 - back) :])
    np.testing.assert_array_equal(again, frames[max(0, 41 - back) + 1 :])


def test_a_line_that_was_left_is_gone_on_with(env):
    actions = moves(41)
    frames = played(env, actions)
    line = env.thinned(env.past(), 5)
    assert (line.exact, len(line.frames)) == (41, 6)
    env.reset(start=3, seed=1)
    played(env, actions[:7])
    np.testing.assert_array_equal(env.return_to(line), frames[-1])
    np.testing.assert_array_equal(env.rewind(20), frames[20])
    np.testing.assert_array_equal(played(env, actions[21:]), frames[21:])


def test_time_runs_back_frame_by_frame_without_making_anything_again(env):
    frames = played(env, moves(30))
    steps = env.env.num_steps
    back = [env.rewind(1) for _ in range(29)]
    np.testing.assert_array_equal(back, frames[-2::-1])
    assert env.env.num_steps == steps


def test_further_back_than_frames_are_remembered_they_are_made_anew(monkeypatch):
    monkeypatch.setattr(rerun, "REMEMBERED", 5)
    env = Rerun(Chaos())
    env.reset()
    frames = played(env, moves(30))
    np.testing.assert_array_equal(env.rewind(20), frames[9])
    np.testing.assert_array_equal(env.step(moves(11)[10]), frames[10])


def test_a_save_is_made_again_after_other_play_and_from_the_disk(env, tmp_path):
    actions, slots = moves(25), Slots(tmp_path, "game", "here")
    frames = played(env, actions)
    env.rewind(5)
    slots.save(0, env.state(), env.rewind(0), 20)
    env.reset(seed=9)
    played(env, moves(3))
    np.testing.assert_array_equal(env.load_state(slots.load(0)[0]), frames[19])
    np.testing.assert_array_equal(played(env, actions[20:]), frames[20:])


def test_a_save_of_another_version_of_the_game_is_refused_and_play_goes_on(env):
    frames = played(env, moves(6))
    state = env.state() | {"crc32": 1}
    with pytest.raises(ValueError, match="another version of the game"):
        env.load_state(state)
    np.testing.assert_array_equal(env.rewind(0), frames[-1])
    np.testing.assert_array_equal(env.step(Action()), played_on(6))
    with pytest.raises(ActionError):
        env.load_state({**state, "moves": [[["jump"], [0.0, 0.0]]]})


def played_on(count):
    other = Rerun(Chaos())
    other.reset(start=2, seed=5)
    played(other, moves(count))
    return other.step(Action())


def test_a_game_that_does_not_repeat_itself_is_told_of(env, caplog):
    played(env, moves(9))
    env.rewind(3)
    env.env.reset = lambda **how: Chaos.reset(env.env, start=3, seed=1)
    env.step(Action())
    assert env.reach() == (0, 7)
    assert "does not repeat itself" in caplog.text


def test_a_recording_of_a_game_that_was_rewound_can_be_made_again(tmp_path):
    env = record(tmp_path, Rerun(Chaos()))
    env.start()
    env.reset(start=1, seed=3)
    press(env, 9)
    env.rewind(4)
    press(env, 3)
    env.close()
    for path in list_episodes(tmp_path):
        assert first_difference(Rerun(Chaos()), load_episode(path)) is None
    assert load_episode(path).meta.parent == {"episode": "000000", "frame": 5}
