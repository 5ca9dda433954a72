"""A run: one stage working in one folder on one device.

RunConfig   where and on what
start       make or reopen the folder: lock, config.json, seed, threads, device
Run         what stage scripts and the loop hold

Not here: steps (loop.py), what is saved (checkpoint.py).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from worldmodel.training.log import Log

NEVER_MATTERS = ("loop", "run")  # top-level keys that may differ when a run is resumed


@dataclass(kw_only=True)
class RunConfig:
    """Where a stage works, and on what."""

    dir: str
    device: str  # auto | cpu | cuda | cuda:1 | ...
    threads: int  # of torch on the CPU; 0 = leave as it is
    seed: int
    compile: bool  # whether the stage compiles its networks

    def __post_init__(self) -> None:
        if not self.dir:
            raise ValueError("run.dir is empty; give a folder, e.g. run.dir=runs/first")
        if self.threads < 0:
            raise ValueError(f"run.threads must be >= 0, got {self.threads}")
        if self.seed < 0:
            raise ValueError(f"run.seed must be >= 0, got {self.seed}")


class Run:
    """A started stage. The loop sets progress, in [0, 1], and minutes of training before each step."""

    def __init__(
        self, stage: str, config: RunConfig, cfg: dict[str, Any], device: torch.device, lock: BinaryIO
    ) -> None:
        self.stage = stage
        self.dir = Path(config.dir)
        self.device = device
        self.config = config
        self.cfg = cfg
        self.progress = 0.0
        self.minutes = 0.0
        self.voice = Log(self.dir / "log.jsonl", stage)
        self._lock = lock

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Append metrics to log.jsonl."""
        self.voice.record(step, self.minutes, metrics)

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        self.voice.say(text)

    def close(self) -> None:
        """Give the folder back: end the bar, release the lock. Closing twice is harmless."""
        self.voice.close()
        self._lock.close()


def start(stage: str, config: RunConfig, cfg: dict[str, Any]) -> Run:
    """Open the run's folder for this process, and seed torch.

    cfg: the whole config as plain builtins, kept in config.json. Sets torch's seed and number of threads.
    Raises RuntimeError if another process works in the folder, and ValueError if the device is missing or the folder
    holds a checkpoint made with another config (keys under `loop` and `run` may change).
    """
    device = _resolve(config.device)
    folder = Path(config.dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(folder / "lock")
    try:
        cfg = json.loads(json.dumps(cfg))
        _check_same_config(folder, cfg)
        temporary = folder / "config.json.tmp"
        temporary.write_text(json.dumps(cfg, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, folder / "config.json")
    except BaseException:
        lock.close()
        raise
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run = Run(stage, config, cfg, device, lock)
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    run.say(f"device {device}{name}, {torch.get_num_threads()} threads, in {folder}")
    return run


def _resolve(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"run.device {name!r} is unknown. Set run.device to auto, cpu or cuda.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"run.device is {name}, torch sees {torch.cuda.device_count()} GPUs. Set run.device=auto.")
    return device


def _take_lock(path: Path) -> BinaryIO:
    """An open file locked by the system, so a dead process never holds it; its text says who does."""
    file = path.open("a+b")
    try:
        _lock_file(file)
    except (BlockingIOError, PermissionError) as error:  # held by another, on posix and on Windows
        file.seek(0)
        owner = file.read(200).decode("utf-8", "replace").strip()
        file.close()
        raise RuntimeError(
            f"{path.parent}: another run works here ({owner or 'owner unknown'}). "
            "Wait for it, stop it, or choose another run.dir."
        ) from error
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())
    file.flush()
    return file


if sys.platform == "win32":

    def _lock_file(file: BinaryIO) -> None:
        import msvcrt

        file.seek(1 << 20)  # far behind the text, which others must be able to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)

else:

    def _lock_file(file: BinaryIO) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check_same_config(folder: Path, cfg: dict[str, Any]) -> None:
    path = folder / "config.json"
    has_checkpoint = any((folder / name).exists() for name in ("checkpoint", "checkpoint.previous"))
    if not (has_checkpoint and path.exists()):
        return
    try:
        stored = _flat(json.loads(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path}: unreadable. Delete it to resume anyway, or choose another run.dir.") from error
    given = _flat(cfg)
    absent = object()
    differing = sorted(k for k in stored.keys() | given.keys() if stored.get(k, absent) != given.get(k, absent))
    differing = [key for key in differing if key.split(".")[0] not in NEVER_MATTERS]
    if differing:
        raise ValueError(
            f"{folder}: holds a checkpoint made with other values of {', '.join(differing)}. "
            "Choose another run.dir, or delete this one."
        )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
