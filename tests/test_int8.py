"""Products in eight bits: what they are, where there are any, and that the written code makes just these."""

import copy

import pytest
import torch
from test_conf import composed
from test_written import code_for, folder, needs_bfloat16, needs_compiler, needs_int8, path, setting, whole_of  # noqa: F401
from torch import nn
from worlds import TURNING, make_full_world

import worldmodel
from train import evaluate
from worldmodel import tiers
from worldmodel.backends import int8, place, written
from worldmodel.backends.compiled import recipe_for
from worldmodel.backends.frame import looks_at
from worldmodel.backends.int8 import Int8Linear, has_int8, in_int8, wants_int8
from worldmodel.backends.play import Frames
from worldmodel.bench.measure import relative
from worldmodel.bench.rungs import _whole
from worldmodel.bench.setting import reference
from worldmodel.bundle import WorldError
from worldmodel.config import typed


def test_whole_levels_are_kept_and_others_rounded_to_the_nearest():
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[127.0, -64, 1, 0], [0.5, 0.25, 0, -1.27]]))
    x = torch.tensor([[1.27, 0.5, -0.02, 0.0], [254, 2.9, 1.1, 0.9]])
    near = torch.tensor([[1.27, 0.5, -0.02, 0.0], [254, 2.0, 2.0, 0.0]])
    weight = torch.tensor([[127.0, -64, 1, 0], [0.5, 0.25, 0, -1.27]])
    assert torch.allclose(Int8Linear(layer)(x), near @ weight.T + layer.bias, atol=1e-4)


@torch.inference_mode()
def test_only_the_four_layers_of_each_block_are_made_so(path):  # noqa: F811
    model = worldmodel.load(path).model
    twin = in_int8(model)
    kinds = [type(part) for part in twin.modules()]
    assert kinds.count(Int8Linear) == 4 * len(model.blocks)
    assert twin.head is not model.head
    assert twin.head.weight is model.head.weight
    assert not any(isinstance(part, Int8Linear) for part in model.modules())


@pytest.mark.parametrize(
    ("capability", "flags", "has"),
    [("AVX512", "avx2 avx512_vnni", True), ("AVX512", "avx512f avx_vnni", False), ("AVX2", "avx2 avx_vnni", True),
     ("AVX2", "avx512_vnni", False), ("AVX2", "", False)],
)  # fmt: skip
def test_a_processor_is_asked_for_the_instruction_of_its_vectors(monkeypatch, capability, flags, has):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(int8, "processor", lambda: f"flags : {flags}")
    assert has_int8() == has
    assert wants_int8("auto", torch.float32, accepted=True) == has
    assert not wants_int8("auto", torch.float32, accepted=False)
    assert not wants_int8("auto", torch.bfloat16, accepted=True)
    assert wants_int8("int8", torch.bfloat16, accepted=False)
    assert not wants_int8("compiled", torch.float32, accepted=True)


def test_this_processor_is_described():
    assert place.processor()


def test_where_bytes_are_not_multiplied_the_wish_is_refused_and_auto_is_compiled(path, monkeypatch):  # noqa: F811
    world, cpu = worldmodel.load(path), torch.device("cpu")
    monkeypatch.setattr(written, "has_int8", lambda: False)
    assert not recipe_for(world, 2, torch.float32, 1, int8=True).is_int8
    with pytest.raises(WorldError, match="no code is written"):
        Frames(world, cpu, torch.float32, "int8", 2)
    monkeypatch.setattr("worldmodel.backends.play.wants_int8", lambda wish, dtype, accepted: True)
    assert not Frames(world, cpu, torch.float32, "auto", 2)._int8


def test_an_evaluation_judges_it_where_asked_to(path):  # noqa: F811
    for told, kinds, name in (("false", {nn.Linear}, "full"), ("true", {Int8Linear}, "full-int8")):
        cfg = typed(evaluate.Config, composed("evaluate", "run=null", f"world={path}", "device=cpu", f"int8={told}"))
        world = worldmodel.load(path)
        dreamers = evaluate.dreamers(cfg, world)
        for dreamer in (dreamers.student, dreamers.one_step):
            assert {type(block.qkv) for block in dreamer.model.blocks} == kinds
        assert evaluate.name_of(cfg, world) == name


