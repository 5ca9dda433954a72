"""From a bundle to a world that can be played.

World          what a bundle holds, ready to play
read_bundle    folder or zip -> World; WorldError in one line if anything is off
Offer          what a bundle holds, told without its weights by read_offer
read_teacher   the teacher that some bundles carry, for further training and for comparison
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from worldmodel.action import ActionError, ActionSpace, is_rest
from worldmodel.bundle.description import dataclass_of, description, in_tier, tiers_in
from worldmodel.bundle.files import DEFAULT_TIER, WorldError, check_sums, files_of, refuse, student_file, text_of
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

TEACHER = "teacher.safetensors"
MOST_HEADER = 2**20


@dataclass
class World:
    """One world, in one of its tiers. sigmas: noise levels by number of steps; steps: the number it was made for;
    rest_steps: that a frame takes at least while nothing is held; noise_scale: loudness of the noise between steps
    (rollout.consistency); tiers: number of parameters of each, the smallest first; int8: whether an evaluation found
    its dreams no worse with products in eight bits; starts: titles; start_frames uint8 (S, T, H, W, 3); start_actions
    float32 (S, T - 1, A); info: world.json.
    """

    path: Path
    name: str
    game: str
    model: CausalDiT
    tokenizer: Tokenizer
    actions: ActionSpace
    fps: float
    size_hw: tuple[int, int]
    sigmas: dict[int, list[float]]
    noise_scale: float
    steps: int
    rest_steps: int
    int8: bool
    tier: str
    tiers: dict[str, int]
    starts: list[str]
    start_frames: Tensor
    start_actions: Tensor
    card: str
    sha256: str
    info: dict[str, Any]

    def passes(self, held: np.ndarray, steps: int) -> np.ndarray:
        """How many passes frames under action vectors (..., A) take where `steps` are played with: int (...)."""
        return np.where(is_rest(held), max(steps, self.rest_steps), steps)

    @property
    def rest_sigmas(self) -> list[float] | None:
        """The levels of a frame for which nothing is held, where they are more than those of play."""
        return self.sigmas[self.rest_steps] if self.rest_steps > self.steps else None


@dataclass(frozen=True)
class Offer:
    """tiers: their names, the smallest first; fps: what a tier has to keep up with."""

    sha256: str
    fps: float
    tiers: list[str]


def read_offer(path: str | Path) -> Offer:
    """What a bundle says of itself; its weights are neither read nor checked. Raises WorldError."""
    path = Path(path)
    files = files_of(path, ("world.json", "sha256sums"))
    check_sums(path, files)
    info = description(path, files["world.json"])
    tiers = tiers_in(info)
    if len(tiers) > 1:  # a network without weights is quickly made, but not for nothing
        tiers = list(_sizes(path, info, _networks(path, info, "")[0]))
    return Offer(hashlib.sha256(files["sha256sums"]).hexdigest(), float(info["fps"]), tiers)


def read_bundle(path: str | Path, tier: str = DEFAULT_TIER) -> World:
    """Open and check a bundle, with the student of a tier. Raises WorldError, also if there is no such tier."""
    path = Path(path)
    files = files_of(path)
    check_sums(path, files)
    whole = description(path, files["world.json"])
    if tier not in tiers_in(whole):
        raise WorldError(f"{path}: no tier {tier!r}; there are {', '.join(tiers_in(whole))}, and auto chooses")
    info = in_tier(whole, tier)
    students, tokenizer, actions = _networks(path, whole, tier)
    model, sizes = students[tier], tokenizer.config
    files_of_tiers = {name for name in files if name.startswith("student-")}
    if files_of_tiers != {student_file(name) for name in students if name != DEFAULT_TIER}:
        refuse(path, f"{sorted(files_of_tiers)} are not the files of its tiers {sorted(students)}")
    for name in students.keys() - {tier}:
        _fitting(path, student_file(name), files, students[name])
    _load_into(path, student_file(tier), files, model)
    _load_into(path, "tokenizer.safetensors", files, tokenizer)
    starts = _tensors(path, "starts.safetensors", files)
    frames, moves = (starts.get(key, torch.empty(0)) for key in ("frames", "actions"))
    titles = [str(s)[:80] for s in info["starts"]]
    h, w = sizes.size_hw
    are_frames = frames.dtype == torch.uint8 and frames.ndim == 5 and frames.shape[2:] == (h, w, 3)
    if not are_frames or moves.shape != (len(titles), frames.shape[1] - 1, actions.size):
        refuse(path, f"starts.safetensors does not hold {len(titles)} starts of {w}x{h} frames and their actions")
    return World(
        path=path,
        name=info["name"],
        game=info["game"],
        model=model.eval().requires_grad_(False),
        tokenizer=tokenizer.eval().requires_grad_(False),
        actions=actions,
        fps=float(info["fps"]),
        size_hw=(h, w),
        sigmas={int(n): [float(s) for s in levels] for n, levels in info["sigmas"].items()},
        noise_scale=float(info["noise_scale"]),
        steps=info["steps"],
        rest_steps=info.get("rest_steps", 1),
        int8=info.get("int8", False),
        tier=tier,
        tiers=_sizes(path, whole, students),
        starts=titles,
        start_frames=frames,
        start_actions=moves.float(),
        card=text_of(files["card.md"]),
        sha256=hashlib.sha256(files["sha256sums"]).hexdigest(),
        info=whole,
    )


def carries_teacher(path: str | Path) -> bool:
    """Whether a bundle has its student's teacher beside it. Raises WorldError."""
    return TEACHER in files_of(Path(path))


