"""world.json: strict JSON that says what a world is; every number is checked before anything is made of it.

description   bytes -> what they say, or a WorldError
in_tier       what they say of a world that is played in one of its tiers
dataclass_of  a part of it as one of our configs
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from worldmodel.bundle.files import DEFAULT_TIER, refuse

FORMAT = 1
MOST_JSON, MOST_SIZE = 2**18, 8192
KEYS = {
    "format": int, "name": str, "title": str, "game": str, "fps": float, "size_hw": list, "actions": dict,
    "latent_shape": list, "model": dict, "tokenizer": dict, "sigmas": dict, "noise_scale": float, "steps": int,
    "starts": list, "licence": str, "training": dict,
}  # fmt: skip
TIER = re.compile(r"[a-z][a-z0-9]{0,19}")
MOST_TIERS = 8
NO_TIERS = ("auto", DEFAULT_TIER)  # words that mean something else where a tier is chosen
OF_A_TIER = ("model", "training")  # needed, with params; what follows stands there if it is not the world's
MAY_DIFFER = ("sigmas", "noise_scale", "steps", "rest_steps")
OPTIONAL = {"tiers": dict, "int8": bool, "rest_steps": int}  # int8: of one student; another tier has its own


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
    _check_kinds(path, "world.json", info, KEYS | {key: kind for key, kind in OPTIONAL.items() if key in info})
    _check_tiers(path, info.get("tiers", {}))
    for tier in tiers_in(info):
        _check_numbers(path, in_tier(info, tier))
    return info


def tiers_in(info: dict[str, Any]) -> list[str]:
    """Their names, the default's first."""
    return [DEFAULT_TIER, *info.get("tiers", {})]


def in_tier(info: dict[str, Any], tier: str) -> dict[str, Any]:
    """A description whose model, noise levels and training are those of one of tiers_in."""
    return info if tier == DEFAULT_TIER else {**info, "int8": False, **info["tiers"][tier]}


def check_tier_name(tier: str) -> None:
    """ValueError unless a tier can be called so."""
    if not TIER.fullmatch(tier) or tier in NO_TIERS:
        raise ValueError(f"a tier's name is up to 20 of a-z and 0-9, a letter first, and not auto; got {tier!r}")


def _check_kinds(path: Path, where: str, values: dict[str, Any], kinds: dict[str, type]) -> None:
    if set(values) != set(kinds):
        refuse(path, f"{where}: unexpected or missing keys {sorted(set(values) ^ set(kinds))}")
    for key, kind in kinds.items():
        if not isinstance(values[key], (int, float) if kind is float else kind):
            refuse(path, f"{where}: {key} must be {kind.__name__}, got {values[key]!r}")


def _check_tiers(path: Path, tiers: dict[str, Any]) -> None:
    if len(tiers) > MOST_TIERS:
        refuse(path, f"world.json: {len(tiers)} tiers, and {MOST_TIERS} are allowed")
    for tier, own in tiers.items():
        try:
            check_tier_name(tier)
        except ValueError as error:
            refuse(path, f"world.json: {error}")
        if not isinstance(own, dict):
            refuse(path, f"world.json: tiers.{tier} must be dict, got {own!r}")
        keys = [*OF_A_TIER, *(key for key in (*MAY_DIFFER, "int8") if key in own)]
        kinds = {"params": int} | {key: (KEYS | OPTIONAL)[key] for key in keys}
        _check_kinds(path, f"world.json: tiers.{tier}", own, kinds)


def _check_numbers(path: Path, info: dict[str, Any]) -> None:
    model = {key: value for key, value in info["model"].items() if key != "activation"}  # a name, known to the network
    numbers = [*info["size_hw"], *info["latent_shape"], *_numbers(model), *_numbers(info["tokenizer"])]
    if not all(isinstance(n, (int, float)) and 0 <= n <= MOST_SIZE for n in numbers) or not 0 < info["fps"] <= 240:
        refuse(path, "world.json: a size is negative, not a number or absurdly large")
    if not 0.5 <= info["noise_scale"] <= 2:
        refuse(path, f"world.json: noise_scale must be within 0.5 and 2, got {info['noise_scale']}")
    _check_sigmas(path, info)


def _check_sigmas(path: Path, info: dict[str, Any]) -> None:
    for steps, levels in info["sigmas"].items():
        numbers = isinstance(levels, list) and levels and all(isinstance(s, (int, float)) for s in levels)
        if not numbers or str(len(levels)) != steps or levels[0] != 1 or not all(0 < s <= 1 for s in levels):
            refuse(path, f"world.json: sigmas[{steps!r}] must be {steps} noise levels that begin with 1")
    if str(info["steps"]) not in info["sigmas"]:
        refuse(path, f"world.json: no sigmas for its {info['steps']} steps")
    if "rest_steps" not in info:
        return
    resting = info["sigmas"].get(str(info["rest_steps"]))
    if resting is None:
        refuse(path, f"world.json: no sigmas for its {info['rest_steps']} steps at rest")
    if any(levels != resting[: len(levels)] for levels in info["sigmas"].values() if len(levels) < len(resting)):
        refuse(path, f"world.json: the sigmas at rest {resting} must begin with those of fewer steps")


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
