"""Tiers: a machine plays the largest student that keeps pace; that is measured after play, which never waits."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_conf import composed
from test_session import FakeEnv
from test_session import window as window
from test_startup import options
from worlds import add_big, make_world

import play
import worldmodel
from train import evaluate
from worldmodel import Action, tiers
from worldmodel.config import typed
from worldmodel.data.episode import load_episode
from worldmodel.data.replay import first_difference
from worldmodel.data.states import SaveError, Slots
from worldmodel.tiers import Setting, choose, code_for, measure, p90_of
from worldmodel.ui.pages import Library, pages
from worldmodel.ui.session import Session
from worldmodel.venue import measure_tiers, open_venue

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

    def p90_of(world, setting, code):
        take.asked.append(world.tier)
        return take.taken_ms[world.tier]

    def take(**taken_ms):
        take.taken_ms = taken_ms

    take.asked = []
    monkeypatch.setattr(tiers, "p90_of", p90_of)
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
    assert 0 < p90_of(world, setting, "eager") < 1000
    said = []
    measure(setting, said.append)
    assert re.fullmatch(r"tiers: default [\d.]+ ms \(eager\), big [\d.]+ ms \(eager\); .* from now on", said[0])
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
    p90_of(None, setting, "eager")
    assert len(steps) == tiers.FEWEST + 1


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
    monkeypatch.setattr(tiers, "p90_of", None)
    assert choose(own) == ("default", "")
    measure(own, pytest.fail)


def opened(path, tmp_path, player="human", **changed):
    told = []
    venue = open_venue(options(world=path, saves=str(tmp_path / "saves"), **changed), player, told.append)
    venue.env.reset()
    return venue, told


def test_play_begins_in_the_smallest_and_goes_on_in_what_was_measured_after_it(path, tmp_path, paced):
    venue, told = opened(path, tmp_path)
    assert (venue.engine.world.tier, venue.title) == ("default", "tiny (dream, tier default)")
    assert told[1] == "tier default: all are measured after play"
    paced(default=4.0, big=8.0)
    measure_tiers(options(world=path), quiet)
    venue, told = opened(path, tmp_path)
    assert (venue.engine.world.tier, venue.title) == ("big", "tiny (dream, tier big)")
    assert told[1] == "tier big: 8.0 of 57.1 ms a frame, eager"
    assert venue.tiers == [("default", "0.0 M parameters"), ("big", "0.2 M parameters  (here)")]


@pytest.mark.parametrize("changed", [{"tier": "big"}, {"replay": "somewhere"}, {"env": "real"}])
def test_only_an_automatic_choice_is_measured(path, changed, monkeypatch):
    monkeypatch.setattr(tiers, "measure", None)
    measure_tiers(options(world=path, **changed), pytest.fail)


def test_a_world_that_is_gone_after_play_is_told_and_no_error(tmp_path):
    said = []
    measure_tiers(options(world=str(tmp_path / "gone")), said.append)
    assert said[0].startswith("tiers are not measured: no world is called")


def test_without_a_window_the_tier_is_the_default_or_the_one_named(path, tmp_path, paced):
    paced(default=4.0, big=5.0)
    measure_tiers(options(world=path), quiet)
    assert opened(path, tmp_path)[0].engine.world.tier == "big"
    assert opened(path, tmp_path, "tour")[0].engine.world.tier == "default"
    assert opened(path, tmp_path, "tour", tier="big")[0].engine.world.tier == "big"
    with pytest.raises(ValueError, match="no tier 'huge'; there are default, big, and auto chooses"):
        opened(path, tmp_path, tier="huge")


def test_a_save_of_another_tier_is_shown_as_such_and_refused_with_a_reason(path, tmp_path):
    (small, _), (big, _) = (opened(path, tmp_path, tier=tier) for tier in ("default", "big"))
    big.slots.save(3, big.engine.state(), big.env.step(Action()), 1)
    assert (small.slots.peek(3).tier, big.slots.peek(3).tier) == ("big", "")
    with pytest.raises(SaveError, match="slot 3 was saved in tier big, and this is default; play with tier=big"):
        small.slots.load(3)
    assert big.slots.load(3)[0]["tier"] == "big"


def test_a_recording_is_made_again_in_its_own_tier_whatever_this_machine_would_choose(path, tmp_path):
    venue, _ = opened(path, tmp_path, tier="big", record=str(tmp_path / "tape"))
    for _ in range(9):
        venue.env.step(Action({"forward"}))
    venue.env.close()
    tape = str(tmp_path / "tape/000000")
    assert load_episode(tape).meta.sampler["tier"] == "big"
    again, _ = opened(path, tmp_path, replay=tape, verify=True)
    assert again.engine.world.tier == "big"
    assert first_difference(again.env, load_episode(tape)) is None
    with pytest.raises(ValueError, match="recorded in tier big, not default"):
        opened(path, tmp_path, replay=tape, verify=True, tier="default")


def test_tiers_are_measured_when_the_player_leaves_and_not_between_two_worlds(monkeypatch):
    """A tier that was named is of one world: the next is chosen automatically."""
    wanted, seen = [{"world": "next"}, {"tier": "big"}, {}], []
    monkeypatch.setattr(play, "play_in_window", lambda cfg, notice: (seen.append(cfg) or wanted.pop(0), None))
    monkeypatch.setattr(play, "measure_tiers", lambda cfg, say: seen.append("measured"))
    play.play_on(typed(play.Config, composed("play", "headless=false", "tier=huge")))
    assert [cfg if cfg == "measured" else (cfg.world, cfg.tier) for cfg in seen] == [
        (None, "huge"), ("next", "auto"), ("next", "big"), "measured",
    ]  # fmt: skip


def test_the_menu_offers_the_tiers_of_a_world_that_has_several(window):
    shown = (("default", "6.1 M parameters  (here)"), ("big", "20.3 M parameters"))
    session = Session(FakeEnv(), window, library=Library(tiers=shown))
    items = pages(session)["Tiers"]()
    assert [(item.label, item.value) for item in items[:2]] == list(shown)
    items[1].act()
    assert session.wanted == {"tier": "big"}
    assert "Tiers" not in pages(Session(FakeEnv(), window))


def test_the_menu_names_the_tier_of_a_save_that_this_one_cannot_load(window, tmp_path):
    big, small = (Slots(tmp_path, "fake", "here", tier) for tier in ("big", "default"))
    big.save(2, {"seed": 3}, np.zeros((4, 6, 3), np.uint8), 41)
    session = Session(FakeEnv(), window, slots=small)
    assert pages(session)["Load"]()[0].value.endswith("frame 41, tier big")


def test_an_evaluation_judges_the_tier_that_is_named_and_its_report_has_a_name_of_its_own(path):
    told = ["run=null", f"world={path}", "world_tier=big", "device=cpu"]
    cfg = typed(evaluate.Config, composed("evaluate", *told))
    world = worldmodel.load(path, cfg.world_tier)
    assert evaluate.dreamers(cfg, world).student.model.config.width == 64
    assert evaluate.name_of(cfg, world) == "tall-big"
    assert evaluate.name_of(cfg, worldmodel.load(path)) == "tall"
