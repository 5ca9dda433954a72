"""From networks and starts to a bundle.

write_bundle   all but the pictures
add_tier       another student for the same world
seal           checksums over everything, and the proof that it can be read
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from worldmodel.bundle.description import FORMAT, check_tier_name
from worldmodel.bundle.files import DEFAULT_TIER, student_file
from worldmodel.bundle.read import World, num_params, read_bundle
from worldmodel.model.dit import CausalDiT


def write_bundle(
    folder: Path, info: dict[str, Any], nets: dict[str, Any], frames: Tensor, moves: Tensor, card: str
) -> None:
    """Write all but the pictures into an empty or new folder; weights in bfloat16. Then add pictures and `seal`.

    nets: student (CausalDiT) and tokenizer (Tokenizer), and teacher, of the student's architecture, if it comes along.

    info: the keys of world.json besides format, sizes and architecture, which are read off the networks.
    """
    (folder / "starts").mkdir(parents=True, exist_ok=True)
    model, tokenizer = nets["student"], nets["tokenizer"]
    sizes = tokenizer.config
    whole = {
        **info, "format": FORMAT, "size_hw": list(sizes.size_hw), "latent_shape": list(sizes.latent_shape),
        "model": asdict(model.config), "tokenizer": asdict(sizes),
    }  # fmt: skip
    _describe(folder, whole)
    for name, module in nets.items():
        (folder / f"{name}.safetensors").write_bytes(_weights(module))
    (folder / "starts.safetensors").write_bytes(save({"frames": frames.contiguous(), "actions": moves.contiguous()}))
    (folder / "card.md").write_text(card, encoding="utf-8")


def add_tier(folder: Path, tier: str, student: CausalDiT, about: dict[str, Any]) -> None:
    """Write a student beside that of a bundle's folder, or over the one of its name; all else stays. Then `seal`.

    about: training, and sigmas, noise_scale and steps where they are not the world's. ValueError for a name that no
    tier can have.
    """
    check_tier_name(tier)
    whole = json.loads((folder / "world.json").read_text(encoding="utf-8"))
    own = {"model": asdict(student.config), "params": num_params(student), **about}
    _describe(folder, whole | {"tiers": whole.get("tiers", {}) | {tier: own}})
    (folder / student_file(tier)).write_bytes(_weights(student))


def _describe(folder: Path, whole: dict[str, Any]) -> None:
    (folder / "world.json").write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _weights(module: nn.Module) -> bytes:
    own = module.state_dict().items()
    return save({key: value.detach().cpu().contiguous().to(torch.bfloat16) for key, value in own})


def seal(folder: Path) -> World:
    """Write sha256sums over everything in the folder, and read the bundle back, in each tier, to prove it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "sha256sums")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in paths]
    (folder / "sha256sums").write_text("".join(lines), encoding="utf-8")
    world = read_bundle(folder)
    for tier in world.tiers.keys() - {DEFAULT_TIER}:
        read_bundle(folder, tier)
    return world
