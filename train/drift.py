"""What levels and noise do to minutes: some of the manifest's long runs, dreamt in several ways, a line for each way.

python -m train.drift world=doom_garden     as it is played: a line, and out/drift/doom_garden-1-at-1.png
python -m train.drift world=doom_garden 'ways=[{sigmas: [1], noise_scale: 1}, {sigmas: [1, 0.5], noise_scale: 1.1}]'
python -m train.drift run=runs/doom_garden/dmd weights=best tokenizer=assets/worlds/doom_garden \\
    'ways=[{sigmas: [1], noise_scale: 1}]'

Minutes instead of train.evaluate's quarter of an hour: for choosing, not for reporting. The real runs are those of
train.reference, which are played where they are missing. The first line is of reality astray
(evaluation/otherwise.py); the lines below each way are of the same without any action (still=false leaves them out).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from train.cli import stage
from train.evaluate import Judged
from train.reference import manifest_of, otherwise, reality
from worldmodel import load
from worldmodel.bundle import World
from worldmodel.compass import Compass
from worldmodel.config import typed
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.diffusion.rollout import consistency
from worldmodel.evaluation.dreamer import Dreamer
from worldmodel.evaluation.drift import Limits, Relative, limits, relative, survived
from worldmodel.evaluation.protocol import dreamt, still_dreams
from worldmodel.evaluation.reference import first
from worldmodel.evaluation.report import sixty_seconds, still_lines

SHEET_SECONDS = 4.0


@dataclass(kw_only=True)
class WayConfig:
    """Noise levels of a frame, how loud the noise between them is, and the levels of a frame for which nothing is
    held; None: the same.
    """

    sigmas: list[float]
    noise_scale: float
    rest_sigmas: list[float] | None = None

    @property
    def text(self) -> str:
        """As the levels of play, of rest, and the noise are written in a line and in a file's name."""
        levels = [self.sigmas] + ([self.rest_sigmas] if self.rest_sigmas else [])
        return " rest ".join(",".join(f"{sigma:g}" for sigma in row) for row in levels) + f" at {self.noise_scale:g}"


@dataclass(kw_only=True)
class Config(Judged):
    """See conf/drift.yaml."""

    ways: list[WayConfig]
    seconds: int
    runs: int
    still: bool
    reference: str
    out: str
    half: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run and not self.ways:
            raise ValueError("a run has no way of play of its own: ways=[{sigmas: [1.0], noise_scale: 1.0}]")
        if self.runs < 1:
            raise ValueError(f"runs={self.runs} must be at least 1")


def way_of(world: World) -> WayConfig:
    """As a world is played."""
    return WayConfig(
        sigmas=world.sigmas[world.steps], noise_scale=world.noise_scale, rest_sigmas=world.rest_sigmas
    )  # fmt: skip


def line(ratios: Relative, within: Limits) -> str:
    """Sharpness, brightness and motion beside the real runs' means: medians over the runs, and who survives."""
    alive = survived(ratios, within)

    def three(values: np.ndarray) -> str:
        return " / ".join(f"{value:.2f}" for value in np.median(values, 0))

    return (
        f"first 4 s {three(ratios.segments[:, 0])}  last 4 s {three(ratios.segments[:, -1])}  last 20 s "
        f"{three(ratios.end)}  survive {alive.sum()} of {len(alive)} ({''.join('x' if a else '.' for a in alive)})"
    )


@stage("drift")
def main(raw: DictConfig) -> None:
    """Print a line a way: sharpness / brightness / motion beside reality; save its sheet, a row a run."""
    cfg = typed(Config, raw)
    world = load(cfg.world, cfg.world_tier) if cfg.world else None
    model, tokenizer = cfg.student(world)
    dtype = torch.bfloat16 if cfg.half else torch.float32
    manifest = manifest_of(cfg.game, cfg.probes, cfg.tier)
    reference, space = reality(manifest, cfg.game, cfg.probes, Path(cfg.reference))
    recorded, fps = [part.traits for part in reference.longs.values()], reference.fps
    if cfg.seconds not in reference.longs:
        raise ValueError(f"no run of {cfg.seconds} s in this tier: {dict(cfg.tier.long)} (seconds: number)")
    part = first(reference.longs[cfg.seconds], cfg.runs)
    dreamer = Dreamer(
        model=model.to(dtype).eval(), tokenizer=tokenizer.to(dtype).eval(), batch=len(part.context), sigmas=[],
        sampler=consistency, compass=Compass.of(space.known_to(model.num_actions)),
    )  # fmt: skip
    own = way_of(world) if world else None
    name, out = Path(str(cfg.world or cfg.run)).name, Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    print(f"{name}: {len(part.context)} runs of {cfg.seconds} s; sharpness / brightness / motion beside the real runs'")
    others = otherwise(manifest, cfg.game, reference.longs, Path(cfg.reference))
    lost = others.astray[cfg.seconds].traits[: cfg.runs]
    assert others.still, "there are long runs, so there are still ones"
    within = limits(recorded, fps, cfg.seconds)
    print(f"{'astray':12s} {line(relative(lost, part.traits, fps), within)}", flush=True)
    for way in cfg.ways or [own] if own else cfg.ways:
        sampler = partial(consistency, noise_scale=way.noise_scale)
        judged = replace(dreamer, sigmas=way.sigmas, rest_sigmas=way.rest_sigmas, sampler=sampler)
        traits, films, _ = dreamt(judged, part, round(SHEET_SECONDS * fps))
        print(f"{way.text:12s} {line(relative(traits, part.traits, fps), within)}", flush=True)
        path = out / f"{name}-{way.text.replace(' ', '-')}.png"
        save_image(path, contact_sheet([frame for film in films for frame in film], columns=len(films[0])))
        if not cfg.still:
            continue
        figures, sheet = still_dreams(judged, first(others.still, cfg.runs), fps)
        print("\n".join(still_lines(figures)), flush=True)
        sixty_seconds(path.with_name(f"{path.stem}-still.png"), sheet)


if __name__ == "__main__":
    main()
