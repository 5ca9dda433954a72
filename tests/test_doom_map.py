"""A drawing becomes a level: closed, with every zone and thing where it was drawn. Needs no game."""

import numpy as np
import pytest

from worldmodel.games.doom_map import Plan, Thing, Zone, textmap, things
from worldmodel.games.walk import WalkGrid

ROWS = """
######
#aabb#
#aTbb#
######
"""


def zone(wall):
    return Zone(wall=wall, floor="F", ceiling="C", floor_height=0, ceiling_height=128, light=200)


def plan(rows=ROWS, **changes):
    values = {"rows": rows, "cell": 64, "seed": 1, "zones": {"a": zone("W1"), "b": zone("W2")}}
    values["things"] = {"T": Thing(type=43, zone="b", scatter=2)}
    return Plan(**(values | changes))


def test_a_thing_stands_where_it_was_drawn_in_the_zone_to_its_west():
    assert plan().zone_at(2, 1) == "a"
    assert (2.5 * 64, 1.5 * 64, 43) in things(plan())


def test_scattered_things_lie_in_their_zone_and_do_not_move():
    strewn = [t for t in things(plan()) if t != (160.0, 96.0, 43)]
    assert len(strewn) == 2
    assert all(plan().zone_at(int(x // 64), int(y // 64)) == "b" for x, y, _ in strewn)
    assert things(plan()) == things(plan())


def test_walls_stand_between_rock_and_cells_and_borders_between_zones():
    text = textmap(plan())
    assert text.count("blocking=true") == 12  # the outline of a 4 x 2 hall
    assert text.count("twosided=true") == 2
    assert text.count("sector{") == 2


@pytest.mark.parametrize("rows", ["###\n#a#\n##", "####\n#aaa\n####", "###\n#?#\n###", "####\n#Ta#\n####"])
def test_a_drawing_that_makes_no_level_is_refused(rows):
    with pytest.raises(ValueError, match="plan"):
        plan(rows)


def test_a_walk_grid_lets_one_walk_round_a_wall_but_not_through_it():
    box = [[0, 0, 400, 0], [400, 0, 400, 300], [400, 300, 0, 300], [0, 300, 0, 0], [200, 0, 200, 200]]
    grid = WalkGrid(np.array(box, float))
    way, cell = grid.reachable(grid.at(100, 60)), grid.at(300, 60)
    steps = 0
    while cell != grid.at(100, 60):
        cell, steps = way[cell], steps + 1
    assert steps * grid.cell > 400  # the straight way would be 200
    assert len(grid.largest_room()) > 40


def test_a_grid_whose_walls_would_leak_is_refused():
    with pytest.raises(ValueError, match="leak"):
        WalkGrid(np.zeros((1, 4)), cell=64.0, radius=28.0)
