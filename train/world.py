"""All stages in order: from a game to a world that can be played.

python -m train.world game=doom_garden budget=105       writes data/, runs/ and assets/worlds/doom_garden/
Run the same command again to continue where it stopped: finished stages answer at once.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import hydra
from omegaconf import DictConfig

from worldmodel.config import ConfigError, typed

STAGES = ("collect", "tokenizer", "latents", "bidirectional", "teacher", "consistency", "dmd", "export")
WITH_MODEL = ("bidirectional", "teacher")


@dataclass(kw_only=True)
class Config:
    """See conf/world.yaml."""

    game: str
    model: str
    budget: float
    shares: dict[str, float]
    overrides: dict[str, list[str]]

    def __post_init__(self) -> None:
        unknown = (set(self.shares) | set(self.overrides)) - set(STAGES)
        if unknown:
            raise ConfigError(f"world: no stage is called {sorted(unknown)}; the stages are {', '.join(STAGES)}")
        if self.budget <= 0 or min(self.shares.values()) < 0:
            raise ConfigError(f"world: budget must be > 0 and shares >= 0, got {self.budget} and {self.shares}")


def commands(cfg: Config) -> list[list[str]]:
    """One command line a stage, in order."""
    lines = []
    for stage in STAGES:
        share = cfg.shares.get(stage)
        if share == 0:
            continue
        line = [sys.executable, "-m", f"train.{stage}", f"game={cfg.game}"]
        line += [f"model={cfg.model}"] if stage in WITH_MODEL else []
        line += [f"loop.budget_minutes={cfg.budget * share:.2f}"] if share is not None else []
        lines.append(line + cfg.overrides.get(stage, []))
    return lines


@hydra.main(version_base="1.3", config_path="../conf", config_name="world")
def main(raw: DictConfig) -> None:
    """Run the stages one after another; stop at the first that fails, with its exit code."""
    cfg = typed(Config, raw)
    for i, line in enumerate(lines := commands(cfg)):
        print(f"[{i + 1}/{len(lines)}] {' '.join(line[1:])}", flush=True)
        code = subprocess.run(line, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
