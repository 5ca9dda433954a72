"""A dream is a gymnasium environment like any other."""

import numpy as np
import pytest
from worlds import TURNING, make_world

import worldmodel
from worldmodel import Action

gymnasium = pytest.importorskip("gymnasium")


def test_it_passes_gymnasiums_own_checks(tmp_path):
    from gymnasium.utils.env_checker import check_env

    from worldmodel.gym import DreamEnv

    env = DreamEnv(worldmodel.Engine(worldmodel.load(make_world(tmp_path / "tiny")), device="cpu"), max_steps=5)
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    assert [env.step(env.action_space.sample())[3] for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.parametrize("kind", [{}, TURNING], ids=["plain", "turning"])
def test_dreams_of_a_batch_are_those_of_an_engine_each(tmp_path, kind):
    from worldmodel.batch import Dreams

    world = worldmodel.load(make_world(tmp_path / "tiny", **kind))
    dreams, engine = Dreams(world, 3, "cpu", dtype="float32"), worldmodel.Engine(world, "cpu", dtype="float32")
    moves = [Action(held, (float(x), 0.0)) for held in ({"forward"}, {"attack"}, set()) for x in range(-6, 6)]
    actions = np.stack([[world.actions.to_vector(moves[t + 12 * i]) for i in range(3)] for t in range(12)])
    dreams.reset([1, 0, 1], [5, 6, 7])
    frames = np.stack([dreams.step(one) for one in actions])  # (T, N, H, W, 3)
    engine.reset(start=0, seed=6)
    alone = np.stack([engine.step(move) for move in moves[12:24]])
    assert np.abs(frames[:, 1].astype(int) - alone).max() <= 1
    assert not np.array_equal(frames[:, 0], frames[:, 2])


def test_many_dreams_are_a_vector_environment(tmp_path):
    from worldmodel.batch import Dreams
    from worldmodel.gym import DreamVectorEnv

    world = worldmodel.load(make_world(tmp_path / "tiny"))
    env = DreamVectorEnv(Dreams(world, 3, "cpu"), max_steps=2)
    assert env.observation_space.contains(env.reset(seed=1)[0])
    frames, rewards, _, truncated, _ = env.step(env.action_space.sample())
    assert (frames.shape, rewards.tolist(), truncated.any()) == ((3, 16, 24, 3), [0.0] * 3, False)
    assert env.step(env.action_space.sample())[3].all()
