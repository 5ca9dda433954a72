"""Every config composes with every option, fits its script's dataclasses, and has no key that nobody reads."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from worldmodel.config import plain, typed

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
WORLD = ["world=doom_garden"]
NEEDED = {"evaluate": ["run=runs/some"], "drift": WORLD, "memory": WORLD}  # what a script asks of its caller
FITS = {"tokens=doom": ["game=doom"]}  # options that fit some others only
FOLDERS = {path.parent for path in CONF.rglob("*.yaml")} - {CONF}
GROUPS = {folder.relative_to(CONF).as_posix(): sorted(f.stem for f in folder.glob("*.yaml")) for folder in FOLDERS}


def script(root):
    """The script that is called like its YAML, or None: `quiet` is a part of others."""
    path = ROOT / "play.py" if root == "play" else ROOT / "train" / f"{root}.py"
    return path if path.exists() and "class Config" in path.read_text() else None


ROOTS = [path.stem for path in sorted(CONF.glob("*.yaml")) if script(path.stem)]


def groups_of(root):
    """The groups that the defaults list of a root names."""
    entries = OmegaConf.load(CONF / f"{root}.yaml").get("defaults", [])
    keys = [str(key).removeprefix("optional ") for entry in entries if isinstance(entry, DictConfig) for key in entry]
    return [key for key in keys if key in GROUPS]


def schema(root):
    module = "play" if root == "play" else f"train.{root}"
    return importlib.import_module(module).Config


def composed(root, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(root, [*NEEDED.get(root, []), *overrides])


@pytest.fixture(autouse=True)
def _scripts_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    for key in ("HYDRA_FULL_ERROR", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(key, "1")  # play.py sets them: undone with the test


CHOICES = [(root, f"{group}={option}") for root in ROOTS for group in groups_of(root) for option in GROUPS[group]]


@pytest.mark.parametrize("root", ROOTS)
def test_a_config_fits_its_script(root):
    cfg = typed(schema(root), composed(root))
    assert plain(cfg).keys() == {f.name for f in dataclasses.fields(schema(root))}


@pytest.mark.parametrize(("root", "choice"), CHOICES)
def test_a_config_fits_its_script_with_every_option(root, choice):
    typed(schema(root), composed(root, choice, *FITS.get(choice, [])))


def test_every_group_is_chosen_by_some_root():
    assert {choice.split("=")[0] for _, choice in CHOICES} == GROUPS.keys()


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (CONF / "recipe").glob("*.yaml")))
def test_what_a_recipe_tells_a_stage_the_stage_understands(recipe):
    for stage, overrides in composed("world", f"recipe={recipe}").overrides.items():
        typed(schema(stage), composed(stage, "game=doom", *overrides))


def test_a_world_takes_its_game_s_recipe_or_another():
    assert composed("world", "game=racer").budget == composed("world", "recipe=racer").budget == 90
    assert composed("world", "game=doom", "recipe=racer").budget == 90


def test_a_world_takes_its_stages_in_the_order_that_a_recipe_gives():
    late = "stages=[collect,tokenizer,latents,teacher,consistency,bidirectional,dmd,export]"
    cfg = typed(
        schema("world"),
        composed("world", late, "shares.tokenizer=0", "shares.bidirectional=0.1", "overrides.dmd=['dmd.windows=2']"),
    )
    lines = importlib.import_module("train.world").commands(cfg, "doom", "small")
    named = [line[2].removeprefix("train.") for line in lines]
    assert named == ["collect", "latents", "teacher", "consistency", "bidirectional", "dmd", "export"]
    assert lines[5][-1] == "dmd.windows=2"
    with pytest.raises(ValueError, match="stages is an order of"):
        typed(schema("world"), composed("world", "stages=[collect,export]"))


@pytest.mark.parametrize("given", ["[3, 1]", "[-1, 2]", "[0, 16]"])
def test_a_bidirectional_model_is_given_some_frames_and_never_all(given):
    with pytest.raises(ValueError, match="two numbers in order"):
        typed(schema("bidirectional"), composed("bidirectional", f"given={given}"))


def test_a_tokenizer_takes_its_game_s_tokens_or_none():
    assert composed("tokenizer", "game=doom").tokenizer.patch == 20
    assert composed("tokenizer", "game=doom", "tokenizer.patch=40").tokenizer.patch == 40
    assert composed("tokenizer", "game=racer").tokenizer.patch == 16


@pytest.mark.parametrize("root", ROOTS)
def test_a_key_nobody_reads_is_refused(root):
    with pytest.raises(ValueError, match="nobody_reads_me"):
        typed(schema(root), composed(root, "+nobody_reads_me=1"))


@pytest.mark.parametrize("root", ROOTS)
def test_a_script_reads_every_key_of_its_config(root):
    """Keys of a dataclass that it inherits are read where that one lives."""
    text = script(root).read_text()
    unread = [key for key in vars(schema(root))["__annotations__"] if not re.search(rf"\bcfg\.{key}\b", text)]
    references = OmegaConf.to_yaml(OmegaConf.load(CONF / f"{root}.yaml"), resolve=False)
    assert not [key for key in unread if f"${{{key}" not in references]


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.relative_to(CONF).as_posix())
def test_no_config_makes_objects(path):
    assert "_target_" not in path.read_text()
