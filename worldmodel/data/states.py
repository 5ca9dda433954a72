"""States of a world on disk, and the ten numbered saves of a player.

write_state, read_state   a state (tensors and builtins, nested) and facts about it <-> one file
Save, Slots               the saves of one world: one file each, with a thumbnail

A file is safetensors with a JSON header: no pickle; it is replaced in one piece. Not here: what a state means (Engine),
the keys (ui/keymap.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.env import Frame

FORMAT = 1
DEFAULT_TIER = "default"  # of saves from before worlds had tiers, and of worlds without
NUM_SLOTS = 10
THUMBNAIL = "thumbnail"  # the name of a tensor in the file; those of the state are numbers
TENSOR = "tensor "  # a text that stands for a tensor begins with this


class SaveError(ValueError):
    """A save or state that cannot be used here; the message is one line with the reason."""


def write_state(path: Path, state: Mapping[str, Any], frame: Frame, about: Mapping[str, Any]) -> None:
    """Write a state, the frame on screen and facts (JSON) about them; OSError if there is no room for it.

    A reader sees the old file or the new one, also after a power cut.
    """
    import torch
    from safetensors.torch import save

    tensors: dict[str, Any] = {THUMBNAIL: torch.from_numpy(np.array(frame, order="C"))}

    def named(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            tensors[str(len(tensors))] = value.detach().cpu().contiguous()
            return f"{TENSOR}{len(tensors) - 1}"
        if isinstance(value, Mapping):
            return {str(key): named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list | tuple) else value

    header = {"format": FORMAT, **about, "state": named(state)}
    data = save(tensors, {"worldmodel": json.dumps(header, allow_nan=False)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_header(path: Path) -> tuple[dict[str, Any], Frame]:
    """The facts about a state and its frame, without the state's tensors. SaveError if the file is none."""
    header, tensors = _read(path, [THUMBNAIL])
    return header, tensors[THUMBNAIL].numpy()


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state and the facts about it. SaveError if the file is missing, damaged or of another format."""
    header, tensors = _read(path, None)

    def found(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(TENSOR):
            return tensors[value.removeprefix(TENSOR)]
        if isinstance(value, dict):
            return {key: found(item) for key, item in value.items()}
        return [found(item) for item in value] if isinstance(value, list) else value

    try:
        return found(header.pop("state")), header
    except KeyError as error:
        raise SaveError(f"{path}: damaged ({error} is missing); save again") from error


def _read(path: Path, names: list[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["worldmodel"])
            tensors = {name: file.get_tensor(name) for name in (names or file.keys())}
    except FileNotFoundError as error:
        raise SaveError(f"{path}: no such file") from error
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise SaveError(f"{path}: no save, or damaged ({' '.join(str(error).split())[:80]})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SaveError(f"{path}: of another version of worldmodel; this one reads format {FORMAT}")
    thumbnail = tensors.get(THUMBNAIL)
    if thumbnail is None or thumbnail.ndim != 3 or thumbnail.shape[-1] != 3 or str(thumbnail.dtype) != "torch.uint8":
        raise SaveError(f"{path}: damaged (no picture in it); save again")
    return header, tensors


@dataclass(frozen=True)
class Save:
    """What a full slot shows: the frame on screen then, steps since the reset, the day and time, and the tier that it
    was saved in, if that is not the one that is played.
    """

    frame: Frame
    frame_index: int
    saved_at: str
    tier: str = ""


class Slots:
    """The saves of one world, folder/slot-0.save ... slot-9.save.

    identity   of the world, and tier of it: a save of another is refused. build: of program and machine: a state of
               another build is used, but its future may differ in the last bits
    """

    def __init__(self, folder: str | Path, identity: str, build: str, tier: str = DEFAULT_TIER) -> None:
        self.folder, self.identity, self.build, self.tier = Path(folder), identity, build, tier

    def path(self, number: int) -> Path:
        """The file of slot 0 to NUM_SLOTS - 1."""
        return self.folder / f"slot-{number}.save"

    def save(self, number: int, state: Mapping[str, Any], frame: Frame, frame_index: int) -> Path:
        """Fill a slot. OSError if the disk is full: the old save is then still there."""
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        about = {"identity": self.identity, "tier": self.tier, "build": self.build, "frame_index": frame_index}
        about |= {"saved_at": now}
        write_state(self.path(number), state, frame, about)
        return self.path(number)

    def load(self, number: int) -> tuple[dict[str, Any], int, bool]:
        """The state of a slot, its frame's number, and whether its future is exact (the same build saved it).

        SaveError, in one line, for an empty slot, a damaged file, another world or another tier of it.
        """
        if not self.path(number).exists():
            raise SaveError(f"slot {number} is empty")
        state, about = read_state(self.path(number))
        if about.get("identity") != self.identity:
            raise SaveError(f"slot {number} was saved in another world or version of it")
        if other := self._other_tier(about):
            raise SaveError(f"slot {number} was saved in tier {other}, and this is {self.tier}; play with tier={other}")
        index = about.get("frame_index")
        return state, index if isinstance(index, int) else 0, about.get("build") == self.build

    def peek(self, number: int) -> Save | None:
        """What is in a slot; None if it is empty or cannot be used."""
        try:
            about, frame = read_header(self.path(number))
        except SaveError:
            return None
        if about.get("identity") != self.identity:
            return None
        when = str(about.get("saved_at", ""))[:40]
        return Save(frame, int(about.get("frame_index", 0)), when, self._other_tier(about))

    def _other_tier(self, about: Mapping[str, Any]) -> str:
        """The tier of a save, if it is not ours; else nothing."""
        tier = str(about.get("tier", DEFAULT_TIER))[:20]
        return "" if tier == self.tier else tier
