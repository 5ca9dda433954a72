import json

import numpy as np
import pytest

from worldmodel.action import Action, ActionSpace
from worldmodel.data.episode import (
    EpisodeError,
    Meta,
    list_episodes,
    load_episode,
    read_json,
    write_index,
)
from worldmodel.data.writer import EpisodeWriter

T, H, W = 43, 16, 26
SPACE = ActionSpace(("forward", "fire", "use"), (12.0, 0.0))


def frame(t):
    y, x = np.mgrid[0:H, 0:W]
    return (128 + 90 * np.sin((x + y)[..., None] / 9 + t / 10 + np.arange(3))).astype(np.uint8)


def action(t):
    return Action({name for i, name in enumerate(SPACE.buttons) if t >> i & 1}, (t / 7 - 3, 0.0))


def meta(**about):
    return Meta(source="real", game="toy", fps=35.0, size_hw=(H, W), action_space=SPACE, **about)


def write(path, num_steps=T, crf=15, **about):
    writer = EpisodeWriter(path, meta(**about), crf)
    writer.first(frame(0))
    for t in range(num_steps):
        writer.add(action(t), frame(t + 1), latency_ms=1.5)
    writer.close()
    return path


def tear(path):
    """Leave an episode as a killed process would: no meta.json, half a fragment, half a line."""
    (path / "meta.json").rename(path / "meta.open.json")
    for name, share in (("video.mp4", 0.97), ("actions.jsonl", 0.995)):
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[: int(len(data) * share)])
    return path


def test_actions_and_meta_come_back_exactly(tmp_path):
    about = {"seed": 7, "split": "heldout", "sampler": {"steps": 2}, "extra": {"map": "m1"}, "licence": "MIT"}
    episode = load_episode(write(tmp_path / "a", **about))
    assert episode.actions == tuple(action(t) for t in range(T))
    assert episode.meta == meta(num_steps=T, **about)
    assert Meta.from_json(json.loads(json.dumps(episode.meta.to_json()))) == episode.meta
    expected = np.stack([SPACE.to_vector(action(t)) for t in range(T)])
    np.testing.assert_array_equal(episode.action_vectors(), expected)
    assert episode.action_vectors().shape == (T, 4)


def test_an_episode_has_one_frame_more_than_actions(tmp_path):
    episode = load_episode(write(tmp_path / "a"))
    frames = episode.frames()
    assert episode.num_steps == T
    assert frames.shape == (T + 1, H, W, 3)
    for t in (0, 20, T):  # frame t is the frame before action t
        assert np.abs(frames[t].astype(int) - frame(t)).mean() < np.abs(frames[t].astype(int) - frame(t + 1)).mean()
    np.testing.assert_array_equal(episode.frames(17, 9), frames[17:26])


def test_a_killed_recording_loses_at_most_a_gop(tmp_path):
    whole = load_episode(write(tmp_path / "a"))
    frames = whole.frames()
    episode = load_episode(tear(tmp_path / "a"))
    assert T - 17 <= episode.num_steps < T
    assert episode.meta.num_steps == episode.num_steps
    assert episode.actions == whole.actions[: episode.num_steps]
    np.testing.assert_array_equal(episode.frames(), frames[: episode.num_steps + 1])


@pytest.mark.parametrize("keep", [0, 1, 20])
def test_a_killed_recording_keeps_what_the_shorter_file_holds(tmp_path, keep):
    path = write(tmp_path / "a")
    (path / "meta.json").rename(path / "meta.open.json")
    lines = (path / "actions.jsonl").read_text().splitlines(keepends=True)
    (path / "actions.jsonl").write_text("".join(lines[:keep]) + lines[keep][:9])
    if keep == 0:
        with pytest.raises(EpisodeError, match="Delete"):
            load_episode(path)
    else:
        episode = load_episode(path)
        assert (episode.num_steps, len(episode.frames()), len(episode.frames(5))) == (keep, keep + 1, max(0, keep - 4))


