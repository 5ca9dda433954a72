"""The engine dreams what rollout dreams, and its past can be kept and returned to exactly."""

import shutil
import time
from functools import partial

import numpy as np
import pytest
import torch
from worlds import TURNING, add_big, make_world

import worldmodel
import worldmodel.engine
from worldmodel import Action
from worldmodel.action import ActionError
from worldmodel.bundle import WorldError
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import consistency, prefill, rollout
from worldmodel.env import Branching, Env, Rewindable

WORLDS = {
    "window": {},
    "key frames": {"far": 2, "every": 4},
    "compass": {"turns": (0.0, 0.0, 20.0)},
    "turning": TURNING,
}


@pytest.fixture(scope="module", params=WORLDS.values(), ids=WORLDS.keys())
def path(request, tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny", **request.param)


def engine(path, **options):
    return worldmodel.Engine(worldmodel.load(path), device="cpu", dtype="float32", **options)


def play(env, steps, first=0):
    """Some frames under a mixed, repeatable input."""
    held = [{"forward"}, {"attack"}, set(), {"forward", "attack"}]
    return [env.step(Action(held[i % 4], (float(i % 7 - 3), 0.0))) for i in range(first, first + steps)]


def same(ours, theirs):
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_it_is_an_env_and_can_go_back(path):
    env = engine(path)
    assert isinstance(env, Env)
    assert isinstance(env, Rewindable)
    assert isinstance(env, Branching)
    frame = env.reset(start=1, seed=4)
    assert (frame.dtype, frame.shape) == (np.uint8, (16, 24, 3))


@pytest.mark.parametrize("steps", [1, 2])
def test_it_dreams_what_rollout_dreams(path, steps):
    env = engine(path, steps=steps, merge=False)
    env.reset(start=0, seed=5)
    frames = play(env, 12)
    world = worldmodel.load(path)
    model, moves = world.model, torch.cat([torch.zeros(1, 1, 3), world.start_actions[:1]], 1)
    moves, cache = Compass.of(world.actions).along(moves), model.new_cache(1)
    with torch.inference_mode():
        prefill(model, cache, world.tokenizer.encode(world.start_frames[:1]), moves)
        held = [{"forward"}, {"attack"}, set(), {"forward", "attack"}]
        vectors = [world.actions.to_vector(Action(held[i % 4], (float(i % 7 - 3), 0.0))) for i in range(12)]
        actions = Compass.of(world.actions).along(torch.from_numpy(np.stack(vectors))[None], moves[:, -1:])
        noise = lambda t, k: frame_noise(5, t, k, (1, 1, *model.latent_shape))  # noqa: E731
        sampler = partial(consistency, noise_scale=world.noise_scale)
        latents = rollout(model, cache, actions, world.sigmas[steps], noise, sampler)
        expected = world.tokenizer.decode(latents[0])
    assert np.abs(np.stack(frames).astype(int) - expected.numpy()).max() <= 1  # the decoder's batch size rounds


def test_equal_start_seed_and_actions_give_equal_frames_and_another_seed_does_not(path):
    env = engine(path)
    env.reset(start=0, seed=1)
    first = play(env, 9)
    env.reset(start=0, seed=1)
    assert same(first, play(env, 9))
    env.reset(start=0, seed=2)
    assert not same(first, play(env, 9))


def test_merging_the_commit_changes_no_frame(path):
    plain, merged = engine(path, merge=False), engine(path, merge=True)
    for env in (plain, merged):
        env.reset(start=0, seed=1)
    difference = np.abs(np.stack(play(plain, 20)).astype(int) - np.stack(play(merged, 20)))
    assert difference.max() <= 1


def test_settling_early_changes_no_frame(path):
    lazy, eager = engine(path, merge=False), engine(path, merge=False)
    lazy.reset(start=0, seed=1)
    eager.reset(start=0, seed=1)
    ours, theirs = play(lazy, 10), []
    for i in range(10):
        theirs += play(eager, 1, i)
        eager.settle()
    assert same(ours, theirs)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("frames", [1, 7, 20, 45])
def test_a_rewind_is_as_if_the_frames_had_never_been(path, frames, merge):
    env = engine(path, merge=merge)
    env.reset(start=0, seed=1)
    before = play(env, 50)
    assert np.array_equal(env.rewind(frames), before[49 - frames])
    assert same(before[50 - frames :], play(env, frames, 50 - frames))


def test_a_rewind_beyond_the_start_ends_at_the_start(path):
    env = engine(path)
    start = env.reset(start=0, seed=1)
    before = play(env, 6)
    assert np.array_equal(env.rewind(99), start)
    assert same(before, play(env, 6))


def test_a_rewind_reaches_as_far_as_is_remembered_and_is_exact_there(path, monkeypatch):
    monkeypatch.setattr(worldmodel.engine, "REMEMBERED", 21)
    env = engine(path)
    env.reset(start=0, seed=1)
    before = play(env, 40)
    frame = env.rewind(env.reach()[0])
    back = next(i for i in range(40) if np.array_equal(frame, before[i]))
    assert back == 40 - 1 - 21
    assert same(before[back + 1 :], play(env, 39 - back, back + 1))


def test_beyond_the_exact_reach_the_frames_are_the_same_and_the_future_is_nearly(path, monkeypatch):
    monkeypatch.setattr(worldmodel.engine, "REMEMBERED", 21)
    env = engine(path)
    env.reset(start=0, seed=1)
    before = play(env, 60)
    reach = env.reach()[0]
    assert reach == 21
    assert np.array_equal(env.rewind(reach), before[59 - reach])  # exact, and then further, frame by frame
    for back in range(reach + 1, 31):
        assert np.array_equal(env.rewind(1), before[59 - back])
        assert env.reach()[0] == 0
    again = play(env, 30, 30)
    assert np.abs(again[0].astype(int) - before[30]).mean() < 20  # of 255; a random world forgets nothing
    assert env.reach()[0] >= 21  # 30 frames on, as far back as ever


def test_a_state_taken_after_an_approximate_rewind_goes_on_like_the_world_itself(path, monkeypatch):
    monkeypatch.setattr(worldmodel.engine, "REMEMBERED", 21)
    env, other = engine(path), engine(path)
    env.reset(start=0, seed=1)
    play(env, 60)
    env.rewind(40)
    other.load_state(env.state())
    assert same(play(env, 9, 20), play(other, 9, 20))


def test_a_rewind_past_all_that_is_known_ends_at_the_oldest_latent(path, monkeypatch):
    monkeypatch.setattr(worldmodel.engine, "REMEMBERED", 10)
    monkeypatch.setattr(worldmodel.engine, "FADED", 5)
    env = engine(path)
    env.reset(start=0, seed=1)
    before = play(env, 50)
    kept = 5 + 10 + env._cache.sight.reach + 1
    assert np.array_equal(env.rewind(99), before[50 - kept])
    play(env, 2)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("back", [0, 20])
def test_a_line_that_was_left_is_gone_on_with_as_if_nothing_had_been_between(path, back, merge):
    env = engine(path, merge=merge)
    env.reset(start=0, seed=1)
    before = play(env, 34)
    env.rewind(4)
    line = env.past()  # after 30 frames
    env.rewind(back)
    others = play(env, 12, 2)
    other = env.past()
    for _ in range(2):  # untouched by what comes after it
        assert np.array_equal(env.return_to(line), before[29])
        assert same(before[30:], play(env, 4, 30))
    env.return_to(line)
    assert np.array_equal(env.rewind(21), before[8])
    assert same(before[9:15], play(env, 6, 9))
    assert np.array_equal(env.return_to(other), others[-1])
    env.rewind(12)
    assert same(others, play(env, 12, 2))


def test_a_thinned_line_is_exact_for_its_newest_frames_and_nearly_so_before(path):
    env = engine(path)
    env.reset(start=0, seed=1)
    before = play(env, 60)
    line = env.thinned(env.past(), 13)
    assert line.exact == 13
    assert len(line.moments) == 13 + env._cache.sight.reach + 1
    env.reset(start=1, seed=2)
    env.return_to(line)
    assert env.reach() == (13, 59)
    assert np.array_equal(env.rewind(13), before[46])
    assert same(before[47:], play(env, 13, 47))
    env.return_to(line)
    assert np.array_equal(env.rewind(30), before[29])
    assert env.reach()[0] == 0


def test_what_if_shows_where_each_action_leads_and_stays_where_it_is(path):
    env = engine(path)
    env.reset(start=0, seed=1)
    play(env, 9)
    actions = [Action(), Action({"forward"}), Action({"attack"}, (9.0, 0.0))]
    frames = env.what_if(actions, 5)
    before = env.state()
    for action, frame in zip(actions, frames, strict=True):
        env.load_state(before)
        there = [env.step(action) for _ in range(5)][-1]
        assert np.abs(frame.astype(int) - there).max() <= 1  # a batch rounds differently
    env.load_state(before)
    assert same([env.step(Action())], [engine_at(path, before).step(Action())])


def engine_at(path, state):
    env = engine(path)
    env.load_state(state)
    return env


def test_a_state_of_another_shape_is_refused(path):
    env = engine(path)
    env.reset()
    state = env.state()
    state["cache"]["keys"][0] = state["cache"]["keys"][0][:, 1:]
    with pytest.raises(WorldError, match="does not fit"):
        env.load_state(state)


def test_decoding_is_timed_where_it_can_be_told_apart(path):
    env = engine(path)
    env.reset()
    play(env, 5)
    begun = time.perf_counter()
    play(env, 1)
    assert 0 < env.decode_s < time.perf_counter() - begun
    made = env.frames._eager[2]
    env.frames._compiled[2] = lambda *inputs: made(*inputs)  # as one piece
    play(env, 1)
    assert env.decode_s is None


def test_a_state_is_exact_also_in_a_new_engine(path):
    env = engine(path)
    env.reset(start=0, seed=1)
    play(env, 13)
    state = env.state()
    expected = play(env, 9, 13)
    other = engine(path)
    other.load_state(state)
    assert same(expected, play(other, 9, 13))


def test_a_state_of_another_world_is_refused(path):
    env = engine(path)
    env.reset()
    with pytest.raises(WorldError, match="another world"):
        env.load_state(env.state() | {"world": "0" * 64})


def test_a_state_of_another_tier_is_refused_with_the_tier_that_takes_it(path, tmp_path):
    tall = add_big(shutil.copytree(path, tmp_path / "tall"))
    small, big = (worldmodel.Engine(worldmodel.load(tall, tier), "cpu") for tier in ("default", "big"))
    for env in (small, big):
        env.reset()
        env.step(Action())
    with pytest.raises(WorldError, match="saved in tier big, not default: play with tier=big"):
        small.load_state(big.state())
    old = {key: value for key, value in small.state().items() if key != "tier"}  # from before there were tiers
    with pytest.raises(WorldError, match="play with tier=default"):
        big.load_state(old)
    assert np.array_equal(small.load_state(old), small.load_state(small.state()))


def test_a_world_can_begin_at_a_picture_or_after_real_play(path):
    env = engine(path)
    picture = np.full((16, 24, 3), 90, np.uint8)
    assert np.array_equal(env.reset(start=picture, seed=1), picture)
    film = np.random.default_rng(0).integers(0, 255, (4, 16, 24, 3), np.uint8)
    assert np.array_equal(env.reset(start=(film, [Action({"forward"})] * 3)), film[-1])
    play(env, 2)


def test_what_cannot_be_done_is_refused_in_words(path):
    env = engine(path)
    with pytest.raises(WorldError, match="starts 0 to 1"):
        env.reset(start=2)
    with pytest.raises(WorldError, match="noise levels for"):
        env.steps = 3
    with pytest.raises(WorldError, match="a start is"):
        env.reset(start=np.zeros((3, 3, 3), np.uint8))
    env.reset()
    with pytest.raises(ActionError, match="jump"):
        env.step(Action({"jump"}))


@pytest.mark.gpu
def test_a_gpu_dreams_nearly_what_the_cpu_dreams(path):
    cpu, gpu = engine(path), worldmodel.Engine(worldmodel.load(path), device="cuda", dtype="float32")
    for env in (cpu, gpu):
        env.reset(start=0, seed=1)
    difference = np.abs(np.stack(play(cpu, 4)).astype(int) - np.stack(play(gpu, 4)))
    assert np.median(difference) <= 1
