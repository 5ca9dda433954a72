"""Starts of a world: moments after which play goes on."""

import numpy as np

from train.export import is_cut

WIDE = np.random.default_rng(0).integers(0, 256, (32, 160, 3)).astype(np.uint8)


def scroll(frames, pixels=0):
    return np.stack([WIDE[:, t * pixels : t * pixels + 48] for t in range(frames)])


def test_a_picture_unlike_the_one_before_is_a_cut_and_a_fast_scroll_is_none():
    assert not is_cut(scroll(20, 5))
    assert is_cut(np.concatenate([scroll(10, 0), 255 - scroll(10, 0)]))
    assert not is_cut(scroll(1))
