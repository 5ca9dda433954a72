"""Stage 8 of 9: a trained student -> one playable world.

python -m train.export game=doom_garden         reads runs/doom_garden/dmd/, writes assets/worlds/doom_garden/
python -m train.export game=doom_garden student=assets/worlds/doom_garden data=assets/worlds/doom_garden teacher=null \
    tokenizer=runs/doom_garden/decoder          the same world with another decoder
python -m train.export game=doom_garden student=assets/worlds/doom_garden data=assets/worlds/doom_garden \
    tokenizer=assets/worlds/doom_garden teacher=runs/doom_garden/longer since=assets/worlds/doom_garden
                                                its student, and what its teacher has learnt since
python -m train.export game=doom_garden student=runs/doom_garden/dmd blend=assets/worlds/doom_garden blend_share=0.5 \
    data=assets/worlds/doom_garden teacher=assets/worlds/doom_garden tokenizer=assets/worlds/doom_garden
                                                half of what DMD has changed
python -m train.export game=doom_garden tier=big student=runs/doom_garden/big
                                                another student for the world that lies in `out`; all else is kept
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from train.cli import stage
from train.load import blend_in, is_world, load_model, load_teacher, load_tokenizer, student_begun
from train.provenance import back_to_a_world, provenance, stages_of
from train.starts import choose_starts
from worldmodel.action import ActionSpace
from worldmodel.bundle import World, add_tier, read_bundle, seal, write_bundle
from worldmodel.config import typed
from worldmodel.data.episode import Meta, list_episodes, load_episode
from worldmodel.data.video import save_image
from worldmodel.games import GameConfig

ALIGNMENT = "actions[t] takes frame[t] to frame[t + 1]"


@dataclass(kw_only=True)
class Config:
    """See conf/export.yaml."""

    game: GameConfig
    tier: str | None
    student: str
    weights: str
    teacher: str | None
    since: str | None
    blend: str | None
    blend_share: float
    tokenizer: str
    data: str
    later_data: list[str]
    out: str
    title: str
    sigmas: dict[int, list[float]]
    noise_scale: float
    steps: int
    rest_steps: int | None
    int8: bool
    starts: int
    players: list[str] | None
    context: int
    report: str | None
    trained_with: str

    def __post_init__(self) -> None:
        if self.since and (self.tier or not self.teacher):
            raise ValueError("since=... adds what a world's teacher has learnt: say teacher=..., and no tier")
        if self.blend and (self.tier or not 0 < self.blend_share < 1):
            raise ValueError("blend=... makes a world's student: say blend_share between 0 and 1, and no tier")


@dataclass(frozen=True)
class Beginnings:
    """Starts of a world: frames uint8 (S, T, H, W, 3), moves float32 (S, T - 1, A), titles; fps, actions as JSON; and
    what was played, in words.
    """

    frames: np.ndarray
    moves: np.ndarray
    titles: list[str]
    fps: float
    actions: dict[str, Any]
    data: str


def beginnings(cfg: Config) -> Beginnings:
    """Those of a world where `data` names one, else chosen from episodes."""
    if is_world(cfg.data):
        world = read_bundle(cfg.data)
        told = [line.removeprefix("Data: ").split(" in the real game")[0] for line in world.card.splitlines()
                if line.startswith("Data: ")]  # fmt: skip
        return Beginnings(
            world.start_frames.numpy(), world.start_actions.numpy(), list(world.info["starts"]), world.fps,
            _actions_of(cfg, world).to_json(), told[0] if told else "play",
        )  # fmt: skip
    chosen = choose_starts(cfg.data, cfg.starts, cfg.context, cfg.players)
    meta = chosen[0][0].meta
    return Beginnings(
        np.stack([episode.frames(t - cfg.context + 1, cfg.context) for episode, t in chosen]),
        np.stack([episode.action_vectors()[t - cfg.context + 1 : t] for episode, t in chosen]),
        [f"{e.meta.player}, seed {e.meta.seed}, step {t}" for e, t in chosen], meta.fps, meta.action_space.to_json(),
        played_in(cfg.data),
    )  # fmt: skip


def _actions_of(cfg: Config, world: World) -> ActionSpace:
    """A world's, or as its latest play tells them: a world may be older than the turns that its networks are told."""
    own = ActionSpace.from_json(world.info["actions"])
    if not cfg.later_data:
        return own
    later = load_episode(list_episodes(cfg.later_data[-1])[0]).meta.action_space
    if later != own:
        raise ValueError(f"{cfg.later_data[-1]} has other actions than {cfg.data}: {later}, not {own}")
    return later


def played_in(data: str) -> str:
    """Who played how long in a folder of episodes."""
    return played([load_episode(path).meta for path in list_episodes(data)])


def played(metas: Sequence[Meta]) -> str:
    """Who played how long: 1.9 hours of scripted play (episodes: 240) and ..."""
    parts = []
    for kind in ("scripted", "human"):
        theirs = [meta for meta in metas if (meta.player == "human") == (kind == "human")]
        hours = sum(meta.num_steps / meta.fps for meta in theirs) / 3600
        parts += [f"{hours:.1f} hours of {kind} play (episodes: {len(theirs)})"] if theirs else []
    return " and ".join(parts)


