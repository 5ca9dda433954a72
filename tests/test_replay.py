import numpy as np
import pytest

from worldmodel.action import Action, ActionSpace
from worldmodel.data.episode import Meta, load_episode
from worldmodel.data.recorder import EpisodeWriter
from worldmodel.data.replay import CHUNK, MAX_CHUNKS, Replay
from worldmodel.env import Env, EpisodeEnd, Rewindable

T, H, W = CHUNK * (MAX_CHUNKS + 1) + 5, 16, 26
SPACE = ActionSpace(("up", "down"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "a"
    writer = EpisodeWriter(path, Meta(source="real", game="toy", fps=20.0, size_hw=(H, W), action_space=SPACE))
    writer.first(np.zeros((H, W, 3), np.uint8))
    for t in range(T):
        writer.add(Action({SPACE.buttons[t % 2]}), np.full((H, W, 3), (t + 1) * 7 % 256, np.uint8))
    writer.close()
    return path


def test_a_replay_shows_the_recorded_frames_and_ends(path):
    replay, frames = Replay(path), load_episode(path).frames()
    played = [replay.reset()] + [replay.step(Action()) for _ in range(T)]
    np.testing.assert_array_equal(played, frames)
    with pytest.raises(EpisodeEnd):
        replay.step(Action())
    assert replay.recorded_action is None
    np.testing.assert_array_equal(replay.reset(start=0, seed=8), frames[0])


def test_the_recorded_action_leads_out_of_the_frame_on_screen(path):
    replay, actions = Replay(path), load_episode(path).actions
    for t in range(5):
        assert replay.recorded_action == actions[t]
        replay.step(Action())


def test_a_replay_is_a_rewindable_env(path):
    replay, frames = Replay(path), load_episode(path).frames()
    assert isinstance(replay, Env)
    assert isinstance(replay, Rewindable)
    replay.reset(start=T - 3)
    state = replay.state()
    np.testing.assert_array_equal(replay.rewind(40), frames[T - 43])
    np.testing.assert_array_equal(replay.rewind(10 * T), frames[0])
    np.testing.assert_array_equal(replay.load_state(state), frames[T - 3])
    with pytest.raises(ValueError, match="no frame"):
        replay.reset(start=T + 1)


def test_a_replay_keeps_few_frames_in_memory_and_lends_none_of_them(path):
    replay = Replay(path)
    replay.reset()[:] = 99
    for _ in range(T):
        replay.step(Action())
    assert sum(map(len, replay._chunks.values())) <= CHUNK * MAX_CHUNKS
    assert replay.reset().max() < 20
    replay.close()
    replay.close()
