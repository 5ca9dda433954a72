"""CoinRun: equal seeds give equal levels, every button does what its name says, and no cut is hidden."""

import sys
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest

from worldmodel.action import Action
from worldmodel.env import EnvError
from worldmodel.games import open_game, player
from worldmodel.games.coinrun import INSTALL, CoinRun, Landscape, _shrunk

is_installed = all(map(find_spec, ("cffi", "gym3", "procgen")))
pytestmark = [pytest.mark.game, pytest.mark.skipif(not is_installed, reason=INSTALL)]
GAME = "coinrun"


@pytest.fixture
def unseen(game, monkeypatch):
    """The game without its pictures, which take most of its time."""
    monkeypatch.setattr(game, "_frame", lambda: None)
    return game


def run(game, steps, *buttons):
    for _ in range(steps):
        game.step(Action(buttons))
    return game.place()


def moments(game, config, seeds, steps):
    """Every step of some scripted episodes: the player's name, the action, the facts."""
    for seed in seeds:
        game.reset(seed=seed)
        name, act = player(game, config, seed)
        for _ in range(steps):
            action = act()
            game.step(action)
            yield name, action, game.facts()


def test_frames_have_the_size_and_rate_that_are_promised(game):
    frame = game.reset(seed=1)
    assert (frame.dtype, frame.shape, game.fps) == (np.uint8, (96, 96, 3), 15)
    assert frame.std() > 10


def test_left_and_right_walk_and_undo_each_other(unseen):
    unseen.reset(seed=2)
    start = unseen.place()
    right = run(unseen, 5, "right")
    left = run(unseen, 4, "left")
    assert start.x < left.x < right.x
    run(unseen, 8)
    still = unseen.place()
    assert run(unseen, 3, "left", "right") == still == run(unseen, 2, "jump", "down")


def test_a_jump_goes_up_and_comes_down_within_its_second(unseen):
    unseen.reset(seed=2)
    ground = unseen.place()
    assert run(unseen, 7, "jump").y > ground.y + 4
    assert run(unseen, 9).y == pytest.approx(ground.y)


def test_down_falls_through_the_crate_that_carries_the_alien(unseen, config):
    for *_, facts in moments(unseen, config, range(40), 150):
        _, y, _, vy = facts["place"]
        if vy == 0 and abs(height_after(unseen) - y) < 1e-3 and height_after(unseen, "down") < y - 0.1:
            return
    pytest.fail("nobody stood on a crate and fell through it")


def height_after(game, *buttons):
    """The height that a step would lead to."""
    now = game._state(game._game)
    game._act(Action(buttons))
    height = game.place().y
    game._game.call_c_func("set_state", 0, now, len(now))
    return height


def test_equal_seed_and_actions_give_equal_frames_also_after_another_episode(config, game):
    """The player tries out what it plans in the game itself; the replays do not, and that may leave no trace."""
    first, actions = [game.reset(seed=7)], []
    _, act = player(game, config, 7)
    for _ in range(80):
        actions.append(act())
        first.append(game.step(actions[-1]))
    game.reset(seed=8)
    other = open_game(config)
    for which in (game, other):
        again = [which.reset(seed=7)] + [which.step(action) for action in actions]
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other.close()


def test_every_start_and_seed_has_a_level_of_its_own(unseen):
    levels = set()
    for start, seed in ((0, 0), (1, 0), (0, 1), (0, 1_000_000), (0, 1_000_001)):
        unseen.reset(start=start, seed=seed)
        levels.add(unseen._beginning)
    assert len(levels) == 5


def test_a_death_leads_back_to_the_first_frame_of_the_level(game, config):
    for seed in range(40):
        first, before = game.reset(seed=seed), game.facts()
        _, act = player(game, config, seed)
        for _ in range(120):
            frame = game.step(act())
            if game.facts()["ended"] == "coin":
                break
            if game.facts() == before | {"ended": "death"}:
                assert np.array_equal(frame, first)
                return
    pytest.fail("nobody died in a first level")


def test_a_coin_leads_to_the_beginning_of_another_level(unseen, config):
    level = None
    for *_, facts in moments(unseen, config, range(60), 150):
        if facts["ended"] == "coin":
            assert facts["place"][:2] == [1.5, 1.579]
            assert facts["level"] != level
            return
        level = facts["level"]
    pytest.fail("nobody reached a coin")


def test_no_clock_ends_a_level(unseen):
    unseen.reset(seed=5)
    for _ in range(1100):
        unseen.step(Action())
        assert not unseen._ended


def test_players_use_every_button_stand_still_and_get_somewhere(unseen, config):
    held, who, ended, xs, n = Counter(), set(), Counter(), [], 12 * 150
    for name, action, facts in moments(unseen, config, range(12), 150):
        who.add(name)
        held.update(action.buttons or {"nothing"})
        ended[facts["ended"]] += 1
        xs.append(facts["place"][0])
    assert who == {"runner", "wild"}
    assert held["right"] > 0.4 * n
    assert min(held["left"], held["jump"], held["nothing"]) > 0.08 * n
    assert held["down"] > 0.01 * n
    assert ended["coin"] > 2
    assert np.mean(np.array(xs) > 8) > 0.12  # levels are short


def test_pictures_shrink_by_the_mean_of_squares():
    small = np.random.default_rng(0).integers(0, 255, (96, 64, 3), np.uint8)
    large = np.zeros((512, 512, 3), np.uint8)
    large[16:496, 96:416] = small.repeat(5, 0).repeat(5, 1)
    large[::5] += 1  # a fifth of the rows: less than half a shade
    assert np.array_equal(_shrunk(large, (96, 64)), small)


def test_landscapes_are_made_of_what_there_is():
    with pytest.raises(ValueError, match="no 'lawn'; choose one of dirt, grass"):
        Landscape(ground="lawn", background="blue_grass", alien="pink")


def test_without_procgen_the_error_says_how_to_get_it(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "gym3.libenv", None)
    with pytest.raises(EnvError, match="pip install --no-deps procgen-mirror"):
        CoinRun(config.coinrun, (96, 96))
