"""The one line between hydra and dataclasses: YAML holds all values, dataclasses hold types and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

T = TypeVar("T")


class ConfigError(ValueError):
    """A config with an unknown key, a wrong type or a missing value."""


def typed(schema: type[T], cfg: DictConfig | dict[str, Any]) -> T:
    """A dataclass of type `schema` filled from cfg; every key must be known, typed and present.

    Raises ConfigError with the key and the reason in one line. Checks in __post_init__ run last.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
        OmegaConf.resolve(merged)
        missing = OmegaConf.missing_keys(merged)
        if missing:
            raise ConfigError(f"config: no value for {', '.join(sorted(missing))}")
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = getattr(error, "full_key", None)
        raise ConfigError(f"config: {reason}" + (f" (key {key})" if key else "")) from error


def load_yaml(path: str | Path) -> DictConfig:
    """One YAML file. ConfigError if it is missing or is no mapping."""
    try:
        loaded = OmegaConf.load(path)
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"config: {path} cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"config: {path} holds no mapping")
    return loaded


def plain(cfg: DictConfig | Any) -> dict[str, Any]:
    """Builtins only (dict, list, str, number): what a checkpoint may hold."""
    container = OmegaConf.to_container(cfg if isinstance(cfg, DictConfig) else OmegaConf.structured(cfg), resolve=True)
    if not isinstance(container, dict):
        raise ConfigError(f"config: expected a mapping, got {type(container).__name__}")
    return {str(key): value for key, value in container.items()}
