"""Starts of a world: moments after which play goes on. Its card: who played."""

import numpy as np

from train.export import is_cut, played
from worldmodel.action import ActionSpace
from worldmodel.data.episode import Meta

WIDE = np.random.default_rng(0).integers(0, 256, (32, 160, 3)).astype(np.uint8)


def scroll(frames, pixels=0):
    return np.stack([WIDE[:, t * pixels : t * pixels + 48] for t in range(frames)])


def test_a_picture_unlike_the_one_before_is_a_cut_and_a_fast_scroll_is_none():
    assert not is_cut(scroll(20, 5))
    assert is_cut(np.concatenate([scroll(10, 0), 255 - scroll(10, 0)]))
    assert not is_cut(scroll(1))


def test_a_card_tells_scripted_play_from_human_play():
    def meta(player, num_steps):
        space = ActionSpace(("a",), (0.0, 0.0))
        return Meta(source="real", game="x", fps=10.0, size_hw=(3, 5), action_space=space, player=player,
                    num_steps=num_steps)  # fmt: skip

    walks = [meta("walker", 18_000), meta("sticky", 36_000)]
    assert played(walks) == "1.5 hours of scripted play (episodes: 2)"
    text = "1.5 hours of scripted play (episodes: 2) and 0.2 hours of human play (episodes: 1)"
    assert played([*walks, meta("human", 7_200)]) == text
