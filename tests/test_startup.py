"""Before there is a world: its picture at once, each stage with its time, and a way out."""

import threading
from functools import cache
from pathlib import Path

import numpy as np
import pygame
import pytest
from test_window import FRAME, SIZE_HW, key, pixels, window  # noqa: F401
from worlds import make_world

import worldmodel
from worldmodel.backends.place import cores
from worldmodel.glimpse import look_at, look_into
from worldmodel.ui.arrivals import clipboard, wanted_by
from worldmodel.ui.crop import Crop, crop_to
from worldmodel.ui.startup import Left, open_behind
from worldmodel.venue import VenueConfig, open_venue, peek


def options(**changed):
    values = {"world": None, "env": "dream", "replay": None, "verify": False, "branch_at": None, "seed": 0}
    values |= {"steps": None, "device": "cpu", "threads": 1, "backend": "eager", "tier": "auto", "headroom": 0.3}
    values |= {"record": False, "saves": "saves", "plays": None}
    return VenueConfig(**{**values, **changed})


def test_the_picture_stands_there_while_the_work_is_done_and_each_stage_is_told(window, monkeypatch):  # noqa: F811
    drawn, said = threading.Event(), []
    flip = window.flip
    monkeypatch.setattr(window, "flip", lambda: (flip(), drawn.set()))

    def work(tell):
        tell("one")
        assert drawn.wait(20)
        tell("two")
        return 42

    assert open_behind(window, "world", FRAME, work, said.append) == 42
    assert [line.split(":")[0] for line in said] == ["one", "two"]
    np.testing.assert_array_equal(pixels(window.surface)[0, 0], FRAME[0, 0])


def test_the_stages_are_drawn_with_their_times(window, monkeypatch):  # noqa: F811
    """The picture is grey: whatever is not grey has been written over it."""
    flips, more = [], threading.Event()
    flip = window.flip
    monkeypatch.setattr(
        window, "flip", lambda: (flip(), flips.append(pixels(window.surface)), len(flips) < 3 or more.set())
    )
    grey = np.full((*SIZE_HW, 3), 90, np.uint8)
    open_behind(window, "world", grey, lambda tell: (tell("reading"), more.wait(20)), print)
    assert (flips[-1] != 90).any()


def test_who_leaves_before_there_is_a_world_is_let_go(window):  # noqa: F811
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    goes_on = threading.Event()
    with pytest.raises(Left):
        open_behind(window, "world", None, lambda tell: goes_on.wait(0.5), print)
    assert not pygame.display.get_init()


def test_what_cannot_be_opened_is_raised(window):  # noqa: F811
    def work(tell):
        raise ValueError("no world")

    with pytest.raises(ValueError, match="no world"):
        open_behind(window, "world", None, work, print)


def test_a_bundled_world_shows_its_start_before_anything_is_loaded():
    size_hw, picture = peek(options(), 2)
    world = worldmodel.load(worldmodel.default_world())
    assert size_hw == world.size_hw
    np.testing.assert_array_equal(picture, world.start_frames[2, -1].numpy())


def test_a_strangers_pictures_are_not_decoded(tmp_path):
    assert peek(options(world=str(make_world(tmp_path / "tiny"))), 0)[1] is None
    assert peek(options(env="real"), 0)[1] is None
    assert look_at("../../etc")[1] is None
    assert look_into(str(tmp_path / "nothing")) is None
    assert peek(options(), tmp_path / "own.png")[1] is None


def test_a_world_is_opened_with_its_stages_starts_and_eye(tmp_path):
    stages = []
    venue = open_venue(options(world=str(make_world(tmp_path / "tiny"))), "human", stages.append)
    frame = venue.env.reset(start=1)
    assert stages == ["reading tiny", "waking the network"]
    assert [title for title, _ in venue.starts] == ["a", "b"]
    np.testing.assert_array_equal(venue.starts[1][1], frame)
    assert venue.eye.seen(frame).shape == frame.shape
    assert venue.eye.drift(frame) is None  # two known frames are too few to tell


def test_a_save_from_before_other_code_took_over_is_not_called_exact(tmp_path):
    """It was, though what follows differs by rounding; nor was the player told of the change."""
    wishes = options(world=str(make_world(tmp_path / "tiny")), saves=str(tmp_path / "saves"))
    venue = open_venue(wishes, "human", str)
    frame = venue.env.reset()
    venue.slots.save(0, venue.env.state(), frame, 7)
    assert venue.slots.load(0)[2]
    venue.engine.frames._compiled[2] = None
    venue.engine.frames.changed("frames are compiled:2 from now on")
    assert not venue.slots.load(0)[2]


