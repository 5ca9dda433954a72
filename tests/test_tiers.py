"""Tiers: a machine plays the largest student that keeps pace; that is measured after play, which never waits."""

import re
from dataclasses import replace

import pytest
from worlds import add_big, make_world

import worldmodel
from worldmodel import tiers
from worldmodel.tiers import Pace, Setting, choose, code_for, measure, pace_of

FRAME_MS = 1000 / 17.5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(add_big(make_world(tmp_path_factory.mktemp("world") / "tall")))


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def setting(path):
    return Setting(world=path, device="cpu", steps=None, threads=1, backend="auto", headroom=0.25)


@pytest.fixture
def paced(monkeypatch):
    """Tiers take as long as told by paced(TIER=MS); paced.asked: those that were measured."""

    def pace_of(world, setting, code):
        take.asked.append(world.tier)
        return Pace(take.taken_ms[world.tier], code, take.is_quiet)

    def take(**taken_ms):
        take.taken_ms = taken_ms

    take.asked, take.is_quiet = [], True
    monkeypatch.setattr(tiers, "pace_of", pace_of)
    return take


def quiet(line):
    pass


def test_the_first_choice_is_the_smallest_and_nothing_is_played_for_it(setting, monkeypatch):
    monkeypatch.setattr(tiers, "Engine", None)
    monkeypatch.setattr(worldmodel, "load", None)
    assert choose(setting) == ("default", "all are measured after play")


@pytest.mark.parametrize(
    ("small_ms", "big_ms", "tier"),
    [(1.0, 0.74, "big"), (1.0, 0.76, "default"), (0.1, 0.5, "big"), (3.0, 9.0, "default"), (0.9, 0.2, "big")],
)
def test_the_largest_that_leaves_the_headroom_free_is_chosen_else_the_smallest(setting, paced, small_ms, big_ms, tier):
    paced(default=small_ms * FRAME_MS, big=big_ms * FRAME_MS)
    measure(setting, quiet)
    assert choose(setting).tier == tier


def test_the_smallest_need_not_be_the_default(tmp_path, setting, paced):
    world = make_world(tmp_path / "tiny")
    small = worldmodel.load(world).model
    config = replace(small.config, width=16, layers=1)
    worldmodel.bundle.add_tier(world, "light", type(small)(config, small.latent_shape, 3), {"training": {}})
    worldmodel.bundle.seal(world)
    own = replace(setting, world=str(world))
    assert choose(own).tier == "light"
    paced(light=5.0, default=9.0)
    measure(own, quiet)
    assert choose(own) == ("default", "9.0 of 57.1 ms a frame, eager")


def test_what_was_measured_is_kept_for_this_setting_and_said_in_one_line(setting, paced):
    said = []
    paced(default=4.0, big=50.0)
    measure(setting, said.append)
    measure(setting, said.append)
    assert paced.asked == ["default", "big"]
    assert said == ["tiers: default 4.0 ms (eager), big 50.0 ms (eager); 42.9 allowed: tier=default from now on"]
    assert choose(replace(setting, headroom=0.0)).tier == "big"
    for other in (replace(setting, steps=1), replace(setting, threads=2), replace(setting, backend="eager")):
        assert choose(other).why == "all are measured after play"


def test_a_tier_is_measured_again_when_there_is_machine_code_for_it(setting, paced, monkeypatch):
    """Until then the old pace decides: it is the last that is known."""
    paced(default=4.0, big=50.0)
    measure(setting, quiet)
    monkeypatch.setattr(tiers, "code_for", lambda world, setting: "compiled" if world.tier == "big" else "eager")
    assert choose(setting).tier == "default"
    paced(default=4.0, big=20.0)
    measure(setting, quiet)
    assert paced.asked == ["default", "big", "big"]
    assert choose(setting) == ("big", "20.0 of 57.1 ms a frame, compiled")


