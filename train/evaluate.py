"""Any checkpoint or bundle -> report: the dream beside the real game, on seeds no training ever saw.

python -m train.evaluate world=doom_garden                          writes out/evaluate/doom_garden/
python -m train.evaluate run=runs/doom_garden/consistency teacher=runs/doom_garden/teacher
The real game is played once and kept; a second evaluation with the same settings reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from train.cli import stage
from train.collect import GameConfig
from train.load import load_model, load_teacher, load_tokenizer
from worldmodel import ActionSpace, load
from worldmodel.config import plain, typed
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.rollout import consistency, euler
from worldmodel.evaluation.dreamer import Dreamer
from worldmodel.evaluation.protocol import Dreamers, measure, passes
from worldmodel.evaluation.reference import Act, Reference, ReferenceConfig, collect, fingerprint
from worldmodel.evaluation.report import write_report
from worldmodel.games.doom import BUTTONS, Doom, DoomConfig
from worldmodel.games.players import PlayersConfig, mix


@dataclass(kw_only=True)
class Config(ReferenceConfig):
    """See conf/evaluate.yaml."""

    game: GameConfig
    players: PlayersConfig
    world: str | None
    run: str | None
    weights: str
    tokenizer: str
    sigmas: list[float]
    noise_scale: float
    teacher: str | None
    teacher_steps: int
    teacher_shift: float
    out: str
    device: str
    half: bool
    threads: int
    batch: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.world is None) == (self.run is None):
            raise ValueError("say what is to be judged: world=doom_garden, or run=runs/doom_garden/consistency")


def doom(cfg: Config) -> DoomConfig:
    """The game's settings; ValueError for another game than Doom."""
    if cfg.game.doom is None:
        raise ValueError(f"{cfg.game.name}: only worlds of Doom can be evaluated yet")
    return cfg.game.doom


def dreamers(cfg: Config, space: ActionSpace) -> Dreamers:
    """Student, one-step student and teacher, on their device."""
    many, one, noise_scale = cfg.sigmas, [1.0], cfg.noise_scale
    if cfg.world:
        world = load(cfg.world)
        model, tokenizer, many, one = world.model, world.tokenizer, world.sigmas[world.steps], world.sigmas.get(1, one)
        noise_scale = world.noise_scale
        if world.actions != space or list(world.size_hw) != cfg.game.size_hw:
            raise ValueError(f"{cfg.world}: its frames or actions {world.actions} are not this game's, {space}")
    else:
        model, tokenizer = load_model(str(cfg.run), cfg.weights), load_tokenizer(cfg.tokenizer)
    name = cfg.device.replace("auto", "cuda" if torch.cuda.is_available() else "cpu")
    to: Any = {"device": torch.device(name), "dtype": torch.bfloat16 if cfg.half else torch.float32}
    shared: Any = {"tokenizer": tokenizer.to(**to).eval(), "batch": cfg.batch}
    student: Any = {"model": model.to(**to).eval(), "sampler": partial(consistency, noise_scale=noise_scale), **shared}
    teacher = None
    if cfg.teacher:
        levels = grid(cfg.teacher_steps, cfg.teacher_shift)[:-1].tolist()
        teacher = Dreamer(model=load_teacher(cfg.teacher).to(**to).eval(), sampler=euler, sigmas=levels, **shared)
    return Dreamers(student=Dreamer(sigmas=many, **student), one_step=Dreamer(sigmas=one, **student), teacher=teacher)


def reality(cfg: Config) -> Reference:
    """The kept reference of these settings, or a new one."""
    played = {"doom": asdict(doom(cfg)), "players": asdict(cfg.players)}
    path = Path(cfg.out) / f"reference-{fingerprint(played, cfg)}.npz"
    if not path.exists():
        game = Doom(doom(cfg), (cfg.game.size_hw[0], cfg.game.size_hw[1]), watch=True)

        def players(seed: int) -> Act:
            _, player = mix(game, cfg.players, seed)
            return lambda: player.act(game)

        collect(game, players, cfg, print).save(path)
        game.close()
    return Reference.load(path)


@stage("evaluate")
def main(raw: DictConfig) -> None:
    """Play or read the real game, dream it, compare."""
    cfg = typed(Config, raw)
    torch.set_num_threads(cfg.threads or torch.get_num_threads())
    space = ActionSpace(BUTTONS, (doom(cfg).mouse_degrees, 0.0))
    judged, reference = dreamers(cfg, space), reality(cfg)
    name = Path(cfg.world).stem if cfg.world else "-".join(Path(str(cfg.run)).parts[-2:])
    with tqdm(total=passes(judged, reference), unit=" passes", unit_scale=True, mininterval=5) as bar:
        judged.tell(bar.update)
        figures, rows, long = measure(judged, reference, space, doom(cfg).turn_degrees)
    about = {"name": name, "reference": reference.digest(), "torch": torch.__version__, "config": plain(raw)}
    about |= {"device": str(judged.student.device), "threads": str(torch.get_num_threads())}
    print(write_report(Path(cfg.out) / name, figures, about, rows, long))


if __name__ == "__main__":
    main()
