"""The real game: equal seeds give equal worlds, and every control does what its name says."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from worldmodel.action import Action
from worldmodel.compass import Compass
from worldmodel.config import load_yaml, typed
from worldmodel.data.rerun import Rerun
from worldmodel.games import GameConfig, open_game
from worldmodel.games.doom import MONSTERS, _walls
from worldmodel.games.players import PlayersConfig, mix

pytest.importorskip("vizdoom")
pytestmark = pytest.mark.game
PLAYERS = PlayersConfig(
    walker=0.5,
    sticky=0.5,
    astray=0.0,
    idle=0.1,
    idle_steps=[4, 25],
    look=0.3,
    glance=0.1,
    steady=False,
    strafe=0.2,
    doors=False,
)
GAME = "doom_garden"


def moved(game, action, steps=6):
    """Distance along and across the first view, in map units, and the turn to the right in degrees."""
    first = game.pose()
    for _ in range(steps):
        game.step(action)
    last = game.pose()
    way = np.radians(first.angle)
    dx, dy = last.x - first.x, last.y - first.y
    along, right = dx * np.cos(way) + dy * np.sin(way), dx * np.sin(way) - dy * np.cos(way)
    return along, right, (first.angle - last.angle + 180) % 360 - 180


def open_place(game):
    """Reset to a seed with room on all sides."""
    for seed in range(40):
        game.reset(seed=seed)
        if all(abs(moved(game, Action({b}), 5)[i]) > 20 for b, i in (("forward", 0), ("strafe_left", 1))):
            game.reset(seed=seed)
            return
    raise AssertionError("no open place found")


def test_frames_have_the_size_and_rate_that_are_promised(game):
    frame = game.reset(seed=1)
    assert (frame.dtype, frame.shape, game.size_hw, game.fps) == (np.uint8, (96, 128, 3), (96, 128), 17.5)


@pytest.mark.parametrize(
    ("button", "axis", "sign"), [("forward", 0, 1), ("backward", 0, -1), ("strafe_right", 1, 1), ("strafe_left", 1, -1)]
)
def test_legs_walk_where_their_name_says(game, button, axis, sign):
    open_place(game)
    way = moved(game, Action({button}))
    assert way[axis] * sign > 15
    assert abs(way[1 - axis]) < 5


def test_mouse_and_turn_keys_turn_by_exact_degrees(game, config):
    game.reset(seed=2)
    assert moved(game, Action(mouse=(3.5, 0.0)), 4)[2] == pytest.approx(14.0, abs=0.1)
    assert moved(game, Action(mouse=(-0.5, 0.0)), 4)[2] == pytest.approx(-2.0, abs=0.1)
    assert moved(game, Action({"turn_right"}), 2)[2] == pytest.approx(2 * config.doom.turn_degrees, abs=0.1)


def test_an_attack_shows(game):
    game.reset(seed=2)
    idle = game.step(Action())
    flashes = [np.abs(game.step(Action({"attack"})).astype(int) - idle).max() for _ in range(8)]
    assert max(flashes) > 60


def test_equal_seed_and_actions_give_equal_frames_also_after_another_episode(config, game):
    def film(which, seed):
        _, player = mix(which, PLAYERS, seed)
        return [which.reset(seed=seed)] + [which.step(player.act(which)) for _ in range(40)]

    first = film(game, 7)
    film(game, 8)
    assert all(np.array_equal(a, b) for a, b in zip(first, film(game, 7), strict=True))
    other = open_game(config)
    assert all(np.array_equal(a, b) for a, b in zip(first, film(other, 7), strict=True))
    other.close()
    assert not np.array_equal(first[0], film(game, 9)[0])


def test_a_spectre_looks_the_same_again(game):
    """The engine's fuzz goes on from where the last one that it drew ended."""

    def film(*commands):
        game.reset(seed=7)
        for command in commands:
            game._game.send_game_command(command)
        return np.stack([game.step(Action()) for _ in range(12)])

    first = film("summon Spectre")
    assert not np.array_equal(first, film())
    assert all(np.array_equal(first, film("summon Spectre")) for _ in range(2))


