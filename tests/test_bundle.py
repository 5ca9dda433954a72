"""A bundle is hostile until proven good: whatever is wrong with it ends in one WorldError, and nothing is run."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from worlds import ACTIONS, add_big, make_world

from worldmodel.bundle import WorldError, read_bundle, read_offer, read_teacher, seal


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny")


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "copy")


def test_what_is_written_is_read(good):
    world = read_bundle(good)
    assert (world.name, world.actions, world.size_hw, world.fps) == ("tiny", ACTIONS, (16, 24), 17.5)
    assert world.sigmas == {1: [1.0], 2: [1.0, 0.5]}
    assert world.start_frames.shape == (2, 5, 16, 24, 3)
    assert world.start_actions.shape == (2, 4, 3)


def test_a_teacher_comes_along_or_is_missed_in_one_line(folder):
    student, teacher = read_bundle(folder).model, read_teacher(folder)
    assert not torch.equal(student.place, teacher.place)
    (folder / "teacher.safetensors").unlink()
    assert seal(folder).name == "tiny"
    with pytest.raises(WorldError, match="carries no teacher"):
        read_teacher(folder)


def test_a_stored_zip_is_a_bundle_and_a_compressed_one_is_not(good, tmp_path):
    for method, name in ((zipfile.ZIP_STORED, "a.world"), (zipfile.ZIP_DEFLATED, "b.world")):
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for path in sorted(p for p in good.rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(good).as_posix())
    assert read_bundle(tmp_path / "a.world").name == "tiny"
    with pytest.raises(WorldError, match="uncompressed"):
        read_bundle(tmp_path / "b.world")


@pytest.mark.parametrize("name", ["student.safetensors", "world.json", "card.md", "starts.safetensors"])
def test_one_flipped_bit_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(WorldError, match=rf"{name} is damaged"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["evil.py", "starts/../../up.png", "weights.pt", ".hidden"])
def test_a_file_that_no_world_has_is_refused(good, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "c.world", "w") as archive:
        for path in sorted(p for p in good.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(good).as_posix())
        archive.writestr(name, b"print('hello')")
    with pytest.raises(WorldError, match="no world has"):
        read_bundle(tmp_path / "c.world")


def test_a_symbolic_link_is_refused(folder, tmp_path):
    (folder / "card.md").unlink()
    (tmp_path / "secret").write_text("x")
    (folder / "card.md").symlink_to(tmp_path / "secret")
    with pytest.raises(WorldError, match="symbolic link"):
        read_bundle(folder)


BLIND = {"window": 1, "sink": 0, "near": [5]}
CHANGES = {
    "another format": lambda w: w | {"format": 2},
    "an unknown key": lambda w: w | {"exec": "rm"},
    "a missing key": lambda w: {k: v for k, v in w.items() if k != "licence"},
    "a wrong type": lambda w: w | {"steps": "two"},
    "eight bits that are no yes or no": lambda w: w | {"int8": "perhaps"},
    "a huge size": lambda w: w | {"model": w["model"] | {"width": 10**9}},
    "an unknown activation": lambda w: w | {"model": w["model"] | {"activation": "tanh"}},
    "an activation that is no name": lambda w: w | {"model": w["model"] | {"activation": [3]}},
    "no layer that looks through time": lambda w: w | {"model": w["model"] | {"temporal_every": 3}},
    "a negative size": lambda w: w | {"size_hw": [-16, 24]},
    "a window that fits no sight": lambda w: (
        w | {"model": w["model"] | {"sight": {"window": 1, "sink": 0, "near": [5]}}}
    ),
    "noise that deafens": lambda w: w | {"noise_scale": 30.0},
    "levels that do not begin with noise": lambda w: w | {"sigmas": {"1": [0.5]}, "steps": 1},
    "no levels at rest": lambda w: w | {"rest_steps": 3},
    "levels at rest that begin otherwise": lambda w: (
        w | {"rest_steps": 3, "sigmas": {"1": [1.0], "2": [1.0, 0.5], "3": [1.0, 0.6, 0.3]}}
    ),
    "sizes that do not fit the weights": lambda w: w | {"model": w["model"] | {"layers": 3}},
    "buttons that are no names": lambda w: w | {"actions": {"buttons": [1], "mouse": [0, 0]}},
    "a button more than the weights": lambda w: w | {"actions": {"buttons": ["a", "b", "c"], "mouse": [9, 0]}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_description_that_is_off_is_refused_in_one_line(folder, change):
    whole = json.loads((folder / "world.json").read_text())
    (folder / "world.json").write_text(json.dumps(change(whole)))
    with pytest.raises(WorldError) as caught:
        seal(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"format": NaN}', '{"format": 1, "format": 1}', "[" * 5000, "\x00", ""])
def test_text_that_is_no_strict_json_is_refused(folder, text):
    (folder / "world.json").write_text(text)
    with pytest.raises(WorldError):
        seal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_not_sane_are_refused(folder, value):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "student.safetensors")
    weights["head.weight"] = torch.full_like(weights["head.weight"], value)
    save_file(weights, folder / "student.safetensors")
    with pytest.raises(WorldError, match="not finite"):
        seal(folder)


def test_no_damage_to_a_header_gets_past_as_anything_but_a_world_error(folder):
    data = np.frombuffer((folder / "student.safetensors").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = data.copy()
        broken[rng.integers(0, 400, 4)] = rng.integers(0, 256, 4)
        (folder / "student.safetensors").write_bytes(broken.tobytes())
        try:
            seal(folder)
        except WorldError:
            continue


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A world of two tiers."""
    return add_big(make_world(tmp_path_factory.mktemp("world") / "tall"), noise_scale=1.5)


