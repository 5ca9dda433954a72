"""Frames for which nothing is held may go through more noise levels than others: one rule wherever frames are made."""

from functools import partial

import numpy as np
import pytest
import torch
from tiny import SHAPE, B, Counting, clip, network, noise_table
from worlds import make_full_world, make_world

import worldmodel
from worldmodel import Action
from worldmodel.action import is_rest
from worldmodel.batch import Dreams
from worldmodel.diffusion.rollout import consistency, denoise_block, prefill, rollout
from worldmodel.evaluation.dreamer import Dreamer, decode, dream

ABOUT = {"steps": 1, "rest_steps": 2}
HELD = [{"forward"}, set(), set(), {"attack"}, set()]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny", about=ABOUT)


def engine(path, **options):
    env = worldmodel.Engine(worldmodel.load(path), device="cpu", dtype="float32", **options)
    env.reset(start=0, seed=5)
    return env


def play(env, steps):
    return np.stack([env.step(Action(HELD[i % 5])) for i in range(steps)])


def test_nothing_held_and_nothing_turned_is_rest():
    space = worldmodel.ActionSpace(("a", "b"), (20.0, 0.0))
    moves = [Action(), Action({"b"}), Action((), (-0.1, 0.0))]
    assert is_rest(np.stack([space.to_vector(move) for move in moves])).tolist() == [True, False, False]


def test_each_row_of_a_batch_goes_through_its_own_levels():
    model, cache = network(), network().new_cache(B)
    prefill(model, cache, *clip(2))
    action, noise = clip(1)[1], torch.randn(3, B, 1, *SHAPE)
    sigmas, passes = [1.0, 0.7, 0.4], torch.tensor([1, 3])
    with torch.no_grad():
        mixed = denoise_block(model, cache, action, sigmas, noise.__getitem__, passes=passes)
        for row, count in enumerate(passes.tolist()):
            alone = denoise_block(model, cache, action, sigmas[:count], noise.__getitem__)
            torch.testing.assert_close(mixed[row], alone[row])


def test_a_batch_pays_for_its_longest_row_frame_by_frame():
    model, noise = network(), noise_table(3, 2)
    cache, counting = model.new_cache(B), Counting(model)
    passes = torch.ones(B, 3, dtype=torch.int64)
    passes[0, 1] = 2
    rollout(counting, cache, clip(3)[1], [1.0, 0.5], noise, passes=passes)
    assert counting.calls == (1 + 1) + (2 + 1) + (1 + 1)


@pytest.mark.parametrize("merge", [True, False])
def test_an_engine_takes_the_steps_of_rest_where_nothing_is_held(path, merge):
    env, plain = engine(path, merge=merge), engine(path, merge=merge)
    for i in range(12):
        plain.steps = 1 if HELD[i % 5] else 2
        assert np.array_equal(env.step(Action(HELD[i % 5])), plain.step(Action(HELD[i % 5])))
    assert env.steps == 1


def test_who_asks_for_more_steps_has_them_at_rest_as_well(path):
    env, plain = engine(path, steps=2), engine(make_world(path.with_name("plain")), steps=2)
    assert np.array_equal(play(env, 8), play(plain, 8))


def test_what_if_dreams_what_play_would(path):
    for held in (set(), {"forward"}):
        env = engine(path)
        play(env, 7)
        ahead = env.what_if([Action(held), Action({"attack"})], 3)[0]
        last = [env.step(Action(held)) for _ in range(3)][-1]
        assert np.abs(ahead.astype(int) - last).max() <= 1


def test_a_dreamer_dreams_what_an_engine_plays(path):
    env, world = engine(path), worldmodel.load(path)
    frames = play(env, 9)
    dreamer = Dreamer(
        model=world.model, tokenizer=world.tokenizer, sigmas=world.sigmas[1], rest_sigmas=world.sigmas[2], batch=2,
        sampler=partial(consistency, noise_scale=world.noise_scale),
    )  # fmt: skip
    moves = np.stack([world.actions.to_vector(Action(HELD[i % 5])) for i in range(9)])
    told = np.concatenate([np.zeros((1, 3), np.float32), world.start_actions[0].numpy(), moves])[None]
    ticked = []
    dreamer.tick = ticked.append
    shown = decode(dreamer, dream(dreamer, world.start_frames[:1].numpy(), told, [5])[0])
    assert np.abs(shown.astype(int) - frames).max() <= 1
    assert sum(ticked) == 9 + sum(not HELD[i % 5] for i in range(9))


def test_levels_of_rest_begin_with_those_of_play(path):
    world = worldmodel.load(path)
    with pytest.raises(ValueError, match="must begin with"):
        Dreamer(model=world.model, tokenizer=world.tokenizer, sigmas=[1.0, 0.5], rest_sigmas=[1.0, 0.4, 0.2], batch=1,
                sampler=consistency)  # fmt: skip


@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_dreams_of_a_batch_rest_each_for_itself(tmp_path, backend):
    world = worldmodel.load(make_full_world(tmp_path / "full", about=ABOUT))
    try:
        dreams = Dreams(world, 2, "cpu", dtype="float32", backend=backend)
    except worldmodel.WorldError as error:
        pytest.skip(str(error))
    dreams.reset([0, 0], [5, 5])
    moves = [[world.actions.to_vector(Action(HELD[(i + k) % 5])) for k in range(2)] for i in range(10)]
    ours = np.stack([dreams.step(np.stack(pair)) for pair in moves])[:, 0]
    alone = play(engine(world.path), 10)
    assert np.abs(ours.astype(int) - alone).max() <= 1
