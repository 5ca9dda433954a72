"""The frame written by hand is the frame of the network, takes no memory in play, and refuses what it is not for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import TURNING, make_full_world, make_world

import worldmodel
from worldmodel.backends import written
from worldmodel.backends.compiled import Recipe, load, recipe_for
from worldmodel.backends.frame import WholeFrame, looks_at
from worldmodel.backends.int8 import has_int8
from worldmodel.batch import Dreams
from worldmodel.bench.measure import relative
from worldmodel.bench.rungs import _whole
from worldmodel.bench.setting import in_precision, reference
from worldmodel.bundle import WorldError
from worldmodel.compass import Compass

needs_compiler = pytest.mark.skipif(written.compiler() is None, reason="needs g++ or clang++")
needs_bfloat16 = pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="needs AVX-512 BF16")

needs_int8 = pytest.mark.skipif(not has_int8(), reason="needs VNNI")
KINDS = [
    (torch.float32, {}), pytest.param(torch.bfloat16, {}, marks=needs_bfloat16),
    pytest.param(torch.float32, {"int8": True}, marks=needs_int8),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLDMODEL_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def path(folder):
    return make_full_world(folder / "full")


KINDS_OF_WORLDS = {"48 colours": {"patch": 16}, "75 colours, half a vector": {"patch": 20}, "turning": TURNING}


@pytest.fixture(scope="module", params=KINDS_OF_WORLDS.values(), ids=KINDS_OF_WORLDS)
def any_path(folder, request):
    return make_full_world(folder / str(list(request.param)), **request.param)


def setting(path, dtype):
    world, actions = worldmodel.load(path), torch.rand(7, 3, generator=torch.Generator().manual_seed(1))
    return in_precision(world, dtype, 2, Compass.of(world.actions).along(actions))


def whole_of(world):
    return WholeFrame(world.model, world.tokenizer, world.sigmas[2], world.noise_scale)


def code_for(world, dtype, **kind):
    recipe = recipe_for(world, 2, dtype, 1, **kind)
    if not recipe.path.exists():
        written.build(recipe.sizes, recipe.path)
    return load(recipe, whole_of(world))


@needs_compiler
@pytest.mark.slow
@torch.inference_mode()
def test_in_float32_it_dreams_what_rollout_dreams_for_64_frames(path):
    s = setting(path, torch.float32)
    truth = reference(s, 64)
    frames = _whole(s, lambda: code_for(s.world, torch.float32), looks_at, None)
    errors = [relative(next(frames)[0, 0], truth[t]) for t in range(64)]
    assert max(errors) < 1e-4


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@torch.inference_mode()
def test_one_frame_its_picture_and_what_it_remembers_are_the_networks(any_path, dtype):
    plain, s = setting(any_path, torch.float32), setting(any_path, dtype)
    far = 1e-5 if dtype == torch.float32 else 2e-2
    made = []
    for one, frame in ((plain, whole_of(plain.world)), (s, code_for(s.world, dtype))):
        cache, x0, last = one.begin()
        moves = torch.cat([last, one.action(0)], 1)
        latent, picture = frame(cache.keys, cache.values, looks_at(cache, moves), x0, moves, one.noise(0))
        rings = [u[:, : cache.length + 2].float() for u in cache.keys + cache.values]
        made.append([latent, picture.float(), *rings])
    latent, picture, *rings = (relative(ours, truth) for truth, ours in zip(*made, strict=True))
    assert max(latent, *rings) < far
    if dtype == torch.float32:
        differ = (made[0][1] - made[1][1]).abs()
        assert differ.sum() <= 2  # a colour or two that lay between two levels
    else:
        assert picture < far


@needs_compiler
@pytest.mark.slow
def test_the_engine_plays_by_it_and_goes_back_to_the_byte(path):
    env = worldmodel.Engine(worldmodel.load(path), "cpu", dtype="float32", threads=1, backend="compiled")
    env.reset(start=0, seed=3)
    before = np.stack([env.step(worldmodel.Action()) for _ in range(20)])
    assert isinstance(env.frames._compiled[2], written.Written)
    env.rewind(9)
    assert np.array_equal(np.stack([env.step(worldmodel.Action()) for _ in range(9)]), before[11:])


@needs_compiler
@pytest.mark.slow
def test_threads_are_tried_in_play_and_the_dream_stays_exact(path, monkeypatch):
    monkeypatch.setattr("worldmodel.backends.play.cores", lambda: 3)
    made, counts = [], []
    for budget_s in (None, 0.0):
        env = worldmodel.Engine(worldmodel.load(path), "cpu", dtype="float32", threads=1, backend="compiled")
        env.frames.budget_s, env.frames.may_change = budget_s, lambda: False  # as while recording
        env.reset(start=0, seed=3)
        for _ in range(80):
            made.append(env.step(worldmodel.Action()))
            counts.append(env.frames._compiled[2].threads)
    assert (set(counts[:80]), set(counts[80:])) == ({1}, {1, 2})
    assert np.array_equal(made[:80], made[80:])
    assert (env.backend, env.reach()[0]) == ("compiled:2@1", 80)


@pytest.mark.parametrize(("on_four_s", "chosen"), [(0.01, 4), (0.019, 1), (0.5, 1)])
def test_more_threads_than_one_are_taken_where_they_are_clearly_sooner(monkeypatch, on_four_s, chosen):
    class Code:
        threads = 1

        def __call__(self, *inputs):
            clock.append(clock[-1] + (0.02 if self.threads == 1 else on_four_s))

    clock = [0.0]
    monkeypatch.setattr("worldmodel.backends.written.time.perf_counter", lambda: clock[-1])
    code = Code()
    written.choose_threads(code, (), 4)
    assert code.threads == chosen


@needs_compiler
@pytest.mark.slow
def test_many_dreams_in_turn_are_those_of_a_batch(any_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    made = []
    for backend in ("eager", "compiled"):
        dreams = Dreams(worldmodel.load(any_path), 3, "cpu", dtype="float32", backend=backend)
        dreams.reset([0, 1, 0], [5, 6, 7])
        made.append(np.stack([dreams.step(np.roll(np.eye(3), t // 3, 0)) for t in range(12)]).astype(int))
    assert np.abs(made[0] - made[1]).max() <= 1


@pytest.mark.parametrize(("backend", "word"), [("compiled", "no code is written"), ("fast", "unknown")])
def test_dreams_by_code_that_there_is_not_are_refused(folder, backend, word):
    with pytest.raises(WorldError, match=word):
        Dreams(worldmodel.load(make_world(folder / f"tiny-{backend}")), 3, "cpu", dtype="float32", backend=backend)


@needs_compiler
@pytest.mark.slow
def test_code_of_other_sizes_refuses_the_weights(path, folder):
    world = worldmodel.load(path)
    code_for(world, torch.float32)
    one_step = WholeFrame(world.model, world.tokenizer, world.sigmas[1], world.noise_scale)
    with pytest.raises(RuntimeError, match="other sizes"):
        written.Written(recipe_for(world, 2, torch.float32, 1).path, one_step)


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts calls of glibc's malloc")
def test_a_frame_takes_memory_for_its_latent_and_its_picture_only(path, folder):
    """Counted below torch and C++: calls of malloc and its kin."""
    world = worldmodel.load(path)
    code_for(world, torch.float32)
    counter = folder / "counter.so"
    source = Path(__file__).parent / "counter.c"
    subprocess.run([written.compiler(), "-shared", "-fPIC", "-xc", str(source), "-o", str(counter)], check=True)
    words = [sys.executable, str(Path(__file__).parent / "allocations.py"), str(path)]
    environment = os.environ | {"LD_PRELOAD": str(counter), "PYTHONMALLOC": "pymalloc"}
    found = json.loads(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)
    assert found["inside a frame"] == found["inside a frame, on two threads"] == 0
    assert found["eager, a frame"] > 100  # the counter counts


def test_sizes_that_do_not_fill_vectors_are_left_to_torchs_compiler(folder):
    world = worldmodel.load(make_world(folder / "tiny"))
    recipe = recipe_for(world, 2, torch.float32, 1)
    assert recipe.sizes is None
    sizes = written.sizes_of(world.model, world.tokenizer.config, 2, torch.float32, int8=False)
    assert sizes.problem is not None
    assert "the latent's channels 5" in sizes.problem


def test_other_kinds_of_networks_are_left_to_torchs_compiler(folder):
    for number, kind in enumerate(({"activation": "gelu"}, {"temporal_every": 2})):
        world = worldmodel.load(make_world(folder / f"kind-{number}", **kind))
        problem = written.sizes_of(world.model, world.tokenizer.config, 2, torch.float32, int8=False).problem
        assert "an activation other than relu2" in problem


def test_worlds_of_equal_sizes_share_code_and_other_sizes_do_not(path):
    world = worldmodel.load(path)
    sizes = [
        written.sizes_of(world.model, world.tokenizer.config, steps, torch.float32, int8=int8)
        for steps, int8 in ((2, False), (2, False), (1, False), (2, True))
    ]
    recipes = [Recipe(path, name, 2, "float32", 1, size) for name, size in zip("abcd", sizes, strict=True)]
    assert recipes[0].path == recipes[1].path
    assert len({recipe.path for recipe in recipes}) == 3


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_a_processor_told_to_be_plain_gets_plain_code(path, monkeypatch):
    world = worldmodel.load(path)
    paths = []
    for told in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda told=told: told)
        paths.append((plain := recipe_for(world, 2, torch.float32, 1)).path)
    assert paths[0] != paths[1]
    written.build(plain.sizes, plain.path)
    found = subprocess.run(["objdump", "-d", str(plain.path)], capture_output=True, text=True, check=True).stdout
    assert "ymm" in found
    assert "zmm" not in found


def test_any_number_of_threads_is_served_by_the_same_code(path):
    paths = {recipe_for(worldmodel.load(path), 2, torch.float32, threads).path for threads in (1, 2, 5)}
    assert len(paths) == 1


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "kind"), KINDS)
@torch.inference_mode()
def test_any_number_of_threads_makes_the_same_bytes(path, dtype, kind):
    """Also when it changes between frames, and where there are more threads than work."""
    made = []
    for counts in ([1], [2], [3], [2, 16, 1, 3]):
        s = setting(path, dtype)
        code, (cache, x0, last) = code_for(s.world, dtype, **kind), s.begin()
        for t in range(40):
            code.threads = counts[t % len(counts)]
            moves = torch.cat([last, s.action(t % 7)], 1)
            x0, picture = code(cache.keys, cache.values, looks_at(cache, moves), x0, moves, s.noise(t % 7))
            last = s.action(t % 7)
            cache.advance()
        made.append([x0, picture, *cache.keys, *cache.values])
    assert all(torch.equal(one, other) for others in made[1:] for one, other in zip(made[0], others, strict=True))


@needs_compiler
@pytest.mark.slow
def test_there_are_no_more_threads_than_the_code_knows(path):
    code = code_for(worldmodel.load(path), torch.float32)
    counts = []
    for code.threads in (2, 99, 0):
        counts.append(code.threads)
    assert counts == [2, 16, 1]


def test_without_a_compiler_there_is_none(path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert recipe_for(worldmodel.load(path), 2, torch.float32, 1).sizes is None
