"""Episodes on disk: T actions and the T + 1 frames they lead through.

Meta                                       what the numbers mean: fps, size, actions, seed, origin
Episode, load_episode                      one folder, checked; a killed recording is cut to what is whole
list_episodes, write_index                 many episodes: a dataset
write_json, read_json                      small files, replaced in one piece

A folder holds video.mp4 or frames.npy (or neither: the log of a run), actions.jsonl (one line a step) and meta.json;
while it is being written, meta.open.json stands for meta.json. Not here: writing episodes (recorder.py), pixels <-> mp4
(video.py), training clips (clips.py).
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.action import Action, ActionError, ActionSpace
from worldmodel.data.raw import raw_shape, read_raw
from worldmodel.data.video import VideoError, read_video, video_shape

log = logging.getLogger(__name__)

SCHEMA = 1
ALIGNMENT = "actions[t] takes frame[t] to frame[t+1]"
SOURCES, SPLITS = ("real", "dream"), ("train", "heldout")
VIDEO, RAW, ACTIONS = "video.mp4", "frames.npy", "actions.jsonl"  # one of the first two
META, OPEN_META, INDEX = "meta.json", "meta.open.json", "dataset.json"
START_STATE = "states/start.save"  # of the world at frame 0, where a reset alone does not lead there
PICTURES = "pictures"  # in meta.extra; false: an episode of actions and checksums alone, whose frames can be made again
CHECKSUM, FIRST_CHECKSUM, STEPS = "crc32", "first_crc32", "steps"  # in lines of actions.jsonl; the second in one
Line = tuple[Action, int | None, int | None, int | None]  # the action, then those three


class EpisodeError(ValueError):
    """An episode or dataset that cannot be used; the message names the file and the remedy."""


class EmptyEpisodeError(EpisodeError):
    """A recording that was killed before its first step reached the disk: nothing to recover."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What one needs to know to read or to repeat an episode.

    source        "real" (a game) or "dream" (a world model); game: its name, as in conf/game or a bundle
    world_sha256  of the bundle that was dreamed; None for a real game
    start, seed   what reset was given; sampler: how the frames were made (steps, policy, dtype ...)
    player        who acted: "human" or a policy's name
    parent        {"episode": id, "frame": index} where this one branched off, or None
    extra         anything else, JSON only
    """

    source: str
    game: str
    fps: float
    size_hw: tuple[int, int]
    action_space: ActionSpace
    seed: int = 0
    start: Any = 0
    sampler: dict[str, Any] = field(default_factory=dict)
    world_sha256: str | None = None
    licence: str = ""
    player: str = "human"
    split: str = "train"
    parent: dict[str, Any] | None = None
    num_steps: int = 0
    alignment: str = ALIGNMENT
    schema: int = SCHEMA
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", (int(self.size_hw[0]), int(self.size_hw[1])))
        rules = (
            ("schema", self.schema == SCHEMA, f"{SCHEMA} (a newer version of this program wrote it: update)"),
            ("source", self.source in SOURCES, f"one of {SOURCES}"),
            ("split", self.split in SPLITS, f"one of {SPLITS}"),
            ("alignment", self.alignment == ALIGNMENT, repr(ALIGNMENT)),
            ("fps", self.fps > 0, "> 0"),
            ("size_hw", min(self.size_hw) > 0, "two numbers > 0"),
            ("num_steps", self.num_steps >= 0, ">= 0"),
            ("parent", self.parent is None or set(self.parent) == {"episode", "frame"}, "null or {episode, frame}"),
        )
        for key, holds, expected in rules:
            if not holds:
                raise EpisodeError(f"meta: {key!r} must be {expected}, got {getattr(self, key)!r}")

    @property
    def has_pictures(self) -> bool:
        """False for an episode of actions and checksums alone."""
        return self.extra.get(PICTURES) is not False

    def to_json(self) -> dict[str, Any]:
        """Builtins only, one key a field."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {"size_hw": list(self.size_hw), "action_space": self.action_space.to_json()}

    @staticmethod
    def from_json(data: Any, path: str | Path = META) -> Meta:
        """The inverse of to_json; EpisodeError names `path` and the key that is unknown, missing or of a wrong type."""
        if not isinstance(data, dict):
            raise EpisodeError(f"{path}: expected a JSON object, got {type(data).__name__}. Restore the file.")
        if data.get("schema", SCHEMA) != SCHEMA:  # before the keys: another version may have others
            raise EpisodeError(f"{path}: 'schema' is {data['schema']!r}, this program reads {SCHEMA}. Update it.")
        check_keys(data, [f.name for f in fields(Meta)], path)
        for key, kinds in _KINDS.items():
            if not isinstance(data[key], kinds) or isinstance(data[key], bool):
                raise EpisodeError(f"{path}: {key!r} has the wrong type: {data[key]!r}. Correct it by hand.")
        if len(data["size_hw"]) != 2 or not all(type(n) is int for n in data["size_hw"]):
            raise EpisodeError(f"{path}: 'size_hw' must be two whole numbers, got {data['size_hw']}")
        try:
            return Meta(**data | {"action_space": ActionSpace.from_json(data["action_space"])})
        except (EpisodeError, ActionError) as error:
            raise EpisodeError(f"{path}: {error}") from error


