"""From a bundle to a world that can be played.

World          what a bundle holds, ready to play
read_bundle    folder or zip -> World; WorldError in one line if anything is off
read_teacher   the teacher that some bundles carry, for further training and for comparison
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from worldmodel.action import ActionError, ActionSpace
from worldmodel.bundle.description import dataclass_of, description
from worldmodel.bundle.files import WorldError, check_sums, files_of, refuse, text_of
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

TEACHER = "teacher.safetensors"
MOST_HEADER = 2**20


@dataclass
class World:
    """One world. sigmas: noise levels by number of steps; steps: the number it was made for; noise_scale: loudness of
    the noise between steps (rollout.consistency); starts: titles; start_frames uint8 (S, T, H, W, 3); start_actions
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
    starts: list[str]
    start_frames: Tensor
    start_actions: Tensor
    card: str
    sha256: str
    info: dict[str, Any]


def read_bundle(path: str | Path) -> World:
    """Open and check a bundle. Raises WorldError."""
    path = Path(path)
    files = files_of(path)
    check_sums(path, files)
    info = description(path, files["world.json"])
    try:
        actions = ActionSpace.from_json(info["actions"])
        sight = dataclass_of(path, Sight, info["model"]["sight"])
        config = dataclass_of(path, ModelConfig, {**info["model"], "sight": sight})
        sizes = dataclass_of(path, TokenizerConfig, info["tokenizer"])
        shape = tuple(info["latent_shape"])
        if shape != sizes.latent_shape or list(info["size_hw"]) != list(sizes.size_hw):
            refuse(path, f"latent shape {shape} and frame size {info['size_hw']} do not fit its tokenizer")
        model = CausalDiT(config, sizes.latent_shape, actions.size)
        tokenizer = Tokenizer(sizes)
    except (ActionError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, WorldError):
            raise
        refuse(path, f"world.json: {error}")
    _load_into(path, "student.safetensors", files, model)
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
        starts=titles,
        start_frames=frames,
        start_actions=moves.float(),
        card=text_of(files["card.md"]),
        sha256=hashlib.sha256(files["sha256sums"]).hexdigest(),
        info=info,
    )


def read_teacher(path: str | Path) -> CausalDiT:
    """The teacher that a bundle carries beside its student, of the same architecture. Raises WorldError."""
    path = Path(path)
    model, files = read_bundle(path).model, files_of(path)
    if TEACHER not in files:
        refuse(path, f"carries no {TEACHER}: take a run, or another world")
    _load_into(path, TEACHER, files, model)
    return model


def _tensors(path: Path, name: str, files: dict[str, bytes]) -> dict[str, Tensor]:
    data = files[name]
    if len(data) < 8 or int.from_bytes(data[:8], "little") > MOST_HEADER:
        refuse(path, f"{name} has no sane header")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        refuse(path, f"{name}: {error}")


def _load_into(path: Path, name: str, files: dict[str, bytes], module: nn.Module) -> None:
    tensors, expected = _tensors(path, name, files), dict(module.state_dict())
    if set(tensors) != set(expected):
        refuse(path, f"{name}: unexpected or missing tensors {sorted(set(tensors) ^ set(expected))[:3]}")
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape or not tensor.is_floating_point():
            refuse(path, f"{name}: {key} is {tensor.dtype} {list(tensor.shape)}, not {list(expected[key].shape)}")
        if not bool(torch.isfinite(tensor).all()) or float(tensor.abs().max()) > 1e4:
            refuse(path, f"{name}: {key} holds numbers that are not finite or absurdly large")
    module.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
