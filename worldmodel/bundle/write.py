"""From networks and starts to a bundle.

write_bundle   all but the pictures
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
from torch import Tensor

from worldmodel.bundle.description import FORMAT
from worldmodel.bundle.read import World, read_bundle


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
    (folder / "world.json").write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for name, module in nets.items():
        own = module.state_dict().items()
        weights = {key: value.detach().cpu().contiguous().to(torch.bfloat16) for key, value in own}
        (folder / f"{name}.safetensors").write_bytes(save(weights))
    (folder / "starts.safetensors").write_bytes(save({"frames": frames.contiguous(), "actions": moves.contiguous()}))
    (folder / "card.md").write_text(card, encoding="utf-8")


def seal(folder: Path) -> World:
    """Write sha256sums over everything in the folder, and read the bundle back to prove it."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "sha256sums")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder).as_posix()}\n" for p in paths]
    (folder / "sha256sums").write_text("".join(lines), encoding="utf-8")
    return read_bundle(folder)
