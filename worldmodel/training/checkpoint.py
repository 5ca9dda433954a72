"""Checkpoints: tensors and builtins in a folder that is whole or absent.

save_checkpoint   state -> state-00000.safetensors ..., checkpoint.json, manifest.json
load_checkpoint   the same back, every byte verified first
load_weights      one module's tensors only

No pickle: what is neither tensor nor builtin is refused. Not here: when to save, what to fall back to (loop.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

FORMAT = "worldmodel-checkpoint-1"
MAX_SHARD_BYTES = 1 << 30  # without a limit asked for: bounds the copy held in memory while writing


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or trusted; one line with the remedy."""


@dataclass(kw_only=True)
class Checkpoint:
    """What save_checkpoint was given; step counts finished steps."""

    stage: str
    step: int
    config: dict[str, Any]
    state: dict[str, Any]
    extra: dict[str, Any]


def save_checkpoint(
    folder: Path,
    stage: str,
    step: int,
    config: dict[str, Any],
    state: dict[str, Any],
    extra: dict[str, Any],
    shard_bytes: int = 0,
) -> None:
    """Write a checkpoint folder atomically; the one before stays as `<folder>.previous`.

    state: nested dicts (str or int keys), lists and tuples of tensors, numbers, bools, strings and None; comes back
    bit-exactly. Tensors are copied, so shared ones are stored twice. Every file holds at most about shard_bytes of
    tensors (0: 1 GiB); larger tensors are cut. At any instant `folder` or `<folder>.previous` is whole.
    Raises TypeError for other values and CheckpointError if the disk refuses; then the old folder is untouched.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f"{folder.name}.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)
    encoder = _Encoder(shard_bytes or MAX_SHARD_BYTES)
    tree = {
        "stage": stage,
        "step": step,
        "config": encoder.encode(config, "config"),
        "extra": encoder.encode(extra, "extra"),
        "state": {name: encoder.encode(part, name) for name, part in state.items()},
    }
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        temporary.mkdir()
        sha256 = {name: _write(temporary / name, data) for name, data in encoder.shards()}
        sha256["checkpoint.json"] = _write(temporary / "checkpoint.json", json.dumps(tree, allow_nan=False).encode())
        _write(temporary / "manifest.json", json.dumps({"format": FORMAT, "sha256": sha256}, indent=1).encode())
        _sync_folder(temporary)
        _swap_in(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{folder}: could not write the checkpoint of step {step} ({error.strerror}; it needs "
            f"{encoder.num_bytes} bytes). Free some space; the checkpoint before it is untouched."
        ) from error


def load_checkpoint(folder: Path, device: str = "cpu") -> Checkpoint:
    """Read and verify a checkpoint; its tensors are fresh copies on `device`. Raises CheckpointError."""
    folder = Path(folder)
    tree = _verified(folder)
    try:
        parts = {key: _decode(tree[key], folder, device) for key in ("config", "state", "extra")}
        return Checkpoint(stage=tree["stage"], step=tree["step"], **parts)
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def load_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of state[name] of a module or an EMA, on the CPU: ready for the module's load_state_dict.

    Counters beside them are left out. Raises CheckpointError if `name` is missing or is no module's state.
    """
    folder = Path(folder)
    state = _verified(folder).get("state", {})
    if name not in state:
        raise CheckpointError(f"{folder}: holds no {name!r}, only {', '.join(sorted(state))}. Name one of these.")
    try:
        part = _decode(state[name], folder, "cpu")
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    if not isinstance(part, dict) or any(isinstance(value, dict | list | tuple) for value in part.values()):
        raise CheckpointError(f"{folder}: {name!r} is not the state of a module. Name another of {', '.join(state)}.")
    return {str(key): value for key, value in part.items() if isinstance(value, Tensor)}


