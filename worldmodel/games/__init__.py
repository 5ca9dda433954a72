"""Ground truth: adapters of real games to Env, deterministic from a seed, and the players that play them.

GameConfig   a game by name (conf/game/*.yaml): one of `doom`, `racer` and `coinrun` holds its settings
open_game    its Env
player       who plays an episode of it

A further game is one more file here, one more field in GameConfig and one more YAML.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from worldmodel.action import Action
from worldmodel.env import Env
from worldmodel.games import drivers, players, runners
from worldmodel.games.coinrun import CoinRun, CoinRunConfig
from worldmodel.games.doom import Doom, DoomConfig
from worldmodel.games.racer import Racer, RacerConfig

__all__ = [
    "CoinRun",
    "CoinRunConfig",
    "Doom",
    "DoomConfig",
    "Game",
    "GameConfig",
    "Racer",
    "RacerConfig",
    "open_game",
    "player",
]


class Game(Env, Protocol):
    """A real game: an Env that can also say what its picture does not show."""

    def facts(self) -> dict[str, Any]:
        """JSON values that are noted beside a recorded step."""
        ...


@dataclass(kw_only=True)
class GameConfig:
    """name, and title for people; licence of its pictures; size_hw of its frames; settings of the one game it is."""

    name: str
    title: str
    licence: str
    size_hw: list[int]
    doom: DoomConfig | None = None
    racer: RacerConfig | None = None
    coinrun: CoinRunConfig | None = None

    def __post_init__(self) -> None:
        if len(self.size_hw) != 2 or min(self.size_hw) < 1:
            raise ValueError(f"game {self.name}: size_hw must be two numbers > 0, got {self.size_hw}")
        if sum(settings is not None for settings in (self.doom, self.racer, self.coinrun)) != 1:
            raise ValueError(f"game {self.name}: give the settings of one game, `doom`, `racer` or `coinrun`")


def open_game(config: GameConfig, *, watch: bool = False) -> Game:
    """The real game as an Env. watch: report monsters in view, which scripted players need.

    Raises EnvError if its package is not installed.
    """
    size_hw = (config.size_hw[0], config.size_hw[1])
    if config.racer:
        return Racer(config.racer, size_hw)
    if config.coinrun:
        return CoinRun(config.coinrun, size_hw)
    assert config.doom, "GameConfig holds one game"
    return Doom(config.doom, size_hw, watch=watch)


def player(game: Game, config: GameConfig, seed: int) -> tuple[str, Callable[[], Action]]:
    """Name and act() of the scripted player of an episode, drawn from seed by the shares in config.

    Call it after reset(seed=seed); a game opened with watch.
    """
    if isinstance(game, Racer) and config.racer:
        return drivers.player(game, config.racer.players, seed)
    if isinstance(game, CoinRun) and config.coinrun:
        return runners.player(game, config.coinrun.players, seed)
    assert isinstance(game, Doom), f"{config.name}: nobody here can play a {type(game).__name__}"
    assert config.doom, f"{config.name}: a Doom was opened, the settings are another game's"
    name, who = players.mix(game, config.doom.players, seed)
    return name, lambda: who.act(game)
