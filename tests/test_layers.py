"""Who may import whom: section 3 of the architecture, and one door a package."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "worldmodel"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [ROOT / "play.py", *sorted((ROOT / "train").glob("*.py"))]

MAY_IMPORT = {
    "action": "",
    "env": "action",
    "compass": "action",
    "config": "",
    "folders": "",
    "training": "",
    "model": "",
    "games": "action env folders",
    "data": "action env compass",
    "tokenizer": "",
    "diffusion": "model",
    "bundle": "action tokenizer model",
    "backends": "folders tokenizer model diffusion bundle",
    "line": "env",
    "engine": "action env compass line tokenizer model diffusion bundle backends",
    "batch": "compass tokenizer model diffusion bundle backends",
    "bench": "action env compass folders tokenizer model diffusion bundle backends engine batch",
    "evaluation": "action env compass data tokenizer model diffusion engine",
    "ui": "action env data",
    "tiers": "action folders bundle backends engine",
    "glimpse": "action env data",
    "venue": "action env config glimpse data games tokenizer bundle backends engine tiers",
    "gym": "action env",
}
DOORS = {
    "pygame": "worldmodel/ui/",
    "flash_attn": "worldmodel/model/attention.py",
    "av": "worldmodel/data/video.py",
    "imageio": "worldmodel/data/video.py",
    "vizdoom": "worldmodel/games/",
    "Box2D": "worldmodel/games/",
    "gymnasium": "worldmodel/games/ worldmodel/gym.py",
    "gym3": "worldmodel/games/",
    "cffi": "worldmodel/games/",
    "omegaconf": "worldmodel/config.py play.py train/",
    "hydra": "play.py train/",
    "tqdm": "worldmodel/training/ train/",
}


def name(path):
    """The dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name(path): path for path in FILES}


@cache
def imports(path, *, lazy=True):
    """Names of all modules that a file imports; without lazy ones only those that are loaded with it."""
    tree = ast.parse(path.read_text(), path)
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: imports are absolute here"
                whole = {f"{child.module}.{alias.name}" for alias in child.names}
                found.update({child.module} | (whole & MODULES.keys()))
            elif lazy or not (is_function(child) or is_for_types(child)):
                visit(child)

    visit(tree)
    return frozenset(found)


def is_function(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def is_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def room(module):
    """worldmodel.data.video -> data; worldmodel itself -> None."""
    return module.split(".")[1] if "." in module else None


def loaded_with(path):
    """All module names that importing a file brings along, packages above them included."""
    seen, todo = set(), [path]
    while todo:
        for module in imports(todo.pop(), lazy=False):
            above = [module.rsplit(".", n)[0] for n in range(module.count(".") + 1)]
            todo += [MODULES[m] for m in above if m in MODULES and m not in seen]
            seen.update(above)
    return seen


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_what_lies_below_it(path):
    ours = room(name(path))
    if ours is None:
        return  # worldmodel/__init__.py hands out the public names
    theirs = {room(m) for m in imports(path) if m.split(".")[0] == "worldmodel"}
    public = (
        {None} if ours in ("tiers", "venue", "glimpse", "bench") else set()
    )  # they open worlds by their public names
    assert theirs <= {ours, *MAY_IMPORT[ours].split(), *public}


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=name)
def test_a_package_has_one_door(path):
    place = path.relative_to(ROOT).as_posix()
    for package in {m.split(".")[0] for m in imports(path)} & DOORS.keys():
        assert place.startswith(tuple(DOORS[package].split())), f"{package} does not belong in {place}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_imports_the_scripts(path):
    assert not {m.split(".")[0] for m in imports(path)} & {"train", "play", "tests"}


@pytest.mark.parametrize("module", ["worldmodel", *(m for m in MODULES if room(m) in ("action", "env", "data", "ui"))])
def test_windows_and_recordings_load_no_torch(module):
    """A replay starts in a moment and runs where there is no torch."""
    assert not {m.split(".")[0] for m in loaded_with(MODULES[module])} & {"torch", "safetensors"}


def test_the_public_names_load_nothing_but_actions():
    assert {m for m in loaded_with(PACKAGE / "__init__.py") if m in MODULES} <= {"worldmodel", "worldmodel.action"}


def test_the_table_knows_every_room():
    assert {room(m) for m in MODULES} - {None} <= MAY_IMPORT.keys()
    assert not any(path.stem in ("utils", "misc", "common", "helpers") for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_print_lives_in_the_log_only(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    prints = any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls)
    assert not prints or path == PACKAGE / "training" / "log.py"


def test_a_world_opens_without_torchs_compiler():
    """Importing torch._dynamo takes a second, before every play."""
    code = "import sys, worldmodel.engine, worldmodel.venue; print('torch._dynamo' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.strip() == "False"
