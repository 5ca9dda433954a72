"""From a run's folder, or a world's, back to a network: the one place where checkpoints become modules.

Where a stage names a run, a bundled world may stand: what it carries (student, teacher, tokenizer) is then taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.action import ActionSpace
from worldmodel.bundle import carries_teacher, read_bundle, read_teacher
from worldmodel.config import typed
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig
from worldmodel.training.checkpoint import load_checkpoint


def load_tokenizer(run: str | Path) -> Tokenizer:
    """The averaged tokenizer of a run, or the one of a world; ready to use."""
    if is_world(run):
        return read_bundle(run).tokenizer
    checkpoint = load_checkpoint(Path(run) / "checkpoint")
    tokenizer = Tokenizer(typed(TokenizerConfig, checkpoint.config["tokenizer"]))
    tokenizer.load_state_dict(weights(checkpoint.state["ema"]))
    return tokenizer.eval().requires_grad_(False)


def load_model(run: str | Path, name: str = "ema") -> CausalDiT:
    """A network of a run: its averaged weights, or another entry of its state. Of a world: its student."""
    if is_world(run):
        return read_bundle(run).model.requires_grad_(True)
    checkpoint = load_checkpoint(Path(run) / "checkpoint")
    shape, actions = checkpoint.config["latent_shape"], checkpoint.config["num_actions"]
    model = CausalDiT(typed(ModelConfig, checkpoint.config["model"]), (shape[0], shape[1], shape[2]), actions)
    state = checkpoint.state[name]
    model.load_state_dict(weights(state.get("weights", state)))
    return model


def load_teacher(run: str | Path) -> CausalDiT:
    """The averaged network of a run, or the teacher that a world carries. Raises WorldError if it carries none."""
    return read_teacher(run).requires_grad_(True) if is_world(run) else load_model(run)


def begin_with(init: str | Path, model: CausalDiT) -> None:
    """Give a network the weights of a run (averaged) or a world: its teacher's or, if it carries none, its student's.

    The network keeps its own key frames (`sight.far`, `sight.every`), so that it may learn to look further back than
    what it begins with, and says so if it does; it may have a compass, recall frames and pan its columns where that
    does not. Raises ValueError if anything else of the two differs.
    """
    give(load_teacher(init) if not is_world(init) or carries_teacher(init) else load_model(init), model, str(init))


def give(source: CausalDiT, model: CausalDiT, init: str) -> None:
    """Give a network the weights of another, which `init` names, as begin_with does."""
    theirs, ours = source.config.sight, model.config.sight
    like = replace(theirs, far=ours.far, every=ours.every, recall=ours.recall)
    if replace(source.config, sight=like, pan=model.config.pan) != model.config:
        raise ValueError(f"init={init} is {source.config}, which model=... and model.* must name: now {model.config}")
    given = source.state_dict()
    given["action.0.weight"] = _told_more(given["action.0.weight"], source.num_actions, model.num_actions)
    if ours.recall and not theirs.recall:  # what is recalled begins as the oldest of the near frames
        for name in [name for name in given if name.endswith("nearness")]:
            row = 1 + len(theirs.near)
            given[name] = torch.cat([given[name][:row], given[name][row - 1 : row], given[name][row:]])
    for name, weight in model.state_dict().items():  # in place; key frames' ages are a table's last rows: new ones stay
        rows = min(len(weight), len(given[name]))
        weight[:rows] = given[name][:rows]
    if theirs != ours:
        print(f"{init} saw {theirs}; this run sees {ours} (model.sight.far, .every, .recall)", flush=True)


def student_begun(teacher: str | Path, student: str | None, since: str | None, name: str = "ema") -> CausalDiT:
    """What a student begins with, in its teacher's network: the teacher's weights; or those of another student, a run's
    (its entry `name`) or a world's; or these and what the teacher has learnt since it was `since`.
    """
    model = load_teacher(teacher)
    if student:
        give(load_model(student, name), model, student)
    if since:
        before = load_teacher(teacher)
        give(load_teacher(since), before, since)
        add_learnt(model, load_teacher(teacher), before)
    return model


@torch.no_grad()
def add_learnt(student: CausalDiT, teacher: CausalDiT, before: CausalDiT) -> None:
    """Add to a student what its teacher has learnt since it was another: student + teacher - before, weight by weight.

    What a distillation changes and what a teacher learns later add up well while both are small: the acceleration
    vector of LCM-LoRA, arXiv:2311.05556, section 3.
    """
    for ours, now, then in zip(*(model.parameters() for model in (student, teacher, before)), strict=True):
        ours += now - then


@torch.no_grad()
def blend_in(student: CausalDiT, other: CausalDiT, share: float) -> None:
    """Move a student's weights by `share` of the way to another's (WiSE-FT, arXiv:2109.01903, equation 1).

    Half of what a training has changed may be better than all of it. Raises ValueError if the networks differ.
    """
    if student.config != other.config or student.num_actions != other.num_actions:
        raise ValueError(f"no blend of two kinds of network: {student.config} and {other.config}")
    for ours, theirs in zip(student.parameters(), other.parameters(), strict=True):
        ours.mul_(1 - share).add_(theirs * share)


def _told_more(weight: Tensor, known: int, told: int) -> Tensor:
    """Weights (D, 6 known) of an action's features for one of more numbers: what is new begins without a say."""
    if told < known:
        raise ValueError(f"init is told {known} numbers of an action, this run {told}: compass=true, or another game")
    return F.pad(weight.unflatten(1, (6, known)), (0, told - known)).flatten(1)


def check_heading(config: ModelConfig, *, compass: bool) -> None:
    """ValueError if a network goes by a heading that it is not told."""
    if config.needs_heading and not compass:
        raise ValueError("model.pan and model.sight.recall go by the heading: say compass=true as well")


def model_config(run: str | Path) -> dict[str, Any]:
    """The architecture of a run or world: model, latent_shape, num_actions."""
    if is_world(run):
        info = read_bundle(run).info
        space = ActionSpace.from_json(info["actions"])
        return {"model": info["model"], "latent_shape": info["latent_shape"], "num_actions": space.told}
    config = load_checkpoint(Path(run) / "checkpoint").config
    return {key: config[key] for key in ("model", "latent_shape", "num_actions")}


def is_world(path: str | Path) -> bool:
    """Whether a path is a world bundle and not a run."""
    return (Path(path) / "world.json").exists() or Path(path).suffix == ".world"


def weights(state: dict[str, Any]) -> dict[str, Any]:
    """An averaged state without the average's own counter."""
    return {key: value for key, value in state.items() if key != "ema_updates"}