_TEXT, _TEXT_OR_NONE = (str,), (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("source", "game", "licence", "player", "split", "alignment"), _TEXT),
    **dict.fromkeys(("sampler", "extra", "action_space"), (dict,)),
    **dict.fromkeys(("seed", "num_steps"), (int,)),
    **{"world_sha256": _TEXT_OR_NONE, "fps": (int, float), "size_hw": (list,), "parent": (dict, type(None))},
}


@dataclass(frozen=True)
class Episode:
    """One checked episode: T actions, T + 1 frames; the frames stay on disk.

    checksums of the T + 1 frames before they were compressed, and sampling steps of the T; None where not recorded
    """

    path: Path
    meta: Meta
    actions: tuple[Action, ...]
    checksums: tuple[int | None, ...]
    sampling_steps: tuple[int | None, ...]

    @property
    def num_steps(self) -> int:
        """T, the number of actions."""
        return len(self.actions)

    def frames(self, first: int = 0, count: int | None = None) -> np.ndarray:
        """Frames first .. first + count - 1 of the T + 1, uint8 (count, H, W, 3); all that follow if count is None."""
        if not self.meta.has_pictures:
            raise EpisodeError(f"{self.path}: no pictures in it. python play.py replay={self.path} makes them again.")
        left = max(0, self.num_steps + 1 - first)
        count = left if count is None else min(count, left)
        raw = self.path / RAW
        return read_raw(raw, first, count) if raw.exists() else read_video(self.path / VIDEO, first, count)

    def action_vectors(self) -> np.ndarray:
        """The actions as numbers, float32 (T, A)."""
        space = self.meta.action_space
        return np.asarray([space.to_vector(a) for a in self.actions], np.float32).reshape(self.num_steps, space.size)


def load_episode(path: str | Path) -> Episode:
    """Read and check a folder: T lines of actions, T + 1 frames of the size that meta names.

    A closed episode (meta.json) has to hold exactly what it says. One that was killed (meta.open.json) is cut to
    min(frames - 1, whole action lines) steps, and num_steps set to that. EpisodeError otherwise.
    """
    path = Path(path)
    is_closed = (path / META).exists()
    meta_path = path / (META if is_closed else OPEN_META)
    if not meta_path.exists():
        raise EpisodeError(f"{path}: no {META} in it. Give an episode's folder, or restore the file.")
    meta = Meta.from_json(read_json(meta_path), meta_path)
    lines = _read_lines(path / ACTIONS, meta.action_space, torn_tail=not is_closed)
    try:
        num_frames, *size_hw = _shape(path) if meta.has_pictures else (len(lines) + 1, *meta.size_hw)
    except VideoError as error:
        if not is_closed:
            raise EmptyEpisodeError(f"{path}: killed before its first frame reached the disk. Delete it.") from error
        raise EpisodeError(str(error)) from error
    num_steps = min(num_frames - 1, len(lines))
    if not is_closed:
        if num_steps < 1:
            raise EmptyEpisodeError(f"{path}: killed before its first step reached the disk. Delete it.")
        meta = replace(meta, num_steps=num_steps)
    elif not num_frames - 1 == len(lines) == meta.num_steps:
        raise EpisodeError(
            f"{path}: {META} says {meta.num_steps} steps, but there are {len(lines)} actions and {num_frames} frames "
            f"(expected one more than actions). Restore the files, or rename {META} to {OPEN_META} to keep what agrees."
        )
    if tuple(size_hw) != meta.size_hw:
        raise EpisodeError(
            f"{path}: its frames are {tuple(size_hw)}, {meta_path.name} says {meta.size_hw}. Restore either."
        )
    lines = lines[:num_steps]
    checksums = (*(line[1] for line in lines[:1]), *(line[2] for line in lines))
    return Episode(path, meta, tuple(line[0] for line in lines), checksums, tuple(line[3] for line in lines))


