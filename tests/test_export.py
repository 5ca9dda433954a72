"""A world's card: who played. Its tiers: they leave all else alone."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from test_conf import composed
from worlds import make_full_world, make_world

from train.export import Config, card, export, played
from train.provenance import provenance, stages_of
from worldmodel.action import ActionSpace
from worldmodel.bundle import WorldError, read_bundle, read_teacher, seal
from worldmodel.config import typed
from worldmodel.data.episode import Meta


def test_a_card_tells_scripted_play_from_human_play():
    def meta(player, num_steps):
        space = ActionSpace(("a",), (0.0, 0.0))
        return Meta(source="real", game="x", fps=10.0, size_hw=(3, 5), action_space=space, player=player,
                    num_steps=num_steps)  # fmt: skip

    walks = [meta("walker", 18_000), meta("sticky", 36_000)]
    assert played(walks) == "1.5 hours of scripted play (episodes: 2)"
    text = "1.5 hours of scripted play (episodes: 2) and 0.2 hours of human play (episodes: 1)"
    assert played([*walks, meta("human", 7_200)]) == text


def test_a_student_that_began_as_anothers_names_its_teachers_too(monkeypatch):
    def run(stage, step, **config):
        return SimpleNamespace(stage=stage, step=step, extra={"seconds": 60 * step}, config=config)

    runs = {
        "c": run("consistency", 3, student="b", teacher="t"), "b": run("consistency", 2, student="d", teacher="s"),
        "d": run("consistency", 6, teacher="a"), "a": run("teacher", 1), "t": run("teacher", 4, init="s"),
        "s": run("teacher", 5, init="a"),
    }  # fmt: skip
    monkeypatch.setattr("train.provenance.load_checkpoint", lambda path: runs[path.parent.name])
    cfg = typed(Config, composed("export", "steps=1", "rest_steps=2"))
    text = card(cfg, provenance("c") | {"tokenizer": {}}, "play")
    assert [line[2:].split(" steps")[0] for line in text.splitlines() if line.startswith("- ")] == [
        "consistency: 3", "teacher: 4", "teacher: 5", "consistency: 2", "consistency: 6", "teacher: 1"
    ]  # fmt: skip
    assert "a 1-step student (in 2 steps while nothing is held)" in text


def test_what_made_a_world_is_told_once(monkeypatch):
    first = {"stage": "consistency", "steps": 1, "tokenizer": {"stage": "tokenizer", "steps": 9}, "world": "a"}
    teacher = {"stage": "teacher", "steps": 2, "from": first}
    later = {"stage": "addition", "steps": 0, "taught_by": teacher, "from": first}
    training = later | {"tokenizer": {"stage": "tokenizer", "steps": 9}, "alignment": "next"}
    monkeypatch.setattr("train.provenance.is_world", lambda run: True)
    monkeypatch.setattr(
        "train.provenance.read_bundle", lambda run: SimpleNamespace(info={"training": training}, sha256="b")
    )
    kept = provenance("it")
    assert kept == {
        "stage": "addition", "steps": 0, "world": "b", "from": {"stage": "consistency", "steps": 1, "world": "a"},
        "taught_by": {"stage": "teacher", "steps": 2, "from": {"world": "a"}},
    }  # fmt: skip
    assert [run["steps"] for run in stages_of(kept)] == [run["steps"] for run in stages_of(training)] == [0, 2, 1]
    assert provenance("it", of_tokenizer=True) == {"stage": "tokenizer", "steps": 9, "world": "b"}


def test_a_card_tells_of_play_that_taught_the_world_later(monkeypatch):
    monkeypatch.setattr("train.export.played_in", {"x/wild": "2.0 hours of scripted play (episodes: 9)"}.get)
    cfg = typed(Config, composed("export", "later_data=[x/wild]"))
    text = card(cfg, {"tokenizer": {}}, "1.0 hours of scripted play (episodes: 4)")
    wanted = "1.0 hours of scripted play (episodes: 4), and then 2.0 hours of scripted play (episodes: 9) in the real"
    assert wanted in text


def test_a_world_that_is_told_the_heading_later_learns_from_later_play_how_its_actions_turn(tmp_path, monkeypatch):
    old, turning = make_world(tmp_path / "old"), make_world(tmp_path / "new", turns=(0.0, 0.0, 20.0))
    monkeypatch.setattr("train.export.played_in", lambda data: "play")
    monkeypatch.setattr("train.export.list_episodes", lambda data: [data])
    spaces = {"walks": read_bundle(turning).actions, "drives": ActionSpace(("gas",), (0.0, 0.0))}
    monkeypatch.setattr(
        "train.export.load_episode", lambda d: SimpleNamespace(meta=SimpleNamespace(action_space=spaces[d]))
    )
    sources = [f"student={turning}", f"tokenizer={old}", "teacher=null", f"data={old}", f"out={tmp_path / 'made'}"]
    export(typed(Config, composed("export", *sources, "later_data=[walks]")))
    assert read_bundle(tmp_path / "made").actions.turns == (0.0, 0.0, 20.0)
    with pytest.raises(ValueError, match="drives has other actions"):
        export(typed(Config, composed("export", *sources, "later_data=[walks,drives]")))


def test_a_world_is_given_what_its_teacher_has_learnt_since(tmp_path):
    old, later = make_world(tmp_path / "old"), make_world(tmp_path / "later")
    learnt = read_teacher(later)
    for weight in learnt.parameters():
        weight.data += 0.5
    save_file(learnt.state_dict(), later / "teacher.safetensors")
    seal(later)
    sources = [f"student={old}", f"tokenizer={old}", f"data={old}", f"out={tmp_path / 'made'}", "trained_with=x"]
    export(typed(Config, composed("export", *sources, f"teacher={later}", f"since={old}")))
    made, before = read_bundle(tmp_path / "made"), read_bundle(old)
    for ours, theirs in zip(made.model.parameters(), before.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs + 0.5, rtol=0.01, atol=0.01)
    assert "- addition: 0 steps" in made.card
    with pytest.raises(ValueError, match="say teacher="):
        typed(Config, composed("export", *sources, "teacher=null", f"since={old}"))


def test_a_student_may_lie_between_two(tmp_path):
    one, other, unlike = (
        make_world(tmp_path / name, **more) for name, more in (("a", {}), ("b", {}), ("c", {"far": 2, "every": 4}))
    )
    shifted = read_bundle(other).model.state_dict()
    save_file({name: weight + 1.0 for name, weight in shifted.items()}, other / "student.safetensors")
    seal(other)
    sources = [f"student={one}", f"tokenizer={one}", f"data={one}", "teacher=null", f"out={tmp_path / 'made'}"]
    export(typed(Config, composed("export", *sources, f"blend={other}", "blend_share=0.25", "trained_with=x")))
    made = read_bundle(tmp_path / "made")
    for ours, begun, theirs in zip(
        *(read_bundle(world).model.parameters() for world in (tmp_path / "made", one, other)), strict=True
    ):
        torch.testing.assert_close(ours, 0.75 * begun + 0.25 * theirs, rtol=0.01, atol=0.01)
    assert "- blend: 0 steps" in made.card
    with pytest.raises(ValueError, match="two kinds of network"):
        export(typed(Config, composed("export", *sources, f"blend={unlike}")))
    for more in ("blend_share=1", "tier=keen"):
        with pytest.raises(ValueError, match="blend_share between 0 and 1, and no tier"):
            typed(Config, composed("export", *sources, f"blend={other}", more))


def exported(world, student, tier, *more):
    export(typed(Config, composed("export", f"out={world}", f"student={student}", f"tier={tier}", *more)))


def test_a_tier_joins_a_world_and_leaves_all_else_as_it_was(tmp_path):
    world, other = make_world(tmp_path / "tiny"), make_world(tmp_path / "other", far=2, every=4)
    before = {p.name: p.read_bytes() for p in world.rglob("*") if p.is_file()}
    exported(world, other, "keen", "noise_scale=1.25", "steps=1", "rest_steps=2")
    after = {p.name: p.read_bytes() for p in world.rglob("*") if p.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {
        "world.json", "sha256sums", "student-keen.safetensors"
    }  # fmt: skip
    own = json.loads(after["world.json"])["tiers"]["keen"]
    assert own.keys() == {"model", "params", "training", "steps", "rest_steps"}  # the noise is the world's
    keen = read_bundle(world, "keen")
    assert (keen.steps, keen.rest_steps, keen.noise_scale, keen.model.config.sight.far) == (1, 2, 1.25, 2)
    assert read_bundle(world).rest_steps == 1
    exported(world, other, "keen", "noise_scale=1.4", "int8=true")  # again: the new one instead
    assert (read_bundle(world, "keen").noise_scale, read_bundle(world).noise_scale) == (1.4, 1.25)
    assert (read_bundle(world, "keen").int8, read_bundle(world).int8) == (True, False)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["other", "tiny"]


def test_a_tier_that_cannot_join_leaves_the_world_alone(tmp_path):
    world, other = make_world(tmp_path / "tiny"), make_full_world(tmp_path / "other")
    sha256 = read_bundle(world).sha256
    with pytest.raises(ValueError, match="of another world"):
        exported(world, other, "big")
    with pytest.raises(ValueError, match="a tier's name is"):
        exported(world, world, "Big-1")
    with pytest.raises(ValueError, match="no folder of a world"):
        exported(tmp_path / "nowhere", world, "big")
    with pytest.raises(WorldError, match="no sigmas for its 5 steps"):
        exported(world, world, "big", "steps=5")
    assert read_bundle(world).sha256 == sha256
