"""A seed becomes a level that can be walked through, with doors that open."""

import dataclasses
import re

import numpy as np
import pytest

from worldmodel.action import Action
from worldmodel.config import load_yaml, typed
from worldmodel.games import GameConfig, open_game
from worldmodel.games.doom import HEADROOM, STEP
from worldmodel.games.doom_map import textmap, things
from worldmodel.games.doom_rooms import RoomsConfig, rooms


def reached(plan, start):
    """Cells that a player gets to from a cell, by the heights of the zones alone."""
    seen, todo = {start}, [start]
    while todo:
        x, y = todo.pop()
        here = plan.zones[plan.zone_at(x, y)]
        for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            mark = plan.zone_at(*cell)
            there = plan.zones.get(mark)
            if there is None or cell in seen or abs(there.floor_height - here.floor_height) > STEP:
                continue
            gap = min(here.ceiling_height, there.ceiling_height) - max(here.floor_height, there.floor_height)
            if gap >= HEADROOM or here.is_door or there.is_door:
                seen.add(cell)
                todo.append(cell)
    return seen


def test_equal_seeds_give_equal_levels_and_others_differ():
    assert textmap(rooms(5, 3, 2)) == textmap(rooms(5, 3, 2))
    assert len({textmap(rooms(seed, 3, 2)) for seed in range(8)}) == 8


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 2)])
def test_every_cell_can_be_walked_to_from_every_other(size):
    for seed in range(12):
        plan = rooms(seed, *size)
        assert reached(plan, plan.cells()[0]) == reached(plan, plan.cells()[-1]) == set(plan.cells())


def test_levels_have_doors_stairs_monsters_and_many_looks():
    plans = [rooms(seed, 3, 3) for seed in range(10)]
    zones = [zone for plan in plans for zone in plan.zones.values()]
    assert sum(zone.is_door for zone in zones) > 20
    assert len({zone.floor_height for zone in zones}) > 12
    assert len({(zone.wall, zone.light) for zone in zones}) > 40
    assert len({kind for plan in plans for _, _, kind in things(plan)}) > 15


def test_a_door_is_opened_by_the_lines_on_both_its_sides():
    plan = next(p for p in (rooms(seed, 2, 1) for seed in range(20)) if any(z.is_door for z in p.zones.values()))
    text = textmap(plan)
    (door,) = re.findall(r"heightfloor=(-?\d+);heightceiling=\1;[^}]*id=(\d+);", text)
    lines = re.findall(r"linedef\{[^}]*special=12;[^}]*arg0=(\d+);", text)
    assert lines == [door[1]] * 2


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match="share"):
        RoomsConfig(share=0.0, count=1, first=0, columns=2, rows=2)


@pytest.fixture(scope="module")
def game():
    pytest.importorskip("vizdoom")
    config = typed(GameConfig, load_yaml("conf/game/doom.yaml"))
    first = next(k for k in range(20) if any(zone.is_door for zone in rooms(k, 2, 1).zones.values()))
    config.doom.rooms = RoomsConfig(share=1.0, count=1, first=first, columns=2, rows=1)
    game = open_game(config)
    yield game
    game.close()


@pytest.mark.game
def test_a_player_walks_through_a_door_that_it_opens(game):
    plan = game.config.plans()["ROOM0"]
    (door,) = [cell for cell in plan.cells() if plan.zones[plan.zone_at(*cell)].is_door]
    x, y = (door[0] - 0.5) * plan.cell, (door[1] + 0.5) * plan.cell  # just west of it
    game.reset(seed=0)
    game._game.send_game_command(f"warp {x:.0f} {y:.0f}")
    game.step(Action())
    for _ in range(12):  # to the east
        game.step(Action(mouse=(float(np.clip((game.pose().angle + 180) % 360 - 180, -20, 20)), 0.0)))
    used = [(game.step(Action({"forward"} | ({"use"} if t % 8 == 0 else set()))), game.pose().x)[1] for t in range(40)]
    assert max(used[:2]) < door[0] * plan.cell  # closed
    assert max(used) > (door[0] + 1) * plan.cell


@pytest.mark.game
def test_a_level_without_a_seed_of_its_own_is_played_in_its_share(game):
    config = dataclasses.replace(game.config, rooms=dataclasses.replace(game.config.rooms, share=0.3, count=50))
    names = [config.level(seed) for seed in range(400)]
    assert 80 < sum(name.startswith("ROOM") for name in names) < 160
    assert len(set(names)) > 40
