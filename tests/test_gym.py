"""A dream is a gymnasium environment like any other."""

import pytest
from worlds import make_world

import worldmodel

gymnasium = pytest.importorskip("gymnasium")


def test_it_passes_gymnasiums_own_checks(tmp_path):
    from gymnasium.utils.env_checker import check_env

    from worldmodel.gym import DreamEnv

    env = DreamEnv(worldmodel.Engine(worldmodel.load(make_world(tmp_path / "tiny")), device="cpu"), max_steps=5)
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    assert [env.step(env.action_space.sample())[3] for _ in range(5)] == [False] * 4 + [True]
