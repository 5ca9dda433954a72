"""The benchmark of play measures what it says: from the event to the flip of the frame that answers it."""

import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest
from test_session import FakeEnv
from worlds import make_world

SCRIPT = Path(__file__).parent.parent / "scripts" / "latency.py"
STEP_S = 0.06


@pytest.fixture
def latency(monkeypatch):
    spec = importlib.util.spec_from_file_location("latency", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WAITS_S", (0.0, 0.02))
    return module


def test_a_press_takes_at_least_the_step_that_answers_it(latency, tmp_path):
    env = latency.Recorder(FakeEnv(lambda t: time.sleep(STEP_S)), tmp_path, source="real", game="fake")
    seen = latency.play(env, 3, "uncapped", seed=1)
    assert len(seen["input to photon"]) == 3
    assert seen["input to photon"].min() >= 1000 * STEP_S
    assert seen["model"].min() >= 1000 * STEP_S
    assert seen["window's turn"].max() > 0


def test_it_runs_and_reports_both_rounds(latency, tmp_path, monkeypatch, capsys):
    world = make_world(tmp_path / "tiny")
    monkeypatch.setattr(
        sys, "argv", ["latency.py", str(world), "presses=4", "device=cpu", "threads=1", "pace=uncapped"]
    )
    latency.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["times"]["input to photon, recording"]["n"] == 2
    assert report["times"]["input to photon, not recording"]["p50_ms"] > 0
