"""Where weights come from: what world.json keeps of the runs that made a world, and what its card tells of them."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from train.load import is_world
from worldmodel.bundle import read_bundle
from worldmodel.training.checkpoint import load_checkpoint


def provenance(run: str, *, of_tokenizer: bool = False) -> dict[str, Any]:
    """What made the weights: stage, steps, minutes and settings of a run, of the runs it started from, and of the
    teacher where it started from another's student; of a world, its student's, or its tokenizer's.
    """
    if is_world(run):
        world = read_bundle(run)
        training = world.info["training"]
        return (training.get("tokenizer", {}) if of_tokenizer else _once(training)) | {"world": world.sha256}
    checkpoint = load_checkpoint(Path(run) / "checkpoint")
    config = checkpoint.config
    facts: dict[str, Any] = {
        "stage": checkpoint.stage, "steps": checkpoint.step, "minutes": round(checkpoint.extra["seconds"] / 60, 1),
        "config": {k: v for k, v in config.items() if k not in ("game", "run", "hydra")},
    }  # fmt: skip
    source = config.get("student") or config.get("teacher") or config.get("init")
    if config.get("student") and config.get("teacher"):
        facts["taught_by"] = back_to_a_world(provenance(config["teacher"]))
    return facts | ({"from": provenance(source, of_tokenizer=of_tokenizer)} if source else {})


def _once(made: dict[str, Any]) -> dict[str, Any]:
    """What made a student, without what is told elsewhere: the tokenizer, and worlds that its teachers began with."""
    kept = {key: value for key, value in made.items() if key not in ("tokenizer", "alignment")}
    kept |= {"taught_by": back_to_a_world(made["taught_by"])} if "taught_by" in made else {}
    return kept | ({"from": _once(made["from"])} if "from" in made else {})


def back_to_a_world(made: dict[str, Any]) -> dict[str, Any]:
    """The same without what made the world that it began with, which names itself: world.json has to stay small."""
    if "world" in made:
        return {"world": made["world"]}
    return made | ({"from": back_to_a_world(made["from"])} if "from" in made else {})


def stages_of(made: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a student or a tokenizer, the latest first, each followed by those of its teachers that are not told
    yet, back to a world.
    """
    own = _line_of(made)
    told = [_alone(step) for step in own]
    runs = []
    for step in own:
        teachers = takewhile(lambda run: "world" not in run, _line_of(step.get("taught_by", {})))
        taught = [run for run in teachers if _alone(run) not in told]
        told += [_alone(run) for run in taught]
        runs += [step, *taught]
    return runs


def _line_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    """A run and those that it began with, the latest first."""
    line = []
    while run and "stage" in run:
        line.append(run)
        run = run.get("from", {})
    return line


def _alone(run: dict[str, Any]) -> dict[str, Any]:
    """A run without what came before it."""
    return {key: value for key, value in run.items() if key not in ("from", "taught_by", "world")}