def test_a_walker_gets_around_and_uses_what_it_has(game):
    walker = dataclasses.replace(PLAYERS, walker=1.0, sticky=0.0)
    game.reset(seed=3)
    _, player = mix(game, walker, 3)
    places, used, mouse = set(), set(), 0
    for _ in range(600):
        action = player.act(game)
        game.step(action)
        pose = game.pose()
        places.add((pose.x // 128, pose.y // 128))
        used |= action.buttons
        mouse += action.mouse[0] != 0
    assert len(places) >= 20
    assert used == set(game.actions.buttons)
    assert mouse > 100


@pytest.fixture(scope="module")
def levels():
    config = typed(GameConfig, load_yaml("conf/game/doom.yaml"))
    game = open_game(config, watch=True)
    yield config, game
    game.close()


def test_a_seed_chooses_the_level_and_frames_are_the_middle_of_the_picture(levels):
    config, game = levels
    seen = {}
    for seed in range(20):
        frame = game.reset(seed=seed)
        seen[seed] = (game._level, frame)
        assert frame.shape == (120, 160, 3)
        assert frame.std() > 3
    assert {level for level, _ in seen.values()} == {*config.doom.levels, *config.doom.plans()}
    assert np.array_equal(game.reset(seed=3), seen[3][1])


def test_the_easiest_skill_has_fewer_monsters(levels):
    config, easy = levels
    with pytest.raises(ValueError, match=r"doom\.skill must be 1 to 5"):
        dataclasses.replace(config.doom, skill=0)

    def monsters(game):
        game.reset(seed=next(seed for seed in range(20) if config.doom.level(seed) == config.doom.levels[0]))
        return sum(thing.name in MONSTERS for thing in game._game.get_state().objects)

    hard = open_game(dataclasses.replace(config, doom=dataclasses.replace(config.doom, skill=4)))
    assert 0 < monsters(easy) < monsters(hard)
    hard.close()


@pytest.mark.parametrize("steps", [[3, 4], [30, 31]])
def test_pauses_are_as_long_as_the_settings_say(game, steps):
    rests = {"idle": 1.0, "idle_steps": steps, "look": 0.0, "glance": 0.0, "strafe": 0.0}
    idler = dataclasses.replace(PLAYERS, walker=1.0, sticky=0.0, **rests)
    game.reset(seed=3)
    _, player = mix(game, idler, 3)
    player.act(game)
    assert (player.mood, player.mood_left) == ("idle", steps[0] - 1)


@pytest.mark.parametrize("steps", [[4], [0, 4], [4, 4]])
def test_pauses_that_make_no_sense_are_refused(steps):
    with pytest.raises(ValueError, match="idle_steps"):
        dataclasses.replace(PLAYERS, idle_steps=steps)


@pytest.mark.parametrize(("monster", "steady", "returns"), [(None, False, 4), (20.0, True, 4), (20.0, False, 0)])
def test_a_glance_turns_away_and_back(game, monkeypatch, monster, steady, returns):
    only = {"walker": 1.0, "sticky": 0.0, "idle": 0.0, "look": 0.0, "glance": 1.0, "strafe": 0.0, "steady": steady}
    monkeypatch.setattr(game, "target", lambda: monster)
    game.reset(seed=3)
    _, player = mix(game, dataclasses.replace(PLAYERS, **only), 3)
    came_back = 0
    for _ in range(4):
        before, views = game.pose().angle, []
        while not views or player.mood_left:
            game.step(player.act(game))
            views.append((game.pose().angle - before + 180) % 360 - 180)
        came_back += abs(views[-1]) < 2 and np.abs(views).max() > 25
    assert came_back == returns


def test_who_is_astray_acts_alike_wherever_it_is_and_meets_more_walls(game):
    def episode(share, seed):
        _, player = mix(game, dataclasses.replace(PLAYERS, walker=1.0 - share, sticky=0.0, astray=share, idle=0.0), 3)
        game.reset(seed=seed)
        actions, blocked = [], 0
        for _ in range(300):
            before, action = game.pose(), player.act(game)
            game.step(action)
            way = np.hypot(game.pose().x - before.x, game.pose().y - before.y)
            blocked += "forward" in action.buttons and way < 2
            actions.append(action)
        return actions, blocked

    strays, walks = ([episode(share, seed) for seed in range(4)] for share in (1.0, 0.0))
    assert all(actions == strays[0][0] for actions, _ in strays)
    assert sum("forward" in action.buttons for action in strays[0][0]) > 100
    assert sum(blocked for _, blocked in strays) > 3 * sum(blocked for _, blocked in walks) + 20


def test_in_a_real_level_a_walker_gets_around_fights_and_opens(levels):
    config, game = levels
    walker = dataclasses.replace(config.doom.players, walker=1.0, sticky=0.0)
    used, places, monsters = set(), 0, 0
    for seed in range(4):
        game.reset(seed=seed)
        _, who = mix(game, walker, seed)
        seen = set()
        for _ in range(150):
            action = who.act(game)
            game.step(action)
            used |= action.buttons
            monsters += game.target() is not None
            seen.add((game.pose().x // 128, game.pose().y // 128))
        places += len(seen)
    assert {"forward", "attack", "use"} <= used
    assert places >= 12
    assert monsters > 20


def test_a_target_stays_where_it_stands_when_the_view_turns(levels):
    config, game = levels
    walker = dataclasses.replace(config.doom.players, walker=1.0, sticky=0.0)
    game.reset(seed=0)
    _, who = mix(game, walker, 0)
    for _ in range(150):
        game.step(who.act(game))
        before = game.target()
        if before is not None and 0 < before < 25:
            break
    game.step(Action(mouse=(10.0, 0.0)))
    assert game.target() == pytest.approx(before - 10, abs=6)  # it walks as well


def room(x, floor, ceiling):
    """A square room of 100 units whose west side is at x; its east and west sides are open."""
    sides = [(x, 0, x, 100, False), (x + 100, 0, x + 100, 100, False), (x, 0, x + 100, 0, True)]
    lines = [SimpleNamespace(x1=a, y1=b, x2=c, y2=d, is_blocking=solid) for a, b, c, d, solid in sides]
    return SimpleNamespace(floor_height=floor, ceiling_height=ceiling, lines=lines)


@pytest.mark.parametrize(
    ("floor", "ceiling", "stops"), [(24, 128, False), (25, 128, True), (0, 55, True), (0, 56, False), (0, 0, False)]
)
def test_high_steps_and_low_gaps_are_walls_but_stairs_and_closed_doors_are_not(floor, ceiling, stops):
    walls = _walls(SimpleNamespace(sectors=[room(0, 0, 128), room(100, floor, ceiling)], objects=[]))
    assert ([100.0, 0.0, 100.0, 100.0] in walls.tolist()) == stops
    assert [0.0, 0.0, 100.0, 0.0] in walls.tolist()


def test_the_engine_finds_its_folder_made_so_that_two_may_start_at_once(config, tmp_path, monkeypatch):
    found = []
    vizdoom = pytest.importorskip("vizdoom")

    class Engine(vizdoom.DoomGame):
        def init(self):
            found.append((tmp_path / "_vizdoom").is_dir())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vizdoom, "DoomGame", Engine)
    for _ in range(2):
        open_game(config).close()
    assert found == [True, True]


def test_a_game_goes_back_and_on_as_it_was(game):
    env = Rerun(game)
    actions = [Action({"forward", "attack"} if t % 5 else {"turn_left"}, (0.3 * t, 0.0)) for t in range(40)]
    frames = [env.reset(start=1, seed=4), *(env.step(action) for action in actions)]
    np.testing.assert_array_equal(env.rewind(25), frames[15])
    np.testing.assert_array_equal([env.step(action) for action in actions[15:]], frames[16:])


def test_the_compass_points_where_the_engine_looks(game):
    game.reset(seed=3)
    begun = game.pose().angle
    moves = [Action({"turn_left"}), Action((), (7.5, 0.0)), Action({"forward", "turn_right"}, (-3.0, 0.0))] * 12
    for move in moves:
        game.step(move)
    told = Compass.of(game.actions).along(torch.from_numpy(np.stack([game.actions.to_vector(move) for move in moves])))
    heading = np.degrees(np.arctan2(*told[-1, -2:].tolist()))
    assert abs((begun - game.pose().angle - heading + 180) % 360 - 180) < 1
    assert abs(heading) > 30
