"""The real game's part of an evaluation: the frozen manifest and the frames it leads to, once for all worlds.

python -m train.reference game=doom_garden         writes out/evaluate/{reference,astray,still}-<hash>.npz and
                                                   manifest-<hash>.json
train.evaluate does the same where it is missing; this is for a machine that has the game and no world.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from train.cli import stage
from worldmodel import Action
from worldmodel.action import ActionSpace
from worldmodel.config import typed
from worldmodel.env import EnvError
from worldmodel.evaluation.flight import load_longs, piloted, save_longs
from worldmodel.evaluation.manifest import Manifest, ProbesConfig, TierConfig, build
from worldmodel.evaluation.otherwise import astray, still
from worldmodel.evaluation.pilot import Pilot
from worldmodel.evaluation.reference import (
    Level,
    Longs,
    Place,
    Reference,
    collect,
    collect_long,
)
from worldmodel.games import Game, GameConfig, open_game, player

STILL_RUNS = 8
PLACES = ("pose", "drive", "place")  # what games call it in their facts


class Otherwise(NamedTuple):
    """astray: by seconds; still: None where no long runs are in the tier."""

    astray: dict[int, Longs]
    still: Longs | None


@dataclass(kw_only=True)
class Config:
    """See conf/reference.yaml."""

    game: GameConfig
    probes: ProbesConfig
    tier: TierConfig
    out: str


def level_settings(game: GameConfig, control: ProbesConfig, level: str) -> GameConfig:
    """The settings of the game, or of one of its unseen levels."""
    if not level:
        return game
    return typed(GameConfig, OmegaConf.merge(asdict(game), control.unseen[level]))  # type: ignore[arg-type]


def place(game: Game) -> Place:
    """(x, y) now, of what the game notes beside a step."""
    return place_in(game.facts())


def place_in(facts: dict[str, Any]) -> Place:
    """(x, y) of what was noted beside a step; nan where no place was."""
    x, y, *_ = next((facts[name] for name in PLACES if name in facts), (float("nan"), float("nan")))
    return float(x), float(y)


def manifest_of(game: GameConfig, control: ProbesConfig, tier: TierConfig) -> Manifest:
    """The manifest; what it names of the game is all that decides its frames."""
    settings = {key: value for key, value in asdict(game).items() if value is not None}
    del settings["title"], settings["licence"]
    settings["branch"] = [asdict(script) for script in control.branch]
    settings["unseen"] = control.unseen
    return build(settings, control, tier)


def reality(manifest: Manifest, game: GameConfig, control: ProbesConfig, out: Path) -> tuple[Reference, ActionSpace]:
    """The kept reference of a manifest, or a new one, beside its manifest; and the game's action space.

    Raises EnvError if the game shows other frames than when the manifest was first played.
    """
    name = manifest.digest()[:12]
    path, kept = out / f"reference-{name}.npz", out / f"manifest-{name}.json"
    with ExitStack() as stack:

        def open_level(level: str) -> Level:
            settings = level_settings(game, control, level)
            env = stack.enter_context(closing(open_game(settings, watch=True)))

            def players(seed: int) -> Callable[[], Action]:
                return player(env, settings, seed)[1]

            return Level(env, players, partial(place, env))

        home = open_level("")
        control.check(space := home.env.actions)
        if not path.exists():
            opened = {"": home}
            reference = collect(manifest, lambda key: opened.get(key) or open_level(key), control.branch, print)
            first: dict[str, Any] = json.loads(kept.read_text())["frames"] if kept.exists() else reference.sums
            if first != reference.sums:
                changed = sorted(key for key in reference.sums if first.get(key) != reference.sums[key])
                raise EnvError(
                    f"{kept}: the game shows other frames than when they were first played, e.g. {changed[:3]}. "
                    "Was it updated? Delete the manifest to begin anew; old reports are then not comparable."
                )
            manifest.write(kept, reference.sums)
            reference.save(path)
    return Reference.load(path), space


def flown(manifest: Manifest, game: GameConfig, pilot: Pilot, runs: dict[int, int], path: Path) -> dict[int, Longs]:
    """The real game's long runs under the pilot, kept at `path` or played now."""
    after = manifest.warm_up + manifest.context
    return _kept(path, manifest, game, lambda level: piloted(level, pilot, after), runs, "piloted")


def otherwise(manifest: Manifest, game: GameConfig, longs: dict[int, Longs], out: Path) -> Otherwise:
    """The real game's long runs under each other's actions, and the shortest without any; both are kept beside the
    reference, or played now.
    """
    if not longs:
        return Otherwise({}, None)

    def kept(how: str, change: Callable[[Level, Manifest, dict[int, Longs]], Level], runs: dict[int, int]) -> Any:
        path = out / f"{how}-{manifest.digest()[:12]}.npz"
        return _kept(path, manifest, game, lambda level: change(level, manifest, longs), runs, how)

    lost = kept("astray", astray, {seconds: len(part.context) for seconds, part in longs.items()})
    shortest = min(longs)
    return Otherwise(lost, kept("still", still, {shortest: min(STILL_RUNS, len(longs[shortest].context))})[shortest])


def _kept(
    path: Path, manifest: Manifest, game: GameConfig, change: Callable[[Level], Level], runs: dict[int, int], how: str
) -> dict[int, Longs]:
    if not path.exists():
        with closing(open_game(game, watch=True)) as env:
            own = change(Level(env, lambda seed: player(env, game, seed)[1], partial(place, env)))
            save_longs(path, collect_long(manifest, own, runs, lambda text: print(f"{text}, {how}")))
    return load_longs(path)


@stage("reference")
def main(raw: DictConfig) -> None:
    """Play the manifest, or say that it has been played."""
    cfg = typed(Config, raw)
    manifest = manifest_of(cfg.game, cfg.probes, cfg.tier)
    reference, _ = reality(manifest, cfg.game, cfg.probes, Path(cfg.out))
    otherwise(manifest, cfg.game, reference.longs, Path(cfg.out))
    print(f"{cfg.game.name}: manifest {manifest.digest()[:12]}, {len(manifest.entries)} entries")
    for group, part in reference.shorts.items():
        print(f"  {group:20s} {len(part.frames)} x {part.frames.shape[1]} frames")
    for split, reason in manifest.absent.items():
        print(f"  {split:20s} {reason}")


if __name__ == "__main__":
    main()
