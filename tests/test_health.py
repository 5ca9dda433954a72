"""Broken frames are known as broken, whole ones pass; strobing is calmed and play is not."""

import numpy as np
import pytest
import torch
from worlds import make_world

import worldmodel
from worldmodel.action import Action
from worldmodel.data.health import Vital, diagnosis
from worldmodel.ui.flash import MOST_FLASHES, FlashGuard

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(20, 230, (12, 20, 3), np.uint8)


class Dream:
    def __init__(self, largest):
        self.largest = largest

    def vitals(self):
        return self.largest


def test_a_picture_is_healthy():
    assert diagnosis(Dream(5.0), PICTURE) is None
    assert diagnosis(object(), PICTURE) is None


@pytest.mark.parametrize(
    ("largest", "frame", "reason"),
    [
        (float("nan"), PICTURE, "finite"),
        (float("inf"), PICTURE, "finite"),
        (1e4, PICTURE, "ran away"),
        (5.0, np.full_like(PICTURE, 255), "one colour"),
        (5.0, np.full_like(PICTURE, (10, 20, 30)), "one colour"),
        (5.0, RNG.choice(np.array([0, 255], np.uint8), PICTURE.shape), "noise"),
    ],
)
def test_a_broken_frame_is_known(largest, frame, reason):
    assert reason in diagnosis(Dream(largest), frame)


def test_an_engine_whose_network_breaks_is_found_out_in_the_same_step(tmp_path):
    world = worldmodel.load(make_world(tmp_path / "tiny"))
    engine = worldmodel.Engine(world, device="cpu", dtype="float32")
    assert isinstance(engine, Vital)
    engine.reset()
    assert np.isfinite(engine.vitals())
    engine.step(Action())
    good = engine.state()
    with torch.no_grad():
        weights = next(engine.model.parameters())
        kept = weights.clone()
        weights.fill_(float("nan"))
        frame = engine.step(Action())
        assert "finite" in diagnosis(engine, frame)
        weights.copy_(kept)
    engine.load_state(good)
    assert diagnosis(engine, engine.step(Action())) != "its numbers were no longer finite"


def brightness(frames):
    return np.array([frame.mean() / 255 for frame in frames])


def test_strobing_is_calmed_after_three_flashes():
    guard = FlashGuard()
    strobe = [np.full((8, 8, 3), 255 * (i % 2), np.uint8) for i in range(60)]
    shown = brightness([guard.calm(frame, i / 17.5) for i, frame in enumerate(strobe)])
    steps = np.abs(np.diff(shown))
    assert (steps > 0.5).sum() <= 2 * MOST_FLASHES + 1
    assert steps[20:].max() < 0.25


def test_a_slow_or_rare_change_passes_unchanged():
    guard = FlashGuard()
    for i in range(200):
        light = int(127 + 120 * np.sin(i / 17.5 * 2 * np.pi * 0.5))  # half a cycle a second
        frame = np.full((8, 8, 3), light, np.uint8)
        assert guard.calm(frame, i / 17.5) is frame
    assert guard.num_calmed == 0
