import json

import numpy as np
import pytest
from test_recorder import Counter, RewindableCounter

from worldmodel.action import Action, ActionSpace
from worldmodel.data.episode import EpisodeError, Meta, list_episodes, load_episode
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import CHUNK, MAX_CHUNKS, Replay, first_difference
from worldmodel.data.writer import EpisodeWriter
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


def recording(folder, folder_env, commands):
    """Play a Counter under a Recorder; commands: callables of the recorder between its steps."""
    env = Recorder(folder_env, folder, source="real", game="counter")
    env.start()
    env.reset()
    for command in commands:
        for _ in range(3):
            env.step(Action({"add"}))
        command(env)
    env.step(Action())
    env.close()
    return [load_episode(p) for p in list_episodes(folder)]


def test_every_recording_can_be_made_again_also_one_that_began_in_play(tmp_path):
    episodes = recording(
        tmp_path, RewindableCounter(), [lambda e: e.rewind(1), lambda e: (e.stop(), e.step(Action()), e.start())]
    )
    assert [episode.meta.extra["begun"] for episode in episodes] == ["reset", "rewind", "in play"]
    for episode in episodes:
        assert first_difference(RewindableCounter(), episode) is None


def test_the_first_frame_that_differs_is_found(tmp_path):
    class Wrong(RewindableCounter):
        def frame(self):
            return super().frame() + (self.count == 2)

    episode, _ = recording(tmp_path, RewindableCounter(), [lambda e: e.reset()])
    assert first_difference(Wrong(), episode) == 2


def test_what_began_in_play_without_a_state_and_old_recordings_can_only_be_watched(tmp_path):
    first, second = recording(tmp_path, Counter(), [lambda e: (e.stop(), e.start())])
    with pytest.raises(EpisodeError, match="only be watched"):
        first_difference(Counter(), second)
    lines = (first.path / "actions.jsonl").read_text().splitlines()
    old = [{k: v for k, v in json.loads(line).items() if k in ("t", "buttons", "mouse")} for line in lines]
    (first.path / "actions.jsonl").write_text("\n".join(map(json.dumps, old)))
    episode = load_episode(first.path)
    assert episode.actions == first.actions
    with pytest.raises(EpisodeError, match="older version"):
        first_difference(Counter(), episode)