def _shape(path: Path) -> tuple[int, int, int]:
    """Number of frames, height and width."""
    raw = path / RAW
    return (raw_shape(raw) if raw.exists() else video_shape(path / VIDEO))[:3]


def frame_checksum(frame: np.ndarray) -> int:
    """CRC-32 of a frame's bytes."""
    return zlib.crc32(np.ascontiguousarray(frame).tobytes())


def _read_lines(path: Path, space: ActionSpace, *, torn_tail: bool) -> list[Line]:
    """Lines of a jsonl file, in the order of "t"; with torn_tail, a broken last line counts as not written."""
    if not path.exists():
        raise EpisodeError(f"{path}: missing. Restore it, or delete the episode.")
    lines = path.read_bytes().splitlines()
    read = []
    for t, line in enumerate(lines):
        try:
            data = json.loads(line)
            if data["t"] != t:
                raise ValueError(f"'t' is {data['t']}")
            action = Action(data["buttons"], (data["mouse"][0], data["mouse"][1]))
            space.check(action)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            if torn_tail and t == len(lines) - 1:
                break
            raise EpisodeError(f"{path}: line {t + 1} is not step {t}: {error}. Restore the file.") from error
        read.append((action, *(data.get(key) for key in (FIRST_CHECKSUM, CHECKSUM, STEPS))))
    return read


def list_episodes(root: str | Path) -> list[Path]:
    """Episode folders under root/episodes, or under root itself if that does not exist, sorted by name."""
    root = Path(root)
    folder = root / "episodes" if (root / "episodes").is_dir() else root
    if not folder.is_dir():
        raise EpisodeError(f"{root}: no such folder. Record or collect episodes first.")
    return sorted(p for p in folder.iterdir() if (p / META).exists() or (p / OPEN_META).exists())


def write_index(root: str | Path, info: Mapping[str, Any]) -> dict[str, Any]:
    """Check all episodes under root, write root/dataset.json from their metas and `info` (JSON), and return it.

    Recordings killed before their first step are left out with a log line. EpisodeError if no episode is left or
    if two differ in fps, size or actions.
    """
    shared: dict[str, Any] = {}
    entries = []
    for path in list_episodes(root):
        try:
            meta = load_episode(path).meta
        except EmptyEpisodeError as error:
            log.warning("left out of the index: %s", error)
            continue
        mine = {key: meta.to_json()[key] for key in ("fps", "size_hw", "action_space")}
        shared = shared or mine
        if mine != shared:
            raise EpisodeError(f"{path}: recorded with {mine}, the others with {shared}. Move it to its own dataset.")
        entries.append({"id": path.name, "num_steps": meta.num_steps, "seed": meta.seed, "split": meta.split})
    if not entries:
        raise EpisodeError(f"{root}: no episode to index. Record or collect some first.")
    index = {"schema": SCHEMA, **shared, "info": dict(info), "episodes": entries}
    write_json(Path(root) / INDEX, index)
    return index


def check_keys(data: Mapping[str, Any], expected: Iterable[str], path: str | Path) -> None:
    """Raise EpisodeError, naming the file and the key, unless data has exactly the expected keys."""
    wanted = set(expected)
    for word, keys in (("missing", wanted - set(data)), ("unknown", set(data) - wanted)):
        if keys:
            raise EpisodeError(f"{path}: {word} key {sorted(keys)[0]!r}. Restore the file, or correct it by hand.")


def write_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Replace a JSON file in one piece: readers see the old one or the new one, also after a power cut."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; EpisodeError if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EpisodeError(f"{path}: cannot be read as JSON ({error}). Restore or rebuild the file.") from error
