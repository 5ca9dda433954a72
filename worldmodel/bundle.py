"""A world bundle: one playable world in a folder or an uncompressed zip. Hostile until proven good.

World          what a bundle holds, ready to play
read_bundle    folder or zip -> World; WorldError in one line if anything is off
read_teacher   the teacher that some bundles carry, for further training and for comparison
write_bundle   the inverse; `seal` ends it with checksums

    world.json               strict JSON: what it is, sizes, actions, noise levels, how it was trained
    student.safetensors      the network           tokenizer.safetensors   the autoencoder
    starts.safetensors       frames uint8 (S, T, H, W, 3) and actions (S, T - 1, A) before each start
    starts/*.png             pictures of the starts, for people
    teacher.safetensors      in some: the network the student was distilled from
    card.md  LICENSE  sha256sums

No pickle, no Python, no YAML, no link is ever read.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from worldmodel.action import ActionError, ActionSpace
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

FORMAT = 1
NAME = re.compile(r"(world\.json|card\.md|LICENSE|sha256sums|[a-z]+\.safetensors|starts/[a-z0-9-]+\.png)")
NEEDED = ("world.json", "student.safetensors", "tokenizer.safetensors", "starts.safetensors", "card.md", "sha256sums")
TEACHER = "teacher.safetensors"
MOST_BYTES, MOST_JSON, MOST_HEADER = 2**31, 2**18, 2**20
MOST_FILES, MOST_SIZE = 200, 8192
KEYS = {
    "format": int, "name": str, "title": str, "game": str, "fps": float, "size_hw": list, "actions": dict,
    "latent_shape": list, "model": dict, "tokenizer": dict, "sigmas": dict, "noise_scale": float, "steps": int,
    "starts": list, "licence": str, "training": dict,
}  # fmt: skip


class WorldError(ValueError):
    """A world that does not exist, is damaged or is not to be trusted; one line with the remedy."""


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
    files = _files(path)
    _check_sums(path, files)
    info = _description(path, files["world.json"])
    try:
        actions = ActionSpace.from_json(info["actions"])
        sight = _dataclass(path, Sight, info["model"]["sight"])
        config = _dataclass(path, ModelConfig, {**info["model"], "sight": sight})
        sizes = _dataclass(path, TokenizerConfig, info["tokenizer"])
        shape = tuple(info["latent_shape"])
        if shape != sizes.latent_shape or list(info["size_hw"]) != list(sizes.size_hw):
            _refuse(path, f"latent shape {shape} and frame size {info['size_hw']} do not fit its tokenizer")
        model = CausalDiT(config, sizes.latent_shape, actions.size)
        tokenizer = Tokenizer(sizes)
    except (ActionError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, WorldError):
            raise
        _refuse(path, f"world.json: {error}")
    _load_into(path, "student.safetensors", files, model)
    _load_into(path, "tokenizer.safetensors", files, tokenizer)
    starts = _tensors(path, "starts.safetensors", files)
    frames, moves = (starts.get(key, torch.empty(0)) for key in ("frames", "actions"))
    titles = [str(s)[:80] for s in info["starts"]]
    h, w = sizes.size_hw
    are_frames = frames.dtype == torch.uint8 and frames.ndim == 5 and frames.shape[2:] == (h, w, 3)
    if not are_frames or moves.shape != (len(titles), frames.shape[1] - 1, actions.size):
        _refuse(path, f"starts.safetensors does not hold {len(titles)} starts of {w}x{h} frames and their actions")
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
        card=_text(files["card.md"]),
        sha256=hashlib.sha256(files["sha256sums"]).hexdigest(),
        info=info,
    )


def read_teacher(path: str | Path) -> CausalDiT:
    """The teacher that a bundle carries beside its student, of the same architecture. Raises WorldError."""
    path = Path(path)
    model, files = read_bundle(path).model, _files(path)
    if TEACHER not in files:
        _refuse(path, f"carries no {TEACHER}: take a run, or another world")
    _load_into(path, TEACHER, files, model)
    return model


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
        own = _exported(module).items()
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


def _refuse(path: Path, reason: str) -> NoReturn:
    raise WorldError(f"{path}: {reason}. Get the world again, or export it anew with python -m train.export.")


def _exported(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict())


def _files(path: Path) -> dict[str, bytes]:
    """Name -> content, after checking names, kinds and sizes."""
    if path.is_dir():
        found = [p for p in path.rglob("*") if not p.is_dir()]
        sizes = {p.relative_to(path).as_posix(): p.lstat().st_size for p in found}
        if any(p.is_symlink() for p in path.rglob("*")):
            _refuse(path, "holds a symbolic link")
        _check_names(path, list(sizes), sum(sizes.values()))
        return {name: (path / name).read_bytes() for name in sizes}
    if not path.is_file():
        raise WorldError(f"{path}: no such world. python play.py world=? lists the bundled ones.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(m.compress_type != zipfile.ZIP_STORED for m in members):
                _refuse(path, "is a compressed zip; a world is stored uncompressed")
            _check_names(path, [m.filename for m in members], sum(m.file_size for m in members))
            return {m.filename: archive.read(m) for m in members}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        _refuse(path, f"is not a world bundle ({error})")


def _check_names(path: Path, names: list[str], size: int) -> None:
    if size > MOST_BYTES or len(names) > MOST_FILES:
        _refuse(path, f"is too large: {len(names)} files, {size} bytes")
    odd = [name for name in names if not NAME.fullmatch(name)]
    if odd or len(set(names)) != len(names):
        _refuse(path, f"holds a file that no world has: {(odd or names)[0]!r}")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        _refuse(path, f"lacks {', '.join(missing)}")


def _check_sums(path: Path, files: dict[str, bytes]) -> None:
    sums = {line[66:]: line[:64] for line in _text(files["sha256sums"]).splitlines()}
    for name, data in files.items():
        if name != "sha256sums" and sums.get(name) != hashlib.sha256(data).hexdigest():
            _refuse(path, f"{name} is damaged: its checksum is not the one in sha256sums")


def _description(path: Path, data: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def no_constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number")

    if len(data) > MOST_JSON:
        _refuse(path, "world.json is too large")
    try:
        info = json.loads(data, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"world.json: {error}")
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        _refuse(path, f"world.json: this version reads format {FORMAT}")
    if set(info) != set(KEYS):
        _refuse(path, f"world.json: unexpected or missing keys {sorted(set(info) ^ set(KEYS))}")
    for key, kind in KEYS.items():
        if not isinstance(info[key], (int, float) if kind is float else kind):
            _refuse(path, f"world.json: {key} must be {kind.__name__}, got {info[key]!r}")
    numbers = [*info["size_hw"], *info["latent_shape"], *_numbers(info["model"]), *_numbers(info["tokenizer"])]
    if not all(isinstance(n, (int, float)) and 0 <= n <= MOST_SIZE for n in numbers) or not 0 < info["fps"] <= 240:
        _refuse(path, "world.json: a size is negative, not a number or absurdly large")
    if not 0.5 <= info["noise_scale"] <= 2:
        _refuse(path, f"world.json: noise_scale must be within 0.5 and 2, got {info['noise_scale']}")
    _check_sigmas(path, info)
    return info


def _check_sigmas(path: Path, info: dict[str, Any]) -> None:
    for steps, levels in info["sigmas"].items():
        numbers = isinstance(levels, list) and levels and all(isinstance(s, (int, float)) for s in levels)
        if not numbers or str(len(levels)) != steps or levels[0] != 1 or not all(0 < s <= 1 for s in levels):
            _refuse(path, f"world.json: sigmas[{steps!r}] must be {steps} noise levels that begin with 1")
    if str(info["steps"]) not in info["sigmas"]:
        _refuse(path, f"world.json: no sigmas for its {info['steps']} steps")


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [n for item in value for n in _numbers(item)] if isinstance(value, list) else [value]


def _dataclass(path: Path, kind: Any, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except TypeError as error:
        _refuse(path, f"world.json: {error}")


def _tensors(path: Path, name: str, files: dict[str, bytes]) -> dict[str, Tensor]:
    data = files[name]
    if len(data) < 8 or int.from_bytes(data[:8], "little") > MOST_HEADER:
        _refuse(path, f"{name} has no sane header")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        _refuse(path, f"{name}: {error}")


def _load_into(path: Path, name: str, files: dict[str, bytes], module: nn.Module) -> None:
    tensors, expected = _tensors(path, name, files), _exported(module)
    if set(tensors) != set(expected):
        _refuse(path, f"{name}: unexpected or missing tensors {sorted(set(tensors) ^ set(expected))[:3]}")
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape or not tensor.is_floating_point():
            _refuse(path, f"{name}: {key} is {tensor.dtype} {list(tensor.shape)}, not {list(expected[key].shape)}")
        if not bool(torch.isfinite(tensor).all()) or float(tensor.abs().max()) > 1e4:
            _refuse(path, f"{name}: {key} holds numbers that are not finite or absurdly large")
    module.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})


def _text(data: bytes) -> str:
    text = data.decode("utf-8", "replace")[:100_000]
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