@pytest.mark.parametrize(
    ("threads", "player", "budget_s"), [(None, "human", 1 / 17.5), (1, "human", None), (None, "tour", None)]
)
def test_threads_are_tuned_where_a_human_plays_and_has_told_no_number(tmp_path, threads, player, budget_s):
    venue = open_venue(options(world=str(make_world(tmp_path / "tiny")), threads=threads), player)
    assert venue.engine.frames.budget_s == budget_s


def test_every_world_opened_from_the_menu_gets_all_cores_but_one(tmp_path, monkeypatch):
    """Each had one less than the world before it."""
    monkeypatch.setattr("worldmodel.backends.place.torch.get_num_threads", lambda: told[-1])
    monkeypatch.setattr("torch.set_num_threads", lambda n: told.append(n))
    monkeypatch.setattr("worldmodel.backends.place.cores", cache(cores.__wrapped__))
    told = [4]
    wishes = options(world=str(make_world(tmp_path / "tiny")), threads=None)
    assert [open_venue(wishes, "tour").engine.backend for _ in range(2)] == ["eager@3", "eager@3"]


def test_what_is_dropped_is_known_by_its_look(tmp_path):
    (tmp_path / "episode").mkdir()
    (tmp_path / "episode" / "meta.json").write_text("{}")
    (tmp_path / "world").mkdir()
    assert wanted_by(tmp_path / "episode") == {"replay": str(tmp_path / "episode")}
    assert wanted_by(tmp_path / "world") == {"world": str(tmp_path / "world"), "replay": None}
    assert wanted_by(Path("a.WORLD")) == {"world": "a.WORLD", "replay": None}
    assert wanted_by(Path("a.png")) is None


def test_the_clipboard_gives_a_path_or_nothing(window, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(pygame.scrap, "get_text", lambda: f"file://{tmp_path}\n")
    assert clipboard() == tmp_path
    monkeypatch.setattr(pygame.scrap, "get_text", lambda: "two\nlines")
    monkeypatch.setattr(pygame.scrap, "get_init", lambda: True)
    monkeypatch.setattr(pygame.scrap, "get", lambda kind: None)
    assert clipboard() is None


PICTURE = np.random.default_rng(1).integers(0, 256, (40, 90, 3), dtype=np.uint8)


def crop(taken):
    return Crop(PICTURE, SIZE_HW, lambda frame: 255 - frame, taken.append)


def hit(it, *codes):
    for code in codes:
        it.handle(pygame.event.Event(pygame.KEYDOWN, scancode=code))


def test_the_box_begins_as_large_as_possible_in_the_middle():
    it = crop([])
    assert it.box == (0, 18, 40, 53)
    np.testing.assert_array_equal(it.views[1], 255 - it.views[0])


def test_the_box_stays_in_the_picture_and_in_proportion():
    it = crop([])
    for codes in ([pygame.KSCAN_LEFT] * 30, [pygame.KSCAN_EQUALS] * 40, [pygame.KSCAN_DOWN] * 40):
        hit(it, *codes)
        top, left, h, w = it.box
        assert 0 <= top <= 40 - h
        assert 0 <= left <= 90 - w
        assert abs(w / h - 8 / 6) < 0.2
    assert (top + h, left, h) == (40, it.box[1], 4)
    hit(it, *[pygame.KSCAN_MINUS] * 40)
    assert it.box[2:] == (40, 53)


def test_enter_takes_what_is_in_the_box_and_escape_nothing():
    taken = []
    it = crop(taken)
    hit(it, *[pygame.KSCAN_RIGHT] * 30, pygame.KSCAN_RETURN)
    assert not it.is_open
    np.testing.assert_array_equal(taken[0], crop_to(PICTURE[:, 90 - 53 :], SIZE_HW))
    it = crop(taken)
    hit(it, pygame.KSCAN_ESCAPE)
    assert (it.is_open, len(taken)) == (False, 1)


def test_a_click_in_the_picture_moves_the_box_there():
    it = crop([])
    hit(it, *[pygame.KSCAN_EQUALS] * 8)
    it.draw(pygame.Surface((640, 480)))
    it.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=it._place.topleft))
    assert it.box[:2] == (0, 0)
    it.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=4, pos=(0, 0)))
    assert it.box[2] < 17