def read_teacher(path: str | Path) -> CausalDiT:
    """The teacher that a bundle carries beside its student, of the same architecture. Raises WorldError."""
    path = Path(path)
    model, files = read_bundle(path).model, files_of(path)
    if TEACHER not in files:
        refuse(path, f"carries no {TEACHER}: take a run, or another world")
    _load_into(path, TEACHER, files, model)
    return model


def _networks(path: Path, info: dict[str, Any], chosen: str) -> tuple[dict[str, CausalDiT], Tokenizer, ActionSpace]:
    """The students by tier, the tokenizer, and the actions. Only the chosen student has room for weights."""
    try:
        actions = ActionSpace.from_json(info["actions"])
        sizes = dataclass_of(path, TokenizerConfig, info["tokenizer"])
        shape = tuple(info["latent_shape"])
        if shape != sizes.latent_shape or list(info["size_hw"]) != list(sizes.size_hw):
            refuse(path, f"latent shape {shape} and frame size {info['size_hw']} do not fit its tokenizer")
        students = {}
        for tier in tiers_in(info):
            own = in_tier(info, tier)["model"]
            sight = dataclass_of(path, Sight, own["sight"])
            config = dataclass_of(path, ModelConfig, {**own, "sight": sight})
            if config.needs_heading and not actions.turns:
                refuse(path, "its network goes by the heading, and its actions do not say how they turn")
            with torch.device("cpu" if tier == chosen else "meta"):
                students[tier] = CausalDiT(config, sizes.latent_shape, actions.told)
        return students, Tokenizer(sizes), actions
    except (ActionError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, WorldError):
            raise
        refuse(path, f"world.json: {error}")


def _sizes(path: Path, info: dict[str, Any], students: dict[str, CausalDiT]) -> dict[str, int]:
    """Number of parameters of each, the smallest first."""
    sizes = {tier: num_params(student) for tier, student in students.items()}
    told = {tier: own["params"] for tier, own in info.get("tiers", {}).items()}
    if told != {tier: sizes[tier] for tier in told}:
        refuse(path, f"world.json: params of tiers {told}, but their networks have {sizes}")
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def num_params(model: nn.Module) -> int:
    """How many numbers it has learnt."""
    return sum(p.numel() for p in model.parameters())


def _tensors(path: Path, name: str, files: dict[str, bytes]) -> dict[str, Tensor]:
    data = files[name]
    if len(data) < 8 or int.from_bytes(data[:8], "little") > MOST_HEADER:
        refuse(path, f"{name} has no sane header")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        refuse(path, f"{name}: {error}")


def _fitting(path: Path, name: str, files: dict[str, bytes], module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file: as many, as large and of such names as the module has."""
    tensors, expected = _tensors(path, name, files), dict(module.state_dict())
    if set(tensors) != set(expected):
        refuse(path, f"{name}: unexpected or missing tensors {sorted(set(tensors) ^ set(expected))[:3]}")
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape or not tensor.is_floating_point():
            refuse(path, f"{name}: {key} is {tensor.dtype} {list(tensor.shape)}, not {list(expected[key].shape)}")
    return tensors


def _load_into(path: Path, name: str, files: dict[str, bytes], module: nn.Module) -> None:
    tensors = _fitting(path, name, files, module)
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()) or float(tensor.abs().max()) > 1e4:
            refuse(path, f"{name}: {key} holds numbers that are not finite or absurdly large")
    module.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