def card(cfg: Config, training: dict[str, Any], data: str) -> str:
    """card.md: what it is, data, licence, how it was trained, what was measured."""
    resting = f" (in {cfg.rest_steps} steps while nothing is held)" if cfg.rest_steps else ""
    lines = [f"# {cfg.title}", "", f"World `{cfg.game.name}`, dreamed by a {cfg.steps}-step student{resting}.", ""]
    data = ", and then ".join([data, *map(played_in, cfg.later_data)])
    lines += [f"Data: {data} in the real game. Pictures: {cfg.game.licence}.", ""]
    lines += [f"Trained with `{cfg.trained_with}`:", ""]
    for made in (*stages_of(training), *stages_of(training["tokenizer"])):
        lines.append(f"- {made['stage']}: {made['steps']} steps, {made['minutes']} minutes")
    if cfg.report:
        gates = json.loads(Path(cfg.report).read_text())["gates"]
        lines += ["", "Measured against the real engine on held-out seeds (`python -m train.evaluate`):", ""]
        lines += ["| figure | value | wanted | |", "|---|---|---|---|"]
        for gate in gates:
            verdict = {True: "reached", False: "missed", None: "n/a"}[gate["passed"]]
            least, most = gate["least"], gate["most"]
            if least is None and most is None:
                continue
            wanted = f">= {least:g}" if most is None else f"<= {most:g}" if least is None else f"{least:g} .. {most:g}"
            figure = (gate["figure"] or {}).get("value")
            value = "" if figure is None else f"{figure:.2f}"
            lines.append(f"| {gate['name']} | {value} | {wanted} | {verdict} |")
    return "\n".join(lines) + "\n"


def of_the_tier(cfg: Config, world: World) -> dict[str, Any]:
    """What world.json says of a tier besides its network: what made it, and noise levels that are not the world's."""
    own = {"sigmas": {str(n): levels for n, levels in cfg.sigmas.items()}, "noise_scale": cfg.noise_scale}
    own |= {"steps": cfg.steps} | _at_rest(cfg)
    own = {key: value for key, value in own.items() if value != world.info.get(key)}
    return {"training": provenance(cfg.student)} | own | ({"int8": True} if cfg.int8 else {})


def _at_rest(cfg: Config) -> dict[str, int]:
    return {"rest_steps": cfg.rest_steps} if cfg.rest_steps else {}


def export_tier(cfg: Config, tier: str, draft: Path) -> None:
    """Copy the world in `out` and write the student beside its own. ValueError if it is no folder of a world, or the
    student was made for other latents or actions.
    """
    out, student = Path(cfg.out), load_model(cfg.student, cfg.weights)
    if not (out / "world.json").exists():
        raise ValueError(f"{out} is no folder of a world that a tier could be added to; export a world there first")
    world = read_bundle(out)
    theirs, ours = ((m.latent_shape, m.num_actions) for m in (student, world.model))
    if theirs != ours:
        raise ValueError(f"{cfg.student}: latents and actions {theirs}, and {out} has {ours}: of another world")
    shutil.copytree(out, draft)
    add_tier(draft, tier, student, of_the_tier(cfg, world))


def export_world(cfg: Config, draft: Path) -> None:
    """Write a whole bundle but for its checksums."""
    nets: dict[str, Any] = {"tokenizer": load_tokenizer(cfg.tokenizer)}
    training = provenance(cfg.student)
    if cfg.teacher:
        nets["teacher"] = load_teacher(cfg.teacher)
    if cfg.teacher and cfg.since:
        nets["student"] = student_begun(cfg.teacher, cfg.student, cfg.since, cfg.weights)
        training = {"stage": "addition", "steps": 0, "minutes": 0.0, "config": {"since": cfg.since},
                    "taught_by": back_to_a_world(provenance(cfg.teacher)), "from": training}  # fmt: skip
    else:
        nets["student"] = load_model(cfg.student, cfg.weights)
    if cfg.blend:
        blend_in(nets["student"], load_model(cfg.blend, cfg.weights), cfg.blend_share)
        training = {"stage": "blend", "steps": 0, "minutes": 0.0,
                    "config": {"blend": cfg.blend, "blend_share": cfg.blend_share}, "from": training}  # fmt: skip
    begun = beginnings(cfg)
    space = ActionSpace.from_json(begun.actions).known_to(nets["student"].num_actions)
    tokenized = provenance(cfg.tokenizer, of_tokenizer=True)
    training |= {"tokenizer": tokenized, "alignment": ALIGNMENT}
    info = {
        "name": cfg.game.name, "title": cfg.title, "game": cfg.game.name, "fps": begun.fps,
        "actions": space.to_json(), "sigmas": {str(n): s for n, s in cfg.sigmas.items()},
        "noise_scale": cfg.noise_scale, "steps": cfg.steps,
        "starts": begun.titles,
        "licence": cfg.game.licence, "training": training, "int8": cfg.int8,
    } | _at_rest(cfg)  # fmt: skip
    text = card(cfg, training, begun.data)
    write_bundle(draft, info, nets, torch.from_numpy(begun.frames), torch.from_numpy(begun.moves), text)
    for i, film in enumerate(begun.frames):
        save_image(draft / "starts" / f"{i:02d}.png", film[-1])


def export(cfg: Config) -> None:
    """Write the bundle beside its place, read it back, and only then put it there."""
    out = Path(cfg.out)
    draft = out.with_name(out.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    if cfg.tier:
        export_tier(cfg, cfg.tier, draft)
    else:
        export_world(cfg, draft)
    seal(draft)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    named = f" tier={cfg.tier}" if cfg.tier else ""
    print(f"{out}: {size / 2**20:.1f} MiB, play it with: python play.py world={out}{named}")


@stage("export")
def main(raw: DictConfig) -> None:
    """See export."""
    export(typed(Config, raw))


if __name__ == "__main__":
    main()
