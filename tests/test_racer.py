"""The racer: equal seeds give equal roads, every control does what its name says, and drivers stay on the road."""

import numpy as np
import pytest

from worldmodel.action import Action
from worldmodel.games import open_game, player

pytest.importorskip("Box2D", reason="driving needs Box2D: pip install -e .[games]")
pytest.importorskip("gymnasium", reason="driving needs gymnasium: pip install -e .[games]")
pytestmark = pytest.mark.game
GAME = "racer"


def run(game, steps, *buttons, mouse=0.0):
    for _ in range(steps):
        game.step(Action(buttons, (mouse, 0.0)))
    return game.drive()


def test_frames_have_the_size_and_rate_that_are_promised(game):
    frame = game.reset(seed=1)
    assert (frame.dtype, frame.shape, game.fps) == (np.uint8, (96, 96, 3), pytest.approx(16.667, abs=1e-3))


def test_gas_drives_forward_and_brake_stops(game):
    game.reset(seed=2)
    first = game.drive()
    fast = run(game, 12, "gas")
    nose = np.array((-np.sin(first.heading), np.cos(first.heading)))
    assert nose @ (fast.x - first.x, fast.y - first.y) > 5
    assert fast.speed > 15
    assert run(game, 25, "brake").speed < 1


@pytest.mark.parametrize(("button", "mouse"), [("left", -5.0), ("right", 5.0)])
def test_keys_and_mouse_turn_the_car_to_the_side_they_name(game, button, mouse):
    for buttons, degrees in (({button}, 0.0), (set(), mouse)):
        game.reset(seed=2)
        before = run(game, 8, "gas")
        after = run(game, 5, *buttons, mouse=degrees)
        assert np.sign(before.heading - after.heading) == np.sign(mouse) == np.sign(after.wheel)


def test_a_wheel_let_go_straightens_and_a_mouse_brings_it_anywhere(game, config):
    game.reset(seed=3)
    assert run(game, 12, "right").wheel == config.racer.lock_degrees
    assert abs(run(game, 12).wheel) < 3
    for degrees in (11.0, -7.0, -20.0):
        assert run(game, 1, mouse=game.steer_to(degrees)).wheel == pytest.approx(degrees)


def test_equal_seed_and_actions_give_equal_frames_also_after_another_episode(config, game):
    def film(which, seed):
        first = which.reset(seed=seed)
        _, act = player(which, config, seed)
        return [first] + [which.step(act()) for _ in range(40)]

    first = film(game, 7)
    film(game, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, film(game, 7), strict=True))
    other = open_game(config)
    assert all(np.array_equal(a, b) for a, b in zip(first, film(other, 7), strict=True))
    other.close()


def test_every_seed_has_a_road_of_its_own(game):
    roads = set()
    for seed in (0, 1, 2, 1_000_000, 1_000_001):
        game.reset(seed=seed)
        roads.add(game.track.tobytes())
    assert len(roads) == 5


def test_drivers_get_round_on_the_road_and_come_back_from_their_mistakes(game, config, monkeypatch):
    monkeypatch.setattr(game, "_frame", lambda: None)  # nobody looks: ten times as fast
    off, places, used, mouse, n = [], 0, set(), 0, 12
    for seed in range(n):
        game.reset(seed=seed)
        name, act = player(game, config, seed)
        seen = set()
        for _ in range(250):
            action = act()
            game.step(action)
            away = np.linalg.norm(game.track - game.drive()[:2], axis=1)
            seen.add(int(away.argmin()))
            used |= action.buttons
            mouse += action.mouse[0] != 0
            assert away.min() < 100
            if name == "driver":
                off.append(away.min() > 7)
        places += len(seen)
    assert used == set(game.actions.buttons)
    assert mouse > 0.2 * n * 250
    assert 0.01 < np.mean(off) < 0.3
    assert places / n > 60
