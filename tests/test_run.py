"""A run: one process a folder, one config a checkpoint."""

import json
import subprocess
import sys

import pytest
import torch

from worldmodel.training.checkpoint import save_checkpoint
from worldmodel.training.run import RunConfig, start

torch.set_num_threads(1)
HOLD = """
import sys
from worldmodel.training.run import RunConfig, start
run = start("toy", RunConfig(dir=sys.argv[1], device="cpu", threads=1, seed=0, compile=False), {})
print("started", flush=True)
sys.stdin.read()
"""


def open_run(folder, cfg=None, **changed):
    values = {"dir": str(folder), "device": "cpu", "threads": 0, "seed": 3, "compile": False}
    return start("toy", RunConfig(**(values | changed)), {"lr": 0.1} if cfg is None else cfg)


def test_a_second_live_run_is_refused(tmp_path):
    first = open_run(tmp_path)
    with pytest.raises(RuntimeError, match=r"pid \d+ on .*another run\.dir"):
        open_run(tmp_path)
    first.close()
    open_run(tmp_path).close()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout.readline() == b"started\n"
        with pytest.raises(RuntimeError, match=f"pid {other.pid}"):
            open_run(tmp_path)
        other.kill()
        other.wait()
        open_run(tmp_path).close()


def test_a_checkpoint_is_only_resumed_with_its_own_config(tmp_path):
    open_run(tmp_path, {"model": {"width": 8, "depth": 2}, "loop": {"steps": 5}}).close()
    save_checkpoint(tmp_path / "checkpoint", "toy", 1, {}, {}, {})
    open_run(tmp_path, {"model": {"width": 8, "depth": 2}, "loop": {"steps": 9}, "run": {"threads": 2}}).close()
    with pytest.raises(ValueError, match=r"other values of data, model\.width\. Choose another run\.dir"):
        open_run(tmp_path, {"model": {"width": 9, "depth": 2}, "data": "x"})


def test_without_a_checkpoint_the_config_may_change(tmp_path):
    open_run(tmp_path, {"lr": 0.1}).close()
    open_run(tmp_path, {"lr": 0.2}).close()
    assert json.loads((tmp_path / "config.json").read_text()) == {"lr": 0.2}


def test_a_start_seeds_torch_and_says_where_it_works(tmp_path, capsys):
    open_run(tmp_path).close()
    first = torch.rand(3)
    open_run(tmp_path).close()
    assert torch.equal(torch.rand(3), first)
    assert f"[toy] device cpu, 1 threads, in {tmp_path}" in capsys.readouterr().err


def test_an_unknown_device_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"run\.device.*auto"):
        open_run(tmp_path, device="toaster")


def test_metrics_are_one_json_object_a_line(tmp_path):
    run = open_run(tmp_path)
    run.log(7, {"loss": 0.5})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 7, "minutes": 0.0, "metrics": {"loss": 0.5}}
    run.close()
