"""The manifest is frozen, hashed, disjoint from training, and says what a game cannot have."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from worldmodel.action import ActionSpace
from worldmodel.config import typed
from worldmodel.evaluation.manifest import FIRST_SEED, KIND, Beat, ProbesConfig, TierConfig, build, look, script_of
from worldmodel.games import GameConfig

CONF = Path(__file__).parent.parent / "conf"
GAMES = sorted(path.stem for path in (CONF / "game").glob("*.yaml"))
SPACES = {
    "doom": ("forward", "backward", "strafe_left", "strafe_right", "turn_left", "turn_right", "attack", "use"),
    "coinrun": ("left", "right", "jump", "down"),
    "racer": ("gas", "brake", "left", "right"),
}
TIER = partial(
    TierConfig, seed=FIRST_SEED, warm_up=2, context=3, horizon=9, episodes={"A": 5, "B": 4, "C": 3, "D": 2}, branches=2,
    branch_steps=4, long={6: 2, 9: 3}, piloted={6: 2}, looks=3, angles=[90, 360], diverse=[2, 3, 4],
)  # fmt: skip


def settings(game, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("reference", [f"game={game}", *overrides])
    return typed(ProbesConfig, cfg.probes), typed(TierConfig, cfg.tier)


@pytest.mark.parametrize("tier", ["small", "full"])
@pytest.mark.parametrize("game", GAMES)
def test_no_seed_of_a_manifest_is_one_of_training(game, tier):
    collect = (CONF / "collect.yaml").read_text()
    assert "heldout_seed: 1000000" in collect
    entries = build({}, *settings(game, f"evaluation/tier={tier}")).entries
    assert min(entry.seed for entry in entries) >= FIRST_SEED > 1_000_000 + KIND
    keys = [(entry.level, entry.start, entry.seed) for entry in entries]
    assert len(set(keys)) == len(keys)
    assert len({entry.name for entry in entries}) == len(entries)


def test_equal_settings_have_equal_digests_and_others_do_not():
    control, _ = settings("doom_garden")
    digests = [build(game, control, tier).digest() for game, tier in (
        ({"a": 1}, TIER()), ({"a": 1}, TIER()), ({"a": 2}, TIER()), ({"a": 1}, TIER(horizon=10)),
    )]  # fmt: skip
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_manifest_on_disk_says_what_was_played(tmp_path):
    manifest = build({"levels": ["MAP01"]}, settings("doom_garden")[0], TIER())
    manifest.write(tmp_path / "a" / "manifest.json", {"A/2000000": "abc"})
    data = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert data["sha256"] == manifest.digest()
    assert data["frames"] == {"A/2000000": "abc"}
    assert len(data["entries"]) == len(manifest.entries)


def test_training_seeds_and_lonely_episodes_are_refused():
    with pytest.raises(ValueError, match="training"):
        TIER(seed=FIRST_SEED - 1)
    with pytest.raises(ValueError, match=">= 2"):
        TIER(looks=1)


def test_splits_that_a_game_cannot_have_are_absent_with_a_reason():
    garden, doom, racer = (build({}, settings(game)[0], TIER()) for game in ("doom_garden", "doom", "racer"))
    assert set(garden.absent) == {"C"}
    assert doom.absent == {}
    assert set(racer.absent) == {"C", "F"}
    assert all(reason.startswith("n/a") for reason in racer.absent.values())
    assert {entry.group for entry in doom.of("C")} == {"C/MAP06", "C/MAP07", "C/MAP08"}
    assert build({}, settings("doom")[0], TIER(looks=0)).absent.keys() == {"F"}


def test_every_game_has_scripts_of_its_own_buttons():
    for game in GAMES:
        space = SPACES.get(game.split("_")[0])
        if space:
            settings(game)[0].check(ActionSpace(space))
    control, _ = settings("racer")
    with pytest.raises(ValueError, match="brake"):
        control.check(ActionSpace(("gas", "left", "right")))


def test_an_unseen_level_changes_only_what_it_names(monkeypatch):
    monkeypatch.syspath_prepend(str(CONF.parent))
    from train.reference import level_settings

    with initialize_config_dir(str(CONF), version_base="1.3"):
        game = typed(GameConfig, compose("reference", ["game=doom"]).game)
    control, _ = settings("doom")
    assert level_settings(game, control, "") is game
    other = level_settings(game, control, "MAP07")
    assert other.doom.levels == ["MAP07"]
    assert replace(other, doom=replace(other.doom, levels=game.doom.levels)) == game
    assert not set(control.unseen) & set(game.doom.levels)


def test_a_place_is_what_a_game_calls_its_place(monkeypatch):
    monkeypatch.syspath_prepend(str(CONF.parent))
    from train.reference import place_in

    assert place_in({"level": 3, "pose": [1.5, -2, 90]}) == (1.5, -2)
    assert place_in({"place": [4, 5]}) == (4, 5)
    assert place_in({"level": [1, 2]}) != place_in({})  # nan: it tells no place


def test_turns_of_scripts_are_those_of_the_game():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        doom, racer = (compose("reference", [f"game={game}"]) for game in ("doom", "racer"))
    assert doom.probes.turning.key_degrees == doom.game.doom.turn_degrees
    assert racer.probes.turning.key_degrees == racer.game.racer.key_degrees
    assert doom.probes.turning.look_degrees <= doom.game.doom.mouse_degrees


@pytest.mark.parametrize(("angle", "steps", "net"), [(90, 12, 0), (180, 24, 0), (360, 24, 360), (100, 14, 0)])
def test_a_look_returns_to_where_it_began(angle, steps, net):
    beats = look(angle, 15.0)
    assert sum(beat.steps for beat in beats) == steps
    assert sum(beat.steps * beat.turn for beat in beats) == pytest.approx(net)
    assert max(abs(beat.turn) for beat in beats) <= 15


def test_beats_are_played_in_a_circle():
    beats = [Beat(buttons=["a"], turn=0.0, steps=2), Beat(buttons=[], turn=3.0, steps=1)]
    assert [script.turn for script in script_of(beats, 7)] == [0, 0, 3, 0, 0, 3, 0]


def test_a_later_tier_keeps_the_seeds_of_an_earlier_one():
    control, tier = settings("doom_garden")
    more = build({}, control, replace(tier, episodes=tier.episodes | {"A": tier.episodes["A"] + 1}))
    few = [entry.seed for entry in build({}, control, tier).of("A")]
    assert [entry.seed for entry in more.of("A")][:-1] == few
