"""The loop: what a run that was stopped, damaged or poisoned still guarantees."""

import json
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from worldmodel.training import loop as loop_module
from worldmodel.training.checkpoint import load_checkpoint
from worldmodel.training.ema import EMA
from worldmodel.training.loop import LoopConfig, train
from worldmodel.training.optimizer import Optimizer, OptimizerConfig
from worldmodel.training.run import RunConfig, start

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(3, 5), nn.Linear(5, 7), nn.Linear(7, 2)

    def matrix_parameters(self):
        return [self.hidden.weight]

    def forward(self, x):
        return self.last(torch.relu(self.hidden(torch.relu(self.first(x)))))


class Numbers:
    def batch(self, step, batch_size):
        return torch.randn(batch_size, 3, generator=torch.Generator().manual_seed(step))


def loop_config(**changed):
    values = {"steps": 9, "budget_minutes": 0, "batch": 4, "log_every": 2, "save_minutes": 0, "preview_every": 0}
    return LoopConfig(**(values | changed))


def optimizer_config(kind):
    return OptimizerConfig(
        kind=kind, lr=0.01, muon_lr=0.01, betas=[0.9, 0.95], weight_decay=0.1, clip=1.0, skip_above=0.0,
        warmup_steps=3, decay_from=0.5, decay_to=0.1,
    )  # fmt: skip


def stage(folder: Path, kind="adamw", at_step=lambda step: None, spoil=lambda step: 0.0, config=None, **hooks):
    """A whole stage script in new objects; returns its checkpoint's state."""
    run = start("toy", RunConfig(dir=str(folder), device="cpu", threads=1, seed=5, compile=False), {"kind": kind})
    net = Net()
    optimizer, ema = Optimizer(net, optimizer_config(kind)), EMA(net, 0.9, start_step=2)

    def update(step, batch):
        at_step(step)
        loss = (net(batch) - torch.randn(4, 2)).square().mean() + spoil(step)
        metrics = optimizer.step(loss, step, run.progress)
        ema.update(net, step)
        return metrics

    state = {"model": net, "ema": ema, "optimizer": optimizer}
    train(run, update, Numbers(), state, config or loop_config(), **hooks)
    return load_checkpoint(folder / "checkpoint").state


def stop_at(stopped_step):
    return lambda step: signal.raise_signal(signal.SIGTERM) if step == stopped_step else None


def assert_equal(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, torch.Tensor):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    elif isinstance(ours, list):
        assert_equal(dict(enumerate(ours)), dict(enumerate(theirs)))
    else:
        assert ours == theirs


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_an_interrupted_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, kind):
    whole = stage(tmp_path / "whole", kind)
    for stopped_step in (1, 4):
        with pytest.raises(SystemExit) as stopped:
            stage(tmp_path / "parts", kind, at_step=stop_at(stopped_step))
        assert stopped.value.code == 0
        assert load_checkpoint(tmp_path / "parts" / "checkpoint").step == stopped_step + 1
    parts = stage(tmp_path / "parts", kind)
    assert_equal(parts, whole)


def test_a_finished_stage_does_nothing(tmp_path, capsys):
    stage(tmp_path)
    stage(tmp_path, at_step=lambda step: pytest.fail("stepped"), finish=lambda: pytest.fail("finished again"))
    assert "already finished at step 9" in capsys.readouterr().err


def test_a_finished_stage_goes_on_when_its_budget_is_raised(tmp_path):
    stage(tmp_path, config=loop_config(steps=4))
    steps = []
    stage(tmp_path, at_step=steps.append)
    assert steps == [4, 5, 6, 7, 8]
    assert load_checkpoint(tmp_path / "checkpoint").step == 9


def test_a_flipped_byte_falls_back_to_the_previous_checkpoint(tmp_path, capsys):
    for stopped_step in (2, 5):
        with pytest.raises(SystemExit):
            stage(tmp_path / "parts", at_step=stop_at(stopped_step))
    shard = tmp_path / "parts" / "checkpoint" / "state-00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    assert_equal(stage(tmp_path / "parts"), stage(tmp_path / "whole"))
    assert "Falling back to checkpoint.previous, step 3" in capsys.readouterr().err


