"""world.json: strict JSON that says what a world is; every number is checked before anything is made of it.

description   bytes -> what they say, or a WorldError
dataclass_of  a part of it as one of our configs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from worldmodel.bundle.files import refuse

FORMAT = 1
MOST_JSON, MOST_SIZE = 2**18, 8192
KEYS = {
    "format": int, "name": str, "title": str, "game": str, "fps": float, "size_hw": list, "actions": dict,
    "latent_shape": list, "model": dict, "tokenizer": dict, "sigmas": dict, "noise_scale": float, "steps": int,
    "starts": list, "licence": str, "training": dict,
}  # fmt: skip


def description(path: Path, data: bytes) -> dict[str, Any]:
    """What world.json says, after checking keys, kinds and sizes."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def no_constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number")

    if len(data) > MOST_JSON:
        refuse(path, "world.json is too large")
    try:
        info = json.loads(data, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        refuse(path, f"world.json: {error}")
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        refuse(path, f"world.json: this version reads format {FORMAT}")
    if set(info) != set(KEYS):
        refuse(path, f"world.json: unexpected or missing keys {sorted(set(info) ^ set(KEYS))}")
    for key, kind in KEYS.items():
        if not isinstance(info[key], (int, float) if kind is float else kind):
            refuse(path, f"world.json: {key} must be {kind.__name__}, got {info[key]!r}")
    numbers = [*info["size_hw"], *info["latent_shape"], *_numbers(info["model"]), *_numbers(info["tokenizer"])]
    if not all(isinstance(n, (int, float)) and 0 <= n <= MOST_SIZE for n in numbers) or not 0 < info["fps"] <= 240:
        refuse(path, "world.json: a size is negative, not a number or absurdly large")
    if not 0.5 <= info["noise_scale"] <= 2:
        refuse(path, f"world.json: noise_scale must be within 0.5 and 2, got {info['noise_scale']}")
    _check_sigmas(path, info)
    return info


def _check_sigmas(path: Path, info: dict[str, Any]) -> None:
    for steps, levels in info["sigmas"].items():
        numbers = isinstance(levels, list) and levels and all(isinstance(s, (int, float)) for s in levels)
        if not numbers or str(len(levels)) != steps or levels[0] != 1 or not all(0 < s <= 1 for s in levels):
            refuse(path, f"world.json: sigmas[{steps!r}] must be {steps} noise levels that begin with 1")
    if str(info["steps"]) not in info["sigmas"]:
        refuse(path, f"world.json: no sigmas for its {info['steps']} steps")


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [n for item in value for n in _numbers(item)] if isinstance(value, list) else [value]


def dataclass_of(path: Path, kind: Any, values: dict[str, Any]) -> Any:
    """One of our configs; WorldError for keys that it does not have."""
    try:
        return kind(**values)
    except TypeError as error:
        refuse(path, f"world.json: {error}")
