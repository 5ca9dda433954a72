"""What of a run is worth keeping: its averaged weights in bfloat16, and how they came about.

python -m train.keep game=doom run=runs/doom/teacher_compass     writes assets/checkpoints/doom_teacher/
Other stages take the folder where they take a run (init=, teacher=, real_score=); the run itself cannot go on from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import load_model
from worldmodel.config import typed
from worldmodel.games import GameConfig
from worldmodel.training.checkpoint import load_checkpoint, save_checkpoint


@dataclass(kw_only=True)
class Config:
    """See conf/keep.yaml."""

    game: GameConfig
    run: str
    out: str
    weights: str


@stage("keep")
def main(raw: DictConfig) -> None:
    """Write the checkpoint anew with one network in it."""
    cfg = typed(Config, raw)
    model = load_model(cfg.run, cfg.weights)
    whole = load_checkpoint(Path(cfg.run) / "checkpoint")
    kept = {"ema": {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}}
    save_checkpoint(Path(cfg.out) / "checkpoint", whole.stage, whole.step, whole.config, kept, whole.extra)
    size = sum(path.stat().st_size for path in (Path(cfg.out) / "checkpoint").iterdir())
    print(f"{cfg.out}: {whole.stage} of {whole.step} steps, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