@pytest.fixture
def tiers(tall, tmp_path):
    return shutil.copytree(tall, tmp_path / "copy")


def packed(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def test_a_tier_is_another_student_for_the_same_tokenizer_and_starts(tall, tmp_path):
    for path in (tall, packed(tall, tmp_path / "a.world")):
        small, big = read_bundle(path), read_bundle(path, "big")
        assert (small.tier, big.tier, small.sha256) == ("default", "big", big.sha256)
        assert small.tiers == big.tiers == {"default": 39_173, "big": 202_213}
        assert (small.model.config.width, big.model.config.width, big.model.config.layers) == (32, 64, 3)
        assert (small.noise_scale, big.noise_scale, big.sigmas) == (1.25, 1.5, small.sigmas)
        assert torch.equal(small.start_frames, big.start_frames)


def test_an_offer_tells_the_tiers_of_a_world_by_size_without_its_weights(good, tall, tiers):
    (tiers / "student-big.safetensors").write_bytes(b"no weights")
    assert read_offer(tiers).tiers == ["default", "big"]
    assert read_offer(tall) == read_offer(tiers)
    assert read_offer(good).tiers == ["default"]
    assert read_offer(good).sha256 == read_bundle(good).sha256


def test_another_tier_changes_no_file_of_a_world_but_its_description_and_sums(tmp_path):
    def files(folder):
        return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    world = make_world(tmp_path / "tiny")
    before = files(world)
    after = files(add_big(world))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"world.json", "sha256sums", "student-big.safetensors"}
    described = json.loads(after["world.json"])
    assert described.pop("tiers").keys() == {"big"}
    assert described == json.loads(before["world.json"])


def test_a_tier_that_is_not_there_is_refused_with_those_that_are(good, tall):
    with pytest.raises(WorldError, match="no tier 'huge'; there are default, big, and auto chooses"):
        read_bundle(tall, "huge")
    with pytest.raises(WorldError, match="no tier 'big'; there are default, and auto"):
        read_bundle(good, "big")


@pytest.mark.parametrize("tier", ["default", "big"])
def test_one_flipped_bit_of_any_tier_is_found(tiers, tier):
    data = bytearray((tiers / "student-big.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (tiers / "student-big.safetensors").write_bytes(data)
    with pytest.raises(WorldError, match=r"student-big\.safetensors is damaged"):
        read_bundle(tiers, tier)


OF_TIERS = {
    "sizes that are not the file's": lambda b: {"big": b | {"model": b["model"] | {"layers": 2}}},
    "parameters that it has not": lambda b: {"big": b | {"params": 7}},
    "an unknown key": lambda b: {"big": b | {"exec": "rm"}},
    "a missing key": lambda b: {"big": {k: v for k, v in b.items() if k != "params"}},
    "a wrong type": lambda b: {"big": b | {"steps": "two"}},
    "eight bits that are no yes or no": lambda b: {"big": b | {"int8": 8}},
    "no levels for its steps": lambda b: {"big": b | {"steps": 5}},
    "a huge size": lambda b: {"big": b | {"model": b["model"] | {"width": 10**9}}},
    "noise that deafens": lambda b: {"big": b | {"noise_scale": 30.0}},
    "no description": lambda b: {"big": None},
    "a name that means something else": lambda b: {"big": b, "auto": b},
    "a name that leaves the folder": lambda b: {"big": b, "../up": b},
    "a file that is not there": lambda b: {"big": b, "huge": b},
    "a file that is not described": lambda b: {},
    "more than anybody needs": lambda b: {f"t{i}": b for i in range(30)},
}


@pytest.mark.parametrize("change", OF_TIERS.values(), ids=OF_TIERS.keys())
def test_a_tier_that_is_off_is_refused_in_one_line_whichever_is_played(tiers, change):
    whole = json.loads((tiers / "world.json").read_text())
    whole["tiers"] = change(whole["tiers"]["big"])
    (tiers / "world.json").write_text(json.dumps(whole))
    with pytest.raises(WorldError) as caught:
        seal(tiers)
    assert "\n" not in str(caught.value)


def test_weights_of_a_tier_that_are_not_sane_are_not_sealed(tiers):
    from safetensors.torch import load_file, save_file

    weights = load_file(tiers / "student-big.safetensors")
    weights["head.weight"].fill_(float("nan"))
    save_file(weights, tiers / "student-big.safetensors")
    with pytest.raises(WorldError, match=r"student-big\.safetensors: head\.weight holds numbers that are not finite"):
        seal(tiers)


def test_an_unknown_world_is_named_with_those_that_exist():
    import worldmodel

    with pytest.raises(WorldError, match="no world is called 'atlantis'"):
        worldmodel.load("atlantis")
