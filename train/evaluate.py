"""Any checkpoint or bundle -> report: the dream beside the real game, on seeds no training ever saw.

python -m train.evaluate world=doom_garden                          writes out/evaluate/doom_garden/
python -m train.evaluate world=PATH world_tier=big                  another of its students
python -m train.evaluate run=runs/doom_garden/consistency teacher=runs/doom_garden/teacher
python -m train.evaluate world=doom_garden evaluation/tier=small    a few minutes, wide intervals
The real game is played once and kept (train/reference.py); a second evaluation with the same settings reads it.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from tqdm import tqdm

from train.cli import stage
from train.load import load_model, load_teacher, load_tokenizer
from train.reference import flown, manifest_of, otherwise, reality
from worldmodel import ActionSpace, load
from worldmodel.backends.int8 import in_int8
from worldmodel.bundle import DEFAULT_TIER, World
from worldmodel.config import plain, typed
from worldmodel.data.clips import FramePool
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.rollout import consistency, euler
from worldmodel.evaluation.dreamer import Dreamer
from worldmodel.evaluation.figures import Judges
from worldmodel.evaluation.gates import Bounds, gates
from worldmodel.evaluation.i3d import I3D, open_i3d
from worldmodel.evaluation.inverse import Inverse, InverseConfig
from worldmodel.evaluation.judges import load_judge
from worldmodel.evaluation.manifest import Manifest, ProbesConfig, TierConfig
from worldmodel.evaluation.pilot import Pilot, PilotConfig, held_names
from worldmodel.evaluation.protocol import Dreamers, measure, passes
from worldmodel.evaluation.reference import Reference
from worldmodel.evaluation.report import write_report
from worldmodel.games import GameConfig
from worldmodel.model.dit import CausalDiT
from worldmodel.tokenizer.autoencoder import Tokenizer


@dataclass(kw_only=True)
class Judged:
    """Who is judged, a world's student or a run's network, and beside which runs of which game."""

    game: GameConfig
    probes: ProbesConfig
    tier: TierConfig
    world: str | None
    world_tier: str
    run: str | None
    weights: str
    tokenizer: str

    def __post_init__(self) -> None:
        if (self.world is None) == (self.run is None):
            raise ValueError("say what is to be judged: world=doom_garden, or run=runs/doom_garden/consistency")

    def student(self, world: World | None) -> tuple[CausalDiT, Tokenizer]:
        """The world's student and tokenizer, or the run's network and the tokenizer of another run."""
        if world:
            return world.model, world.tokenizer
        return load_model(str(self.run), self.weights), load_tokenizer(self.tokenizer)


@dataclass(kw_only=True)
class Config(Judged):
    """See conf/evaluate.yaml."""

    sigmas: list[float]
    noise_scale: float
    teacher: str | None
    teacher_steps: int
    teacher_shift: float
    inverse: str | None
    least_f1: float
    pilot: str | None
    least_pilot: float
    data: str
    data_stride: int
    out: str
    device: str
    half: bool
    int8: bool
    threads: int
    batch: int
    i3d: bool
    gates: dict[str, Bounds]


def dreamers(cfg: Config, world: World | None) -> Dreamers:
    """Student, one-step student and teacher, on their device."""
    many, one, noise_scale, resting = cfg.sigmas, [1.0], cfg.noise_scale, None
    model, tokenizer = cfg.student(world)
    if world:
        many, one, noise_scale = world.sigmas[world.steps], world.sigmas.get(1, one), world.noise_scale
        resting = world.rest_sigmas
    name = cfg.device.replace("auto", "cuda" if torch.cuda.is_available() else "cpu")
    to: Any = {"device": torch.device(name), "dtype": torch.bfloat16 if cfg.half else torch.float32}
    shared: Any = {"tokenizer": tokenizer.to(**to).eval(), "batch": cfg.batch}
    model = in_int8(model) if cfg.int8 else model
    student: Any = {"model": model.to(**to).eval(), "sampler": partial(consistency, noise_scale=noise_scale), **shared}
    teacher = None
    if cfg.teacher:
        levels = grid(cfg.teacher_steps, cfg.teacher_shift)[:-1].tolist()
        teacher = Dreamer(model=load_teacher(cfg.teacher).to(**to).eval(), sampler=euler, sigmas=levels, **shared)
    played = Dreamer(sigmas=many, rest_sigmas=resting, **student)
    return Dreamers(student=played, one_step=Dreamer(sigmas=one, **student), teacher=teacher)


def training_frames(cfg: Config, world: World | None) -> tuple[np.ndarray, str]:
    """Frames of training and where they come from, for the row nearest_training."""
    if Path(cfg.data).exists():
        frames = FramePool(cfg.data, split="train", stride=cfg.data_stride, seed=0).frames
        return frames, f"{len(frames)} frames of {cfg.data}"
    if world is None:
        raise ValueError(f"data={cfg.data} is not there, and a run brings no starts: nothing to recite from")
    frames = world.start_frames.flatten(0, 1).numpy()
    return frames, f"{len(frames)} frames before the world's starts ({cfg.data} is not there): far too few"


def judges(
    cfg: Config, space: ActionSpace, pool: np.ndarray, manifest: Manifest, reference: Reference, i3d: I3D | None
) -> Judges:
    """What the dreams are measured with; ValueError if the inverse model or the pilot is another game's."""
    inverse = load_judge(Path(cfg.inverse), Inverse, InverseConfig) if cfg.inverse else None
    if inverse and inverse.names != cfg.probes.label_names:
        raise ValueError(f"{cfg.inverse} reads {inverse.names}, this game has {cfg.probes.label_names}")
    pilot, runs = None, {}
    if cfg.pilot:
        pilot, digest = (
            load_judge(Path(cfg.pilot), Pilot, PilotConfig),
            hashlib.sha256(Path(cfg.pilot).read_bytes()).hexdigest(),
        )
        if pilot.names != (names := held_names(space, cfg.probes)):
            raise ValueError(f"{cfg.pilot} holds {pilot.names}, in this game it would be {names}")
        counts = {seconds: number for seconds, number in cfg.tier.piloted.items() if number}
        kept = f"piloted-{manifest.digest()[:12]}-{digest[:12]}-{sum(counts.values())}.npz"
        runs = flown(manifest, cfg.game, pilot, counts, Path(cfg.out) / kept)
    return Judges(
        control=cfg.probes, space=space, inverse=inverse, least_f1=cfg.least_f1, pilot=pilot, piloted=runs,
        least_pilot=cfg.least_pilot, pool=pool, diverse=cfg.tier.diverse,
        **otherwise(manifest, cfg.game, reference.longs, Path(cfg.out))._asdict(), i3d=i3d,
    )  # fmt: skip


