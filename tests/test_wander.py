"""A player that looks: what it sees decides, and nothing else."""

import numpy as np

from worldmodel.action import ActionSpace
from worldmodel.ui.wander import openness, wander

H, W = 48, 64
WALKING = ActionSpace(("forward", "attack", "use"), (20.0, 0.0))
DRIVING = ActionSpace(("gas", "brake", "left", "right"), (30.0, 0.0))
CLIMBING = ActionSpace(("left", "right", "jump", "down"))
BRICKS = np.random.default_rng(0).integers(90, 120, (H, W, 3)).astype(np.uint8)


def hall():
    frame = BRICKS.copy()
    frame[:20], frame[:, 40:] = 20, frame[:, 40:] + 100
    return frame


def road(middle):
    """A grey road on green whose middle lies at a share of the width; under the car it is the same."""
    frame = np.full((H, W, 3), (90, 180, 80), np.uint8)
    frame[:, int(0.4 * W) : int(0.6 * W)] = 100
    ahead = slice(int(0.5 * H), int(0.66 * H))
    frame[ahead] = (90, 180, 80)
    frame[ahead, int((middle - 0.1) * W) : int((middle + 0.1) * W)] = 100
    return frame


def test_a_wall_is_less_open_than_a_hall():
    assert openness(BRICKS) < 16 < 22 < openness(hall())


def test_it_walks_where_the_view_is_open():
    act = wander(WALKING)
    assert all("forward" in act(hall()).buttons for _ in range(50))


def test_before_a_wall_it_tries_the_door_and_turns_one_way_until_the_view_opens():
    act = wander(WALKING, seed=3)
    assert act(BRICKS).buttons == {"use"}
    turns = [act(BRICKS).mouse[0] for _ in range(20)]
    assert len(set(turns)) == 1
    assert turns[0] != 0
    assert any("forward" in act(hall()).buttons for _ in range(9))


def test_without_a_mouse_it_turns_by_keys():
    act = wander(ActionSpace(("forward", "turn_left", "turn_right"), (0.0, 0.0)))
    act(BRICKS)
    assert act(BRICKS).buttons in ({"turn_left"}, {"turn_right"})


def test_a_car_steers_to_where_the_road_goes():
    act = wander(DRIVING)
    assert not {"left", "right"} & act(road(0.5)).buttons
    assert "left" in act(road(0.3)).buttons
    assert "right" in act(road(0.7)).buttons


def test_a_car_that_lost_the_road_drives_in_a_circle():
    act = wander(DRIVING)
    act(road(0.5))
    field = np.full((H, W, 3), (90, 180, 80), np.uint8)
    assert all("right" in act(field).buttons for _ in range(9))


def test_a_world_it_cannot_read_is_left_to_the_script():
    assert wander(ActionSpace(("up", "down", "fire"), (0.0, 0.0))) is None


def test_what_runs_jumps_where_the_picture_stands_still_and_goes_back_where_that_is_in_vain():
    running, stopped = wander(CLIMBING), wander(CLIMBING)
    ways = [running(np.roll(BRICKS, -5 * t, axis=1)).buttons for t in range(35)]
    assert all(held == {"right"} for held in ways)
    ways = [stopped(BRICKS).buttons for _ in range(60)]
    assert ways[0] == {"right"}
    assert ways.index({"right", "jump"}) < ways.index({"left"}) < 60
