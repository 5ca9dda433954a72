"""The bench measures engines that make the same frames, and says which do not."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from worlds import TURNING, add_big, make_full_world, make_world

import worldmodel
from worldmodel.backends import written
from worldmodel.bench import fits, levers
from worldmodel.bench.__main__ import main, options
from worldmodel.bench.measure import relative
from worldmodel.bench.report import row
from worldmodel.bench.rungs import ladder
from worldmodel.bench.setting import in_precision, reference
from worldmodel.compass import Compass


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny")


@torch.inference_mode()
@pytest.mark.parametrize("kind", [{}, TURNING], ids=["plain", "turning"])
def test_every_rung_of_rollouts_function_makes_rollouts_frames(tmp_path, kind):
    world = worldmodel.load(make_world(tmp_path / "tiny", **kind))
    setting = in_precision(world, torch.float32, 2, Compass.of(world.actions).along(torch.rand(7, 3)))
    truth = reference(setting, 25)
    for rung in ladder(setting, compiled=False):
        frames = rung.play(None)
        made = [next(frames)[0, 0].clone() for _ in range(25)]
        assert (relative(made[-1], truth[-1]) < 1e-4) == rung.is_same, rung.name


@torch.inference_mode()
def test_every_rung_goes_on_from_what_it_is_told(path):
    setting = in_precision(worldmodel.load(path), torch.float32, 2, torch.rand(7, 3))
    truth = reference(setting, 6)
    lie = truth.clone()
    lie[2] += 1
    for rung in ladder(setting, compiled=False):
        told, lied = ([next(frames)[0, 0].clone() for _ in truth] for frames in map(rung.play, (truth, lie)))
        assert torch.equal(lied[2], told[2]), rung.name  # the lie is what the next ones go on from
        assert relative(lied[3], told[3]) > 1e-2, rung.name
        assert (relative(told[5], truth[5]) < 1e-4) == rung.is_same, rung.name


def test_the_report_names_every_rung_its_gate_and_the_limit(path, tmp_path, capsys):
    small = ["frames=3", "parity=12", "contended=false", "first=false", "dtype=float32", "envs=1,3"]
    assert main([f"world={path}", f"out={tmp_path / 'out'}", *small]) == 0
    found = json.loads((tmp_path / "out/bench.json").read_text())
    assert [one["passes"] for one in found["rungs"]] == [None, None, True, True, True, True]
    assert found["limit"]["gflop"] > 0
    assert sorted(found["envs"]) == ["1", "3"]
    assert "products alone" in capsys.readouterr().out
    assert (tmp_path / "out/bench.svg").read_text().startswith("<svg")


def test_another_tier_is_measured_where_it_is_asked_for(path, tmp_path, capsys):
    tall = add_big(shutil.copytree(path, tmp_path / "tall"))
    small = ["frames=3", "parity=12", "contended=false", "first=false", "dtype=float32", "only=d"]
    gflop = {}
    for tier in ("default", "big"):
        assert main([f"world={tall}", f"tier={tier}", f"out={tmp_path / tier}", *small]) == 0
        found = json.loads((tmp_path / tier / "bench.json").read_text())
        assert found["settings"]["tier"] == tier
        gflop[tier] = found["limit"]["gflop"]
    assert gflop["big"] > 2 * gflop["default"]
    assert main([f"world={tall}", "tier=huge", *small]) == 2
    assert "there are default, big" in capsys.readouterr().err


def test_a_rung_over_the_gate_does_not_pass():
    times = np.arange(1.0, 9.0).reshape(4, 2)
    for alone, told in ((2e-4, 2e-4), (2e-3, 2e-4), (2e-4, 2e-3)):
        found = row("slow", times, [1e-6, alone, told], 1e-3)
        assert (found["passes"], found["passes_after_a_true_past"]) == (alone < 1e-3, told < 1e-3)


def test_the_largest_network_that_fits_a_frame_is_named(path, monkeypatch, capsys):
    def frame_ms(whole, inputs, frames, *, int8):
        return whole.model.config.width * whole.model.config.layers / (100 if int8 else 50)

    monkeypatch.setattr(fits.worldmodel, "default_world", lambda: str(path))
    monkeypatch.setattr(fits, "frame_ms", frame_ms)
    monkeypatch.setattr(fits, "limit_ms", lambda whole, inputs: 1.0)
    monkeypatch.setattr(fits, "dtype_of", lambda name, device: torch.float32)
    monkeypatch.setattr(fits, "has_int8", lambda: True)
    monkeypatch.setattr(fits, "SIZES", ((192, 4), (256, 6), (384, 6), (640, 14), (640, 16)))
    assert fits.main(["fps=25"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["192", "256", "384", "640"]  # what is far too slow ends it
    assert lines[-1].startswith("largest that fits: float32 256 x 6 (")
    assert "int8 384 x 6 (" in lines[-1]
    assert fits.main(["speed=3"]) == fits.main(["fps=fast"]) == 2
    assert fits.main(["head=128", "fps=25"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:-1]] == ["256", "384", "640"]


@pytest.mark.slow
@pytest.mark.skipif(written.compiler() is None, reason="needs g++ or clang++")
def test_a_network_of_random_weights_is_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE", str(tmp_path / "cache"))
    world = worldmodel.load(make_full_world(tmp_path / "full"))
    whole, inputs = fits.sample(world, fits.sized(world, 128, 1, 64), torch.float32, 2)
    assert (whole.model.config.heads, whole.model.config.temporal_heads) == (2, 1)
    assert 0 < fits.limit_ms(whole, inputs) < 1000
    assert 0 < fits.frame_ms(whole, inputs, 3, int8=False) < 1000


@pytest.mark.slow
def test_values_of_the_architecture_are_timed_where_there_is_code_for_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLDMODEL_CACHE", str(tmp_path / "cache"))
    world = make_full_world(tmp_path / "full")
    monkeypatch.setattr(levers, "LEVERS", {"base": {}, "gelu": {"activation": "gelu"}, "no heads": {"heads": 0}})
    assert levers.main([f"world={world}", "frames=2", "steps=1"]) == 0
    head, base, gelu = capsys.readouterr().out.splitlines()
    assert "packed eager" in head
    assert re.fullmatch(r"base \(\d+\.\d M\) +\d+\.\d ms +(\d+\.\d ms|not written)", base)
    assert re.fullmatch(r"gelu \(\d+\.\d M\) +\d+\.\d ms +not written", gelu)
    assert levers.main(["frames=0", "colour=red"]) == 2


def test_what_is_no_option_is_refused():
    for word in ("frame=3", "frames", "frames=x", "first=1"):
        with pytest.raises(ValueError):
            options([word])
