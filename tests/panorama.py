"""A toy game for the tests of evaluation: a view over noise that turns, and all that judges it.

Panorama                   the Env; forward darkens it, and moves its place
players, level             who plays it, and where it is
CONTROL, TIER              what can be done in it, and how much of it is played
"""

from functools import partial
from itertools import count

import numpy as np

from worldmodel.action import Action, ActionSpace
from worldmodel.evaluation.manifest import Beat, Family, ProbesConfig, Script, TierConfig, Turning
from worldmodel.evaluation.reference import Level

SPACE = ActionSpace(("forward", "turn_left", "turn_right"), (20.0, 0.0))
CONTROL = ProbesConfig(
    branch=[Script(buttons=["forward"], turn=0.0), Script(buttons=[], turn=8.0), Script(buttons=[], turn=-8.0)],
    families={"spin": Family(beats=[Beat(buttons=[], turn=12.0, steps=3)])},
    turning=Turning(left="turn_left", right="turn_right", key_degrees=5.0, is_view=True, look_degrees=15.0),
    labels=["forward"], stopped={"forward": 0.5}, started={}, torn_above=None, imitate=["swinger"],
    unseen={"night": {}}, context_seconds=None,
)  # fmt: skip
TIER = partial(
    TierConfig, seed=2_000_000, warm_up=2, context=3, horizon=9, episodes={"A": 5, "B": 2, "C": 2, "D": 2}, branches=2,
    branch_steps=4, long={6: 2, 11: 2},
    piloted={6: 2, 11: 0}, looks=2, angles=[90], diverse=[2, 3, 4],
)  # fmt: skip


class Panorama:
    """A view over noise that turns by seed; forward darkens it."""

    actions, fps, size_hw = SPACE, 5.0, (16, 24)

    def reset(self, *, start=0, seed=0):
        self.rng = np.random.default_rng([start, seed])
        self.wall = self.rng.integers(60, 256, (16, 400, 3)).astype(np.uint8)
        self.x, self.dark = 200, 0
        return self.frame()

    def step(self, action):
        self.x += round(action.mouse[0] / 4)
        self.dark = min(self.dark + 2 * ("forward" in action.buttons), 50)
        return self.frame()

    def frame(self):
        return self.wall[:, np.arange(self.x, self.x + 24) % 400] - np.uint8(self.dark)

    def close(self):
        pass


def players(seed):
    steps = count()
    return lambda: Action({"forward"} if next(steps) % 7 == 0 else (), (float(np.sin(next(steps) + seed)) * 19, 0.0))


def level(_name="", env=None):
    env = env or Panorama()
    return Level(env, players, lambda: (float(env.dark), 0.0))
