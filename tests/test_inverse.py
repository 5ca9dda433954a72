"""The judge of control reads what was done, and its figures fall with every rung of corruption."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from films import blurred, frozen, noisy, panning, shuffled
from panorama import CONTROL, SPACE

from worldmodel.action import Action, ActionSpace
from worldmodel.evaluation.distances import kernel_distance
from worldmodel.evaluation.inverse import (
    Inverse,
    InverseConfig,
    Lesson,
    Lessons,
    f1_counts,
    fidelity,
    inner,
    labels,
    macro_f1,
    motion_scale,
    read,
    seen,
    shrunk,
    windows,
)  # fmt: skip
from worldmodel.evaluation.judges import load_judge, save_judge
from worldmodel.evaluation.motion import view_motion

CONFIG = InverseConfig(size_hw=[16, 32], widths=[12, 12, 12, 12], motion=20, features=16)


def films(seeds):
    """Films (E, 31, 40, 64, 3) that pan, and what was done at each frame (E, 31, 2): left, right."""
    clips, truth = [], []
    for seed in seeds:
        ways = np.random.default_rng(seed).choice([-1, 0, 1], 15).repeat(2)
        clips.append(panning((4 * ways).tolist(), seed % 20))
        truth.append(np.stack([ways < 0, ways > 0], 1))
    none = np.zeros((len(clips), 1, 2), bool)
    return np.stack(clips), np.concatenate([none, np.stack(truth)], 1)


@pytest.fixture(scope="module")
def judge():
    """Learnt in some seconds: pans of smooth noise."""
    return learnt(CONFIG)


def learnt(config):
    torch.manual_seed(0)
    clips, truth = films(range(20))
    grey = [shrunk(clip, CONFIG.size_hw) for clip in clips]
    wanted = [torch.from_numpy(t).float() for t in inner(truth)]
    lessons = [Lesson(g, view_motion(g), t, torch.ones(t.shape)) for g, t in zip(grey, wanted)]
    batches, inverse = Lessons(lessons, 0), Inverse(config, ["left", "right"])
    inverse.scale.copy_(motion_scale(lessons))
    optimizer = torch.optim.AdamW(inverse.parameters(), 3e-3)
    for step in range(150):
        frames, motion, wanted, _ = batches.batch(step, 48)
        loss = F.binary_cross_entropy_with_logits(inverse(frames, motion), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return inverse.eval().requires_grad_(False)


def counts(judge, spoil=lambda clip: clip, *, roll=0):
    clips, truth = films(range(100, 112))
    told, _ = read(judge, np.stack([spoil(clip) for clip in clips]))
    truth = inner(np.roll(truth, roll, 0))
    return f1_counts(told, truth, np.ones(truth.shape, bool))


def f1(judge, *args, **kwargs):
    return float(macro_f1(counts(judge, *args, **kwargs).sum(0)[None])[0])


def test_it_reads_films_it_never_saw(judge):
    assert f1(judge) > 0.9


def test_motion_alone_reads_films_and_falls_with_noise_and_to_nothing_when_frozen():
    blind = learnt(replace(CONFIG, widths=[]))
    scores = [f1(blind, lambda clip, rung=rung: noisy(clip, rung)) for rung in (0, 100, 400)]
    assert scores[0] > 0.9
    assert scores[0] > scores[1] + 0.02 > scores[2] + 0.04
    assert f1(blind, roll=1) < 0.5
    assert f1(blind, frozen) == 0


@pytest.mark.parametrize(("spoil", "rungs"), [(noisy, (0, 60, 250)), (blurred, (3, 9, 13))])
def test_f1_falls_with_every_rung(judge, spoil, rungs):
    scores = [f1(judge, lambda clip, rung=rung: spoil(clip, rung)) for rung in rungs]
    assert scores[0] > scores[1] + 0.02
    assert scores[1] > scores[2] + 0.02


def test_f1_falls_to_chance_with_frozen_reversed_or_shuffled_time_and_with_other_actions(judge):
    chance = f1(judge, roll=1)
    assert chance < 0.5
    assert f1(judge, frozen) == 0
    assert f1(judge, lambda clip: clip[::-1].copy()) < 0.5
    assert f1(judge, shuffled) < 0.6


def test_fidelity_is_one_for_reconstructions_zero_for_chance_and_falls_between(judge):
    best, chance = counts(judge), counts(judge, roll=1)
    spoilt = [counts(judge, lambda clip, d=d: noisy(clip, d)) for d in (60, 250)]
    scores = [fidelity(part, best, chance).value for part in (best, *spoilt, chance)]
    assert (scores[0], scores[-1]) == (1, 0)
    assert scores[0] > scores[1] > scores[2]


def test_kernel_distance_of_its_features_finds_spoilt_films(judge):
    clips, _ = films(range(100, 112))
    felt = read(judge, clips)[1]
    floor = kernel_distance(felt, felt)
    rungs = [kernel_distance(read(judge, noisy(clips, d))[1], felt).value for d in (30, 80, 200)]
    assert floor.value < rungs[0] < rungs[1] < rungs[2]
    assert floor.high < rungs[2]
    assert kernel_distance(read(judge, np.stack([frozen(c) for c in clips]))[1], felt).value > floor.high


def test_windows_stand_around_the_frame_that_an_action_led_to():
    grey = torch.arange(11, dtype=torch.uint8)[:, None, None].expand(11, 2, 3)
    cut, motion = windows(grey, torch.arange(10.0)[:, None].expand(10, 7))
    assert (cut.shape, motion.shape) == ((3, 4, 2, 3), (3, 8, 7))
    np.testing.assert_array_equal(((cut[1, :, 0, 0] + 1) * 127.5).round(), [3, 4, 5, 6])  # its action led to 5
    np.testing.assert_array_equal(motion[1, :, 6], np.arange(1, 9))  # pair k leads from frame k to k + 1
    assert inner(np.arange(11)[None]).tolist() == [[4, 5, 6]]


def test_labels_are_buttons_and_turns_by_keys_and_mouse():
    actions = [Action({"forward"}), Action({"turn_left"}), Action({"turn_left"}, (8, 0)), Action((), (1.5, 0))]
    vectors = np.stack([SPACE.to_vector(action) for action in actions])
    assert CONTROL.label_names == ["forward", "left", "right"]
    wanted = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert labels(vectors, SPACE, CONTROL).astype(int).tolist() == wanted


def test_a_wall_hides_what_was_done_and_an_unknown_place_hides_nothing():
    space = ActionSpace(("forward",))
    actions = np.asarray([[1.0], [1], [1], [0]])
    control = replace(CONTROL, turning=None)
    places = np.asarray([[0.0, 0], [3, 0], [3.1, 0], [3.1, 0]])
    assert seen(actions, places, space, control)[:, 0].tolist() == [True, True, False, True]
    assert seen(actions, places * np.nan, space, control).all()


def test_a_jump_shows_only_where_the_way_up_begins():
    space = ActionSpace(("jump",))
    control = replace(CONTROL, turning=None, labels=["jump"], stopped={}, started={"jump": [0.0, 0.2]})
    actions = np.asarray([[0.0], [0], [1], [1], [1], [0]])  # held in mid-air twice, then let go
    places = np.asarray([[0, 1.0], [1, 1], [2, 2.5], [3, 3.8], [4, 4.9], [5, 5.8]])
    assert seen(actions, places, space, control)[:, 0].tolist() == [True, True, True, False, False, True]
    torn = replace(control, torn_above=1.7)  # the jump's own step goes farther
    assert seen(actions, places, space, torn)[:, 0].tolist() == [True, True, False, False, False, True]


def test_a_turn_that_is_hardly_one_is_neither_and_hides_no_other_label():
    actions = np.stack([SPACE.to_vector(Action((), (degrees, 0))) for degrees in (0.9, 1.5, -3.9, 4.1)])
    mask = seen(actions, np.zeros((4, 2)), SPACE, CONTROL)
    assert mask.tolist() == [[True] * 3, [True, False, False], [True, False, False], [True] * 3]


def test_f1_counts_what_is_masked_in_and_labels_that_occur():
    told = np.asarray([[[0.9, 0.1], [0.2, 0.9], [0.9, 0.9]]])
    truth, mask = np.asarray([[[1, 0], [1, 0], [1, 0]]]), np.asarray([[[True] * 2, [True] * 2, [False] * 2]])
    part = f1_counts(told, truth, mask)
    assert part.tolist() == [[[1, 0, 1], [0, 1, 0]]]
    assert macro_f1(part).tolist() == [pytest.approx(2 / 3)]


def test_it_comes_back_from_its_file(judge, tmp_path):
    save_judge(tmp_path / "inverse.safetensors", judge)
    back, frames = (
        load_judge(tmp_path / "inverse.safetensors", Inverse, InverseConfig),
        (torch.randn(3, 4, 16, 32), torch.randn(3, 8, 7)),
    )
    assert back.names == judge.names
    torch.testing.assert_close(back(*frames), judge(*frames))
