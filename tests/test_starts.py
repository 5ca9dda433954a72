"""Starts of a world: calm moments with much to see, after which play goes on."""

import numpy as np
import pytest

from train.starts import choose_starts, is_cut
from worldmodel.action import Action, ActionSpace
from worldmodel.data.clips import DatasetError
from worldmodel.data.episode import Meta
from worldmodel.data.writer import EpisodeWriter

WIDE = np.random.default_rng(0).integers(0, 256, (32, 160, 3)).astype(np.uint8)
CONTEXT = 4


def scroll(frames, pixels=0):
    return np.stack([WIDE[:, t * pixels : t * pixels + 48] for t in range(frames)])


def test_a_picture_unlike_the_one_before_is_a_cut_and_a_fast_scroll_is_none():
    assert not is_cut(scroll(20, 5))
    assert is_cut(np.concatenate([scroll(10, 0), 255 - scroll(10, 0)]))
    assert not is_cut(scroll(1))


def play(root, name, player, frames, split="train"):
    meta = Meta(source="real", game="x", fps=10.0, size_hw=(32, 48), action_space=ActionSpace(("go",), (0.0, 0.0)),
                player=player, split=split)  # fmt: skip
    writer = EpisodeWriter(root / "episodes" / name, meta, crf=None)
    writer.first(frames[0])
    for frame in frames[1:]:
        writer.add(Action({"go"}), frame)
    writer.close()


def test_starts_are_calm_colourful_and_unlike_each_other(tmp_path):
    noise = np.random.default_rng(1)
    rooms = [noise.integers(0, 256, (32, 48, 3)).astype(np.uint8) for _ in range(3)]
    for i, room in enumerate(rooms):
        play(tmp_path, f"calm-{i}", "walker", np.stack([room] * 20))
        play(tmp_path, f"fight-{i}", "walker", np.stack([room, 255 - room] * 10))
        play(tmp_path, f"grey-{i}", "walker", np.full((20, 32, 48, 3), 40 + i, np.uint8))
    play(tmp_path, "unseen", "walker", np.stack([rooms[0]] * 20), split="heldout")
    chosen = [episode.path.name for episode, _ in choose_starts(str(tmp_path), 2, CONTEXT, None)]
    assert len(set(chosen)) == 2
    assert all(name.startswith("calm") for name in chosen)


def test_starts_are_of_the_players_asked_for(tmp_path):
    for player in ("walker", "human"):
        for i in range(3):
            play(tmp_path, f"{player}-{i}", player, scroll(20, i + 1))
    chosen = choose_starts(str(tmp_path), 2, CONTEXT, ["human"])
    assert {episode.meta.player for episode, _ in chosen} == {"human"}
    with pytest.raises(DatasetError, match="nobody"):
        choose_starts(str(tmp_path), 2, CONTEXT, ["nobody"])
