"""Batches are functions of (seed, step), clips never cross an episode, and held-out frames stay out."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from worldmodel.action import Action, ActionError, ActionSpace
from worldmodel.data.clips import ClipConfig, DatasetError, FramePool, LatentClips, of_one_length, told_of
from worldmodel.data.episode import Meta, read_json, write_json
from worldmodel.data.writer import EpisodeWriter

LENGTHS = (5, 9, 3, 7)  # frames of the episodes


@pytest.fixture
def cache(tmp_path):
    """Latents whose value is 100 x episode + frame; actions likewise."""
    values = np.concatenate([100 * e + np.arange(n) for e, n in enumerate(LENGTHS)]).astype(np.float32)
    tensors = {
        "latents": np.broadcast_to(values[:, None, None, None], (len(values), 3, 1, 2)).astype(np.float16).copy(),
        "actions": np.stack([values, values], 1),
        "lengths": np.asarray(LENGTHS),
    }
    save_file(tensors, tmp_path / "train-000.safetensors")
    space = ActionSpace(("go", "turn")).to_json()
    info = {"shards": {"train": ["train-000.safetensors"], "heldout": []}, "action_space": space}
    write_json(tmp_path / "latents.json", info)
    return tmp_path


def test_a_clip_is_consecutive_frames_of_one_episode(cache):
    clips = LatentClips(cache, of_one_length(4), split="train", seed=1)
    latents, actions = clips.batch(3, 50)
    assert latents.shape == (50, 4, 3, 1, 2)
    assert (np.diff(latents[:, :, 0, 0, 0], axis=1) == 1).all()
    assert np.array_equal(latents[:, :, 0, 0, 0], actions[:, :, 0])


def test_every_possible_start_is_used_and_no_other(cache):
    clips = LatentClips(cache, of_one_length(4), split="train", seed=1)
    assert len(clips.starts[4][0]) == sum(max(0, n - 3) for n in LENGTHS)


def test_a_batch_depends_on_seed_and_step_alone(cache):
    def batch(seed, step):
        return LatentClips(cache, of_one_length(2), split="train", seed=seed).batch(step, 6).latents

    assert np.array_equal(batch(1, 5), batch(1, 5))
    assert not np.array_equal(batch(1, 5), batch(1, 6))
    assert not np.array_equal(batch(1, 5), batch(2, 5))


def test_some_steps_have_fewer_and_longer_clips(cache):
    config = ClipConfig(frames=3, long=7, long_chance=0.25, shares={})
    clips = LatentClips(cache, config, split="train", seed=1)
    shapes = [clips.batch(step, 5).latents.shape[:2] for step in range(400)]
    assert set(shapes) == {(5, 3), (2, 7)}
    assert 0.2 < shapes.count((2, 7)) / 400 < 0.3


def test_a_step_has_at_least_one_long_clip(cache):
    config = ClipConfig(frames=2, long=9, long_chance=1.0, shares={})
    assert LatentClips(cache, config, split="train", seed=1).batch(0, 1).latents.shape[:2] == (1, 9)


def test_a_compass_turns_with_the_actions_and_begins_elsewhere_in_every_clip(cache):
    info = read_json(cache / "latents.json")
    space = ActionSpace(("go", "turn"), turns=(0.0, 0.01))
    write_json(cache / "latents.json", info | {"action_space": space.to_json()})
    clips = LatentClips(cache, of_one_length(4), split="train", seed=1, told=told_of(cache, compass=True))
    actions = clips.batch(3, 50).actions
    assert actions.shape == (50, 4, clips.num_actions) == (50, 4, 4)
    heading = np.unwrap(np.arctan2(actions[..., 2], actions[..., 3]))
    np.testing.assert_allclose(np.degrees(np.diff(heading)), 0.01 * actions[:, 1:, 1], atol=1e-3)
    assert heading[:, 0].std() > 1
    bare = LatentClips(cache, of_one_length(4), split="train", seed=1, told=told_of(cache, compass=False))
    assert np.array_equal(bare.batch(3, 50).actions, actions[..., :2])
    with pytest.raises(ActionError, match="told 3"):
        LatentClips(cache, of_one_length(4), split="train", seed=1, told=3)
    write_json(cache / "latents.json", info)
    with pytest.raises(ActionError, match="nothing is known of turns"):
        told_of(cache, compass=True)


def name_the_players(cache, players):
    info = read_json(cache / "latents.json")
    write_json(cache / "latents.json", {**info, "players": {"train": players, "heldout": []}})


def drawn(cache, shares):
    config = ClipConfig(frames=2, long=0, long_chance=0.0, shares=shares)
    clips = LatentClips(cache, config, split="train", seed=1)
    return clips.batch(0, 2000).latents[:, 0, 0, 0, 0] // 100  # episodes


def test_a_player_gets_its_share_of_the_clips_and_the_others_the_rest(cache):
    name_the_players(cache, ["walker", "human", "human", "idle"])
    episodes = drawn(cache, {"human": 0.2, "idle": 0.1})
    assert np.isin(episodes, (1, 2)).mean() == pytest.approx(0.2, abs=0.04)
    assert (episodes == 3).mean() == pytest.approx(0.1, abs=0.04)
    assert (episodes == 0).mean() == pytest.approx(0.7, abs=0.04)
    assert set(drawn(cache, {"human": 0.0})) == {0, 3}
    name_the_players(cache, ["human"] * 4)
    assert set(drawn(cache, {"human": 0.2})) == {0, 1, 2, 3}


def test_shares_that_make_no_sense_are_refused(cache, caplog):
    for shares in ({"human": -0.1}, {"human": 0.6, "walker": 0.6}):
        with pytest.raises(ValueError, match=r"clips\.shares"):
            ClipConfig(frames=2, long=0, long_chance=0.0, shares=shares)
    with pytest.raises(DatasetError, match="who played"):
        drawn(cache, {"human": 0.2})
    name_the_players(cache, ["walker"] * 4)
    assert set(drawn(cache, {"human": 0.2})) == {0, 1, 2, 3}
    assert "human played no train episode; of: walker" in caplog.text


@pytest.mark.parametrize(("long", "chance"), [(3, 0.5), (2, 0.5), (9, 1.5), (9, -0.1)])
def test_clip_lengths_that_make_no_sense_are_refused(long, chance):
    with pytest.raises(ValueError, match=r"clips\.long"):
        ClipConfig(frames=3, long=long, long_chance=chance, shares={})


def test_what_is_missing_is_said_with_the_command_that_makes_it(cache, tmp_path):
    with pytest.raises(DatasetError, match=r"train\.latents"):
        LatentClips(tmp_path / "nowhere", of_one_length(2), split="train", seed=0)
    with pytest.raises(DatasetError, match="no heldout frames"):
        LatentClips(cache, of_one_length(2), split="heldout", seed=0)
    with pytest.raises(DatasetError, match="has 10 frames"):
        LatentClips(cache, of_one_length(10), split="train", seed=0)
    with pytest.raises(ValueError, match="collect"):
        FramePool(tmp_path / "nowhere", split="train", stride=1, seed=0)


def test_a_pool_holds_the_frames_of_its_split_alone(tmp_path):
    for name, split, grey in (("a", "train", 60), ("b", "heldout", 200)):
        meta = Meta(source="real", game="g", fps=10, size_hw=(16, 32), action_space=ActionSpace(("go",)), split=split)
        writer = EpisodeWriter(tmp_path / "episodes" / name, meta)
        writer.first(np.full((16, 32, 3), grey, np.uint8))
        for _ in range(6):
            writer.add(Action({"go"}), np.full((16, 32, 3), grey, np.uint8))
        writer.close()
    pool = FramePool(tmp_path, split="train", stride=2, seed=0)
    assert pool.frames.shape == (4, 16, 32, 3)
    assert abs(pool.batch(0, 9).mean() - 60) < 3