class _Encoder:
    """Values -> JSON with references to tensors, and the tensors packed into shards.

    Strings, numbers and str-keyed dicts stay themselves; the rest is a dict with one key that starts with "$".
    """

    def __init__(self, shard_bytes: int) -> None:
        self.shard_bytes = shard_bytes
        self.packed: list[dict[str, Tensor]] = []
        self.room = 0
        self.num_bytes = 0

    def encode(self, value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            return {"$tensor": self._pack(value.detach(), path), "$shape": list(value.shape)}
        if isinstance(value, float) and not math.isfinite(value):
            return {"$float": str(value)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, dict):
            wrong = [key for key in value if type(key) not in (str, int)]
            if wrong:
                raise TypeError(f"checkpoint: {path} has the key {wrong[0]!r}; keys must be str or int")
            items = [[key, self.encode(item, f"{path}/{key}")] for key, item in value.items()]
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return dict(items)
            return {"$dict": items}
        if isinstance(value, list | tuple):
            items = [self.encode(item, f"{path}/{i}") for i, item in enumerate(value)]
            return {"$tuple": items} if isinstance(value, tuple) else items
        raise TypeError(f"checkpoint: {path} is a {type(value).__name__}; only tensors and builtins can be saved")

    def _pack(self, tensor: Tensor, path: str) -> list[list[str]]:
        """Where the tensor's flat pieces will lie: [shard, name] each."""
        per_piece = max(1, self.shard_bytes // tensor.element_size())
        pieces = tensor.reshape(-1).split(per_piece) if tensor.numel() > per_piece else (tensor,)
        places = []
        for i, piece in enumerate(pieces):
            size = piece.numel() * piece.element_size()
            if not self.packed or size > self.room:
                self.packed.append({})
                self.room = self.shard_bytes
            name = path if len(pieces) == 1 else f"{path}#{i}"
            while name in self.packed[-1]:  # the keys 0 and "0" of one dict
                name += "'"
            self.packed[-1][name] = piece
            self.room -= size
            self.num_bytes += size
            places.append([_shard_name(len(self.packed) - 1), name])
        return places

    def shards(self) -> Iterator[tuple[str, bytes]]:
        for i, tensors in enumerate(self.packed):
            copies = {
                name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
            }
            yield _shard_name(i), to_safetensors(copies)


def _shard_name(index: int) -> str:
    return f"state-{index:05d}.safetensors"


def _decode(value: Any, folder: Path, device: str) -> Any:
    if isinstance(value, list):
        return [_decode(item, folder, device) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        pieces = [_read_tensor(folder, shard, name) for shard, name in value["$tensor"]]
        whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        # A copy: the piece is a map of the file, unaligned, and whoever loads may write into it.
        return whole.reshape(value["$shape"]).to(device, copy=True)
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(item, folder, device) for item in value["$tuple"])
    items = value["$dict"] if "$dict" in value else value.items()
    return {key: _decode(item, folder, device) for key, item in items}


def _read_tensor(folder: Path, shard: str, name: str) -> Tensor:
    with safe_open(folder / shard, framework="pt") as tensors:
        return tensors.get_tensor(name)


def _verified(folder: Path) -> dict[str, Any]:
    """checkpoint.json, after every file agreed with its sha256."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no checkpoint here. Check the path, or run the stage that writes it first.")
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        if manifest["format"] != FORMAT:
            raise CheckpointError(
                f"{folder}: format {manifest['format']!r}, this version reads {FORMAT!r}. "
                "Use the version that wrote it, or train again."
            )
        for name, expected in manifest["sha256"].items():
            if name != Path(name).name or _sha256(folder / name) != expected:
                raise _damaged(folder, f"sha256 of {name} does not match")
        if "checkpoint.json" not in manifest["sha256"]:
            raise _damaged(folder, "manifest.json does not list checkpoint.json")
        return json.loads((folder / "checkpoint.json").read_bytes())
    except OSError as error:
        raise _damaged(folder, f"{error.strerror}: {error.filename}") from error
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _damaged(folder, f"unreadable manifest.json or checkpoint.json ({type(error).__name__})") from error


def _damaged(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{folder}: damaged, {reason}. Use {folder}.previous, or copy it again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> str:
    """Write and fsync; returns the sha256."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def _swap_in(temporary: Path, folder: Path) -> None:
    previous = folder.with_name(f"{folder.name}.previous")
    oldest = folder.with_name(f"{folder.name}.tmp-oldest")
    if folder.exists():
        if previous.exists():
            previous.rename(oldest)
        folder.rename(previous)
    temporary.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(oldest, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