def name_of(cfg: Config, world: World | None) -> str:
    """Of the report: the world's, with its tier where that is not the default, or the last two folders of the run."""
    bits = "-int8" if cfg.int8 else ""
    if world is None:
        return "-".join(Path(str(cfg.run)).parts[-2:]) + bits
    tier = "" if world.tier == DEFAULT_TIER else f"-{world.tier}"
    return f"{Path(str(cfg.world)).stem}{tier}{bits}"


@stage("evaluate")
def main(raw: DictConfig) -> None:
    """Play or read the real game, dream it, compare."""
    cfg = typed(Config, raw)
    torch.set_num_threads(cfg.threads or torch.get_num_threads())
    world = load(cfg.world, cfg.world_tier) if cfg.world else None
    judged, manifest = dreamers(cfg, world), manifest_of(cfg.game, cfg.probes, cfg.tier)
    i3d = open_i3d() if cfg.i3d else None  # before minutes of play: its weights may be missing
    reference, space = reality(manifest, cfg.game, cfg.probes, Path(cfg.out))
    judged.know(space)
    if world and (world.actions != space or list(world.size_hw) != cfg.game.size_hw):
        raise ValueError(f"{cfg.world}: its frames or actions {world.actions} are not this game's, {space}")
    name = name_of(cfg, world)
    pool, pool_source = training_frames(cfg, world)
    jury = judges(cfg, space, pool, manifest, reference, i3d)
    with tqdm(total=passes(judged, reference, jury), unit=" passes", unit_scale=True, mininterval=5) as bar:
        judged.tell(bar.update)
        figures, shown = measure(judged, reference, jury)
    about = {
        "name": name, "manifest": manifest.digest(), "reference": reference.digest(), "pool": pool_source,
        "absent": manifest.absent, "notes": manifest.notes, "world": world.sha256 if world else None,
        "world_tier": world.tier if world else None,
        "torch": torch.__version__, "machine": platform.machine(), "device": str(judged.student.device),
        "threads": str(torch.get_num_threads()), "config": plain(raw),
        "left_out": "" if cfg.i3d else "FVD and KVD of I3D (i3d=true)",
    }  # fmt: skip
    folder = Path(cfg.out) / name
    text = write_report(folder, figures, gates(figures, cfg.gates), about, shown, reference.fps)
    manifest.write(folder / "manifest.json", reference.sums)
    print(text)


if __name__ == "__main__":
    main()