def test_a_crash_between_two_renames_falls_back_too(tmp_path):
    with pytest.raises(SystemExit):
        stage(tmp_path / "parts", at_step=stop_at(2))
    (tmp_path / "parts" / "checkpoint").rename(tmp_path / "parts" / "checkpoint.previous")
    assert_equal(stage(tmp_path / "parts"), stage(tmp_path / "whole"))


def test_a_metric_that_is_not_finite_stops_the_run_and_spares_the_checkpoint(tmp_path):
    with pytest.raises(SystemExit):
        stage(tmp_path, at_step=stop_at(2))
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 4.*untouched"):
        stage(tmp_path, spoil=lambda step: float("nan") if step == 4 else 0.0)
    assert load_checkpoint(tmp_path / "checkpoint").step == 3


def test_a_poisoned_step_is_never_saved(tmp_path):
    with pytest.raises(FloatingPointError, match="step 5"):
        stage(tmp_path, at_step=stop_at(5), spoil=lambda step: float("inf") if step == 5 else 0.0)
    assert not (tmp_path / "checkpoint").exists()


def test_the_time_budget_ends_the_run_over_resumes_and_previews_are_free(tmp_path, monkeypatch):
    clock, steps = [100.0], []
    monkeypatch.setattr(loop_module, "monotonic", lambda: clock[0])

    def work(step):
        clock[0] += 60
        steps.append(step)
        stop_at(1)(step)

    def preview(step):
        clock[0] += 1e6

    config = loop_config(steps=1000, budget_minutes=5, preview_every=1)
    with pytest.raises(SystemExit):
        stage(tmp_path, at_step=work, config=config, preview=preview, looks_first=True)
    clock[0] += 1e6
    stage(tmp_path, at_step=work, config=config, preview=preview, looks_first=True)
    assert steps == [0, 1, 2, 3, 4]


def test_progress_runs_from_zero_to_one(tmp_path):
    run = start("toy", RunConfig(dir=str(tmp_path), device="cpu", threads=0, seed=0, compile=False), {})
    seen = []
    train(run, lambda step, batch: seen.append(run.progress) or {}, Numbers(), {}, loop_config(steps=4))
    assert seen == [0, 0.25, 0.5, 0.75]
    assert run.progress == 1


def test_previews_come_every_so_often_and_at_the_end_and_then_finish(tmp_path):
    calls = []
    config = loop_config(preview_every=4)
    stage(tmp_path, config=config, preview=calls.append, finish=lambda: calls.append("finish"))
    assert calls == [4, 8, 9, "finish"]


def test_a_preview_of_the_start_comes_once_and_only_where_there_are_previews(tmp_path):
    calls, config = [], loop_config(preview_every=4)
    with pytest.raises(SystemExit):
        stage(tmp_path / "a", at_step=stop_at(2), config=config, preview=calls.append, looks_first=True)
    assert calls == [0]
    stage(tmp_path / "a", config=config, preview=calls.append, looks_first=True)
    assert calls == [0, 4, 8, 9]
    stage(tmp_path / "b", config=loop_config(preview_every=0), preview=calls.append, looks_first=True)
    assert calls == [0, 4, 8, 9]


def test_a_failed_finish_is_done_again_without_a_step(tmp_path):
    with pytest.raises(ZeroDivisionError):
        stage(tmp_path, finish=lambda: 1 / 0)
    calls = []
    stage(tmp_path, at_step=lambda step: pytest.fail("stepped"), finish=lambda: calls.append("finish"))
    assert calls == ["finish"]


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path):
    with pytest.raises(SystemExit):
        stage(tmp_path, at_step=stop_at(2))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "minutes": 0, "metrics": {}}\n{"ste')
    stage(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    assert set(lines[0]["metrics"]) == {"loss", "grad_norm", "lr", "skipped"}


def test_signal_handlers_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stage(tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_loop_config_refuses_nonsense():
    with pytest.raises(ValueError, match=r"loop\.steps"):
        loop_config(steps=0)
