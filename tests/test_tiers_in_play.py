"""Tiers where they are played, saved, recorded, shown and judged; which one a machine chooses: test_tiers.py."""

import numpy as np
import pytest
from test_conf import composed
from test_session import FakeEnv, window
from test_startup import options
from test_tiers import _cache, paced, path, quiet

import play
import worldmodel
from train import evaluate
from worldmodel import Action, tiers
from worldmodel.config import typed
from worldmodel.data.episode import load_episode
from worldmodel.data.replay import first_difference
from worldmodel.data.states import SaveError, Slots
from worldmodel.ui.pages import Library, pages
from worldmodel.ui.session import Session
from worldmodel.venue import measure_tiers, open_venue

__all__ = ["_cache", "paced", "path", "window"]  # fixtures


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
