"""The motion of a view is measured to a fraction of a pixel, and what stands still in it has no say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from worldmodel.evaluation.motion import KINDS, view_motion


def film(moves, size=(48, 64), hide=False):
    """A view of smooth noise; moves: (a, b, c, d, e, f) a step, in half pictures. Grey uint8 (T, 48, 64)."""
    noise = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(3))
    wide = F.interpolate(noise, (240, 320), mode="bicubic").clamp(0, 1)
    way, frames = torch.eye(3), []
    for move in [(0.0,) * 6, *moves]:
        a, b, c, d, e, f = move
        way = torch.linalg.inv(torch.tensor([[1 + b, c, a], [e, 1 + f, d], [0, 0, 1]])) @ way if any(move) else way
        grid = F.affine_grid((way[:2] / 4)[None], [1, 1, *size], align_corners=False)
        frames.append((F.grid_sample(wide, grid, align_corners=False)[0, 0] * 255).round().byte())
    grey = torch.stack(frames)
    if hide:
        grey[:, 18:30, 24:40] = 40  # something in the middle that moves with nobody
    return grey


@pytest.mark.parametrize("hide", [False, True])
def test_a_shift_of_a_tenth_of_a_pixel_is_measured(hide):
    shifts = [0.1, -0.3, 1.5, 4.0]  # pixels of 64
    motion = view_motion(film([(s / 32, 0, 0, 0, 0, 0) for s in shifts], hide=hide))
    assert motion.shape == (4, KINDS)
    np.testing.assert_allclose(motion[:, 0] * 32, shifts, atol=0.04 if hide else 0.03)
    np.testing.assert_allclose(motion[:, 3] * 24, 0, atol=0.04)


def test_turning_and_coming_nearer_are_told_apart():
    turned, nearer = view_motion(film([(0, 0, -0.04, 0, 0.04, 0), (0, 0.05, 0, 0, 0, 0.05)]))
    np.testing.assert_allclose(turned[[1, 2, 4, 5]], [0, -0.04, 0.04, 0], atol=0.006)
    np.testing.assert_allclose(nearer[[1, 2, 4, 5]], [0.05, 0, 0, 0.05], atol=0.006)


def test_what_no_motion_explains_is_left_and_a_blank_picture_stands_still():
    cut = torch.cat([film([]), film([(0.9, 0, 0, 0.9, 0, 0)])[1:].flip(1)])
    left = [float(view_motion(clip)[0, 6]) for clip in (film([(0.05, 0, 0, 0, 0, 0)]), cut)]
    assert 10 * left[0] < left[1]
    assert view_motion(torch.full((3, 48, 64), 90, dtype=torch.uint8)).abs().max() == 0