def test_the_code_that_is_measured_is_what_lies_in_the_cache(path, setting):
    world = worldmodel.load(path, "big")
    assert code_for(world, setting) == "eager"
    recipe = tiers.recipe_for(world, 2, tiers.dtype_of("auto", world.model.place.device), 1)
    recipe.path.parent.mkdir(parents=True)
    recipe.path.touch()
    assert code_for(world, setting) == "compiled"
    assert code_for(world, replace(setting, backend="eager")) == "eager"
    assert code_for(worldmodel.load(path), setting) == "eager"


def test_paces_are_those_of_engines_that_play(setting, monkeypatch):
    monkeypatch.setattr(tiers, "FRAMES", 5)
    world = worldmodel.load(setting.world, "big")
    pace = pace_of(world, setting, "eager")
    assert (0 < pace.p90_ms < 1000, pace.code) == (True, "eager")
    said = []
    measure(setting, said.append)
    assert re.fullmatch(r"tiers: default [\d.]+ ms \(eager\), big [\d.]+ ms \(eager\); .* from now on.*", said[0])
    assert re.fullmatch(r"[\d.]+ of 57.1 ms a frame, eager", choose(setting).why)


def test_a_tier_that_is_far_too_slow_is_not_watched_for_long(path, setting, monkeypatch):
    steps = []

    class Slow:
        def __init__(self, *args, **how): ...
        def reset(self): ...
        def close(self): ...
        def step(self, action):
            steps.append(action)

    monkeypatch.setattr(tiers, "Engine", Slow)
    monkeypatch.setattr(tiers, "MOST_S", 0.0)
    pace_of(None, setting, "eager")
    assert len(steps) == tiers.FEWEST + 1


@pytest.mark.parametrize(("own_s", "is_quiet"), [(0.7, True), (0.6, False)])
def test_frames_that_waited_for_others_say_little_about_this_machine(setting, monkeypatch, own_s, is_quiet):
    class Clock:
        """Of a frame's second the thread has own_s."""

        def __init__(self):
            self.now = 0.0

        def perf_counter(self):
            return self.now

        def thread_time(self):
            return own_s * self.now

    class Steady:
        def __init__(self, *args, **how): ...
        def reset(self): ...
        def close(self): ...
        def step(self, action):
            clock.now += 1.0

    clock = Clock()
    monkeypatch.setattr(tiers, "time", clock)
    monkeypatch.setattr(tiers, "Engine", Steady)
    assert pace_of(None, setting, "eager") == (1000.0, "eager", is_quiet)


def test_what_was_seen_on_a_busy_machine_is_measured_again(setting, paced):
    """Once, all tiers stayed too slow for ever, because somebody was training beside the first play."""
    said = []
    paced(default=90.0, big=200.0)
    paced.is_quiet = False
    measure(setting, said.append)
    assert said[0].endswith("tier=default from now on (on a busy machine: measured again next time)")
    paced(default=4.0, big=20.0)
    paced.is_quiet = True
    measure(setting, quiet)
    assert choose(setting).tier == "big"
    measure(setting, pytest.fail)


@pytest.mark.parametrize("text", ["", "[1]", '{"big": 3}', '{"big": ["fast", 1]}', "\x00", '{"big": null}'])
def test_a_damaged_file_of_paces_is_as_none(setting, paced, text):
    paced(default=4.0, big=5.0)
    measure(setting, quiet)
    (place,) = tiers.cache_folder().glob("tiers-*.json")
    place.write_text(text)
    assert choose(setting).why == "all are measured after play"
    measure(setting, quiet)
    assert choose(setting).tier == "big"


def test_paces_that_cannot_be_kept_stop_nobody(setting, paced, tmp_path, caplog):
    (tmp_path / "cache").write_text("no folder")
    paced(default=4.0, big=5.0)
    measure(setting, quiet)
    assert "not kept" in caplog.text
    assert choose(setting).tier == "default"


def test_a_world_of_one_tier_is_neither_measured_nor_chosen(tmp_path, setting, monkeypatch):
    own = replace(setting, world=str(make_world(tmp_path / "tiny")))
    monkeypatch.setattr(tiers, "pace_of", None)
    assert choose(own) == ("default", "")
    measure(own, pytest.fail)