@needs_compiler
@needs_int8
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@torch.inference_mode()
def test_one_frame_is_that_of_the_network_in_eight_bits(path, dtype):  # noqa: F811
    plain, small = setting(path, torch.float32), setting(path, dtype)
    exact, world = whole_of(plain.world), copy.copy(plain.world)
    world.model = in_int8(plain.world.model)
    rounded, made = whole_of(world), []
    for one, frame in ((plain, exact), (plain, rounded), (small, code_for(small.world, dtype, int8=True))):
        cache, x0, last = one.begin()
        moves = torch.cat([last, one.action(0)], 1)
        made.append(frame(cache.keys, cache.values, looks_at(cache, moves), x0, moves, one.noise(0))[0])
    exact_x0, rounded_x0, ours = made
    assert relative(ours, rounded_x0) < (2e-4 if dtype == torch.float32 else 2e-2)
    assert 2e-4 < relative(rounded_x0, exact_x0) < 5e-2  # eight bits are seen, and are not far


@needs_compiler
@needs_int8
@pytest.mark.slow
@torch.inference_mode()
def test_told_the_heading_it_is_as_near_as_a_millionth_of_the_input_leaves_the_network(folder):  # noqa: F811
    """One level that is rounded the other way moves others behind it, so that no bound of floats holds here."""
    s = setting(make_full_world(folder / "turning in eight bits", **TURNING), torch.float32)
    world = copy.copy(s.world)
    world.model = in_int8(s.world.model)
    rounded, code, some = whole_of(world), code_for(s.world, torch.float32, int8=True), torch.Generator().manual_seed(0)

    def made(frame, change):
        cache, x0, last = s.begin()
        moves = torch.cat([last, s.action(0)], 1)
        moves = moves * (1 + change * torch.randn(moves.shape, generator=some))
        return frame(cache.keys, cache.values, looks_at(cache, moves), x0, moves, s.noise(0))[0]

    truth = made(rounded, 0)
    spread = max(relative(made(rounded, 1e-6), truth) for _ in range(16))
    assert relative(made(code, 0), truth) < 1.5 * spread < 0.75 * relative(made(whole_of(s.world), 0), truth)


@needs_compiler
@needs_int8
@pytest.mark.slow
@torch.inference_mode()
def test_after_64_frames_of_a_true_past_it_is_still_near(path):  # noqa: F811
    s = setting(path, torch.float32)
    truth = reference(s, 64)
    frames = _whole(s, lambda: code_for(s.world, torch.float32, int8=True), looks_at, truth)
    errors = [relative(next(frames)[0, 0], truth[t]) for t in range(64)]
    assert errors[-1] < 3 * errors[0] < 0.1


@needs_compiler
@needs_int8
@pytest.mark.slow
def test_it_is_played_by_name_or_where_products_would_be_in_float32(path, monkeypatch):  # noqa: F811
    world, cpu = worldmodel.load(path), torch.device("cpu")
    engine = worldmodel.Engine(world, "cpu", dtype="float32", threads=1, backend="int8")
    before = [engine.step(worldmodel.Action()) for _ in range(20)]
    assert engine.backend == "int8:2@1"
    engine.rewind(9)
    assert all((engine.step(worldmodel.Action()) == frame).all() for frame in before[11:])
    assert Frames(world, cpu, torch.float32, engine.backend, 2)._int8
    assert not Frames(world, cpu, torch.float32, "auto", 2)._int8  # nobody has judged it so
    world.int8 = True
    assert Frames(world, cpu, torch.float32, "auto", 2)._int8
    assert not Frames(world, cpu, torch.bfloat16, "auto", 2)._int8
    assert not Frames(world, cpu, torch.float32, "compiled:2@1", 2)._int8
    where = tiers.Setting(str(path), "cpu", 2, 1, "auto", 0.3)
    monkeypatch.setattr(tiers, "dtype_of", lambda name, device: torch.float32)
    assert tiers.code_for(world, where) == "int8"