def test_a_closed_episode_that_disagrees_with_itself_is_refused(tmp_path):
    path = write(tmp_path / "a")
    lines = (path / "actions.jsonl").read_text().splitlines(keepends=True)
    for wrong in (lines[:-1], lines[1:], [lines[0], "{}\n", *lines[2:]], [*lines[:-1], lines[-1][:9]]):
        (path / "actions.jsonl").write_text("".join(wrong))
        with pytest.raises(EpisodeError, match=r"Restore .*|rename"):
            load_episode(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("colour", 3), ("fps", None), ("fps", 0), ("source", "video"), ("size_hw", [16, 26, 3]), ("size_hw", [26, 16]),
     ("alignment", "other"), ("schema", 99), ("action_space", {}), ("num_steps", True), ("parent", {"id": 1})],
)  # fmt: skip
def test_a_wrong_meta_names_the_file_and_the_key(tmp_path, key, value):
    path = write(tmp_path / "a", num_steps=2) / "meta.json"
    data = json.loads(path.read_text()) | {key: value}
    path.write_text(json.dumps(data))
    with pytest.raises(EpisodeError, match=rf"meta\.json.*({key}|mouse|buttons|26, 16)"):
        load_episode(path.parent)
    del data["seed"], data[key]
    path.write_text(json.dumps(data | {"schema": 1}))
    with pytest.raises(EpisodeError, match=r"meta\.json: missing key"):
        load_episode(path.parent)


def test_an_action_of_another_game_is_refused(tmp_path):
    path = write(tmp_path / "a", num_steps=2)
    text = (path / "actions.jsonl").read_text()
    (path / "actions.jsonl").write_text(text.replace('"forward"', '"jump"'))
    with pytest.raises(EpisodeError, match="jump"):
        load_episode(path)


def test_an_index_is_rebuilt_from_the_episodes(tmp_path):
    for i, split in ((2, "train"), (0, "heldout"), (1, "train")):
        write(tmp_path / "episodes" / f"{i:06d}", num_steps=3 + i, split=split, seed=50 + i)
    (tmp_path / "episodes" / "notes").mkdir()
    index = write_index(tmp_path, {"licence": "CC0"})
    assert index == read_json(tmp_path / "dataset.json")
    assert index["episodes"][0] == {"id": "000000", "num_steps": 3, "seed": 50, "split": "heldout"}
    assert [p.name for p in list_episodes(tmp_path)] == [e["id"] for e in index["episodes"]]
    assert list_episodes(tmp_path) == list_episodes(tmp_path / "episodes")
    assert ActionSpace.from_json(index["action_space"]) == SPACE


def test_an_index_leaves_out_recordings_without_a_step(tmp_path, caplog):
    write(tmp_path / "a", num_steps=2)
    EpisodeWriter(tmp_path / "b", meta()).abandon()
    assert [e["id"] for e in write_index(tmp_path, {})["episodes"]] == ["a"]
    assert "left out" in caplog.text


def test_an_index_refuses_two_games_in_one_dataset(tmp_path):
    write(tmp_path / "a", num_steps=2)
    path = write(tmp_path / "b", num_steps=2) / "meta.json"
    path.write_text(path.read_text().replace('"fps": 35.0', '"fps": 20.0'))
    with pytest.raises(EpisodeError, match="own dataset"):
        write_index(tmp_path, {})


def test_frames_without_compression_come_back_exactly(tmp_path):
    episode = load_episode(write(tmp_path / "a", crf=None))
    assert not (tmp_path / "a/video.mp4").exists()
    np.testing.assert_array_equal(episode.frames(), np.stack([frame(t) for t in range(T + 1)]))
    np.testing.assert_array_equal(episode.frames(5, 3), np.stack([frame(t) for t in (5, 6, 7)]))
    assert episode.frames(T, 9).shape == (1, H, W, 3)


def test_uncompressed_frames_that_are_none_are_refused(tmp_path):
    path = write(tmp_path / "a", crf=None)
    np.save(path / "frames.npy", np.zeros((T + 1, H, W), np.uint8))
    with pytest.raises(EpisodeError, match="holds no frames"):
        load_episode(path)
    (path / "frames.npy").write_bytes(b"torn")
    with pytest.raises(EpisodeError, match="cannot read the frames"):
        load_episode(path)


def test_an_episode_without_pictures_keeps_the_rest_and_says_how_to_see_them(tmp_path):
    path = write(tmp_path / "a", extra={"pictures": False})
    episode = load_episode(path)
    assert sorted(p.name for p in path.iterdir()) == ["actions.jsonl", "meta.json"]
    assert (episode.num_steps, len(episode.checksums)) == (T, T + 1)
    assert None not in episode.checksums
    with pytest.raises(EpisodeError, match="makes them again"):
        episode.frames()
