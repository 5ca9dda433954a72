"""Ground truth: adapters of real games to Env, deterministic from a seed, and the players that walk them.

GameConfig   a game by name (conf/game/*.yaml)
open_game    its Env

A second game is one more file here, one more field in GameConfig and one more YAML.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldmodel.games.doom import Doom, DoomConfig

__all__ = ["Doom", "DoomConfig", "GameConfig", "open_game"]


@dataclass(kw_only=True)
class GameConfig:
    """name; licence of its pictures; doom: the engine's settings."""

    name: str
    licence: str
    doom: DoomConfig


def open_game(config: GameConfig, *, watch: bool = False) -> Doom:
    """The real game as an Env. watch: report monsters in view, which scripted players need.

    Raises EnvError if its package is not installed.
    """
    return Doom(config.doom, watch=watch)
