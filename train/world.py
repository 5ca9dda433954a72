"""All stages in order: from a game to a world that can be played.

python -m train.world game=doom_garden       writes data/, runs/ and assets/worlds/doom_garden/
Run the same command again to continue where it stopped: finished stages answer at once.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from train.cli import stage
from worldmodel.config import ConfigError, typed
from worldmodel.games import GameConfig
from worldmodel.model.dit import ModelConfig

STAGES = ("collect", "tokenizer", "latents", "bidirectional", "teacher", "consistency", "dmd", "export")
WITH_MODEL = ("bidirectional", "teacher")


@dataclass(kw_only=True)
class Config:
    """See conf/world.yaml."""

    game: GameConfig
    model: ModelConfig
    budget: float
    stages: list[str]
    shares: dict[str, float]
    overrides: dict[str, list[str]]

    def __post_init__(self) -> None:
        if sorted(self.stages) != sorted(STAGES):
            raise ConfigError(f"world: stages is an order of {', '.join(STAGES)}, got {', '.join(self.stages)}")
        unknown = (set(self.shares) | set(self.overrides)) - set(STAGES)
        if unknown:
            raise ConfigError(f"world: no stage is called {sorted(unknown)}; the stages are {', '.join(STAGES)}")
        if self.budget <= 0 or min(self.shares.values()) < 0:
            raise ConfigError(f"world: budget must be > 0 and shares >= 0, got {self.budget} and {self.shares}")


def commands(cfg: Config, game: str, model: str) -> list[list[str]]:
    """One command line a stage, in order; game and model by the names of their files in conf/. Without dmd the
    consistency student is exported.
    """
    lines = []
    for name in cfg.stages:
        share = cfg.shares.get(name)
        if share == 0:
            continue
        line = [sys.executable, "-m", f"train.{name}", f"game={game}"]
        line += [f"model={model}"] if name in WITH_MODEL else []
        line += [f"loop.budget_minutes={cfg.budget * share:.2f}"] if share is not None else []
        if name == "export" and cfg.shares.get("dmd") == 0:
            line += [f"student=runs/{game}/consistency", "weights=ema"]
        lines.append(line + cfg.overrides.get(name, []))
    return lines


@stage("world")
def main(raw: DictConfig) -> None:
    """Run the stages one after another; stop at the first that fails, with its exit code."""
    cfg = typed(Config, raw)
    size = f"{cfg.model.layers} layers of width {cfg.model.width}"
    print(f"{cfg.game.name}: a network of {size}, {cfg.budget:g} minutes of training", flush=True)
    choices = HydraConfig.get().runtime.choices
    for i, line in enumerate(lines := commands(cfg, str(choices["game"]), str(choices["model"]))):
        print(f"[{i + 1}/{len(lines)}] {' '.join(line[1:])}", flush=True)
        code = subprocess.run(line, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
