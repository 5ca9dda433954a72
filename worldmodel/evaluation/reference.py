"""What the dream is compared with: frames of the real game under the actions of the manifest.

Level       a running game, who plays it, and where the player is
Shorts      episodes to be dreamt frame by frame; Branches, Longs, Looks: likewise
first       fewer of their runs
Reference   all of them; saved and loaded as one npz
collect     play a manifest; collect_long: only its long runs

The games come in from outside: which game it is, the scripts know.
Everywhere actions[i] led to frame i, so the first frame of a context has an action too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from worldmodel.action import Action
from worldmodel.env import Env, EnvError, EpisodeEnd, Frame
from worldmodel.evaluation.manifest import RETRY, Beat, Entry, Manifest, Script, script_of
from worldmodel.evaluation.quality import traits

SHEET_SECONDS = 2.0  # between the frames kept of a long run
CHUNK = 64  # frames of a long run whose traits are measured at once
ATTEMPTS = 9
NEAR_DEGREES = (-5.0, -2.5, 0.0, 2.5, 5.0)  # turns after a return: a dream may come back a little beside

Act = Callable[[], Action]
Place = tuple[float, float]


class Level(NamedTuple):
    """env; players: seed -> what decides in the episode that was just reset; place: (x, y) of the player now, or nan
    where the game does not tell.
    """

    env: Env
    players: Callable[[int], Act]
    place: Callable[[], Place]


@dataclass(kw_only=True)
class Shorts:
    """Episodes of A to D. frames uint8 (E, C + T, H, W, 3); actions (E, C + T, A); places (E, C + T, 2) after each."""

    frames: np.ndarray
    actions: np.ndarray
    places: np.ndarray


@dataclass(kw_only=True)
class Branches:
    """context (B, C, H, W, 3); actions (B, K, C + S, A): the context's, then the script's; frames (B, K, S, ...)."""

    context: np.ndarray
    actions: np.ndarray
    frames: np.ndarray


@dataclass(kw_only=True)
class Longs:
    """Runs of one length: context (R, C, H, W, 3), actions (R, C + L, A), traits (R, L, 3) of every real frame
    (quality.traits), frames (R, n, H, W, 3) every SHEET_SECONDS.
    """

    context: np.ndarray
    actions: np.ndarray
    traits: np.ndarray
    frames: np.ndarray


@dataclass(kw_only=True)
class Looks:
    """Looking away by one angle and back, after a context of standing still: context (R, C, H, W, 3), actions
    (R, C + S, A), frames (R, S, H, W, 3); near (R, D, H, W, 3): the last view turned by NEAR_DEGREES.
    """

    context: np.ndarray
    actions: np.ndarray
    frames: np.ndarray
    near: np.ndarray


Part = TypeVar("Part", Shorts, Branches, Longs, Looks)


def first(part: Part, runs: int) -> Part:
    """The first runs of them."""
    return type(part)(**{name: value[:runs] for name, value in vars(part).items()})


@dataclass(kw_only=True)
class Reference:
    """shorts by the group of the manifest; longs by seconds; looks by degrees."""

    fps: float
    context: int  # C, the frames a dream is given
    shorts: dict[str, Shorts]
    branches: Branches
    longs: dict[int, Longs]
    looks: dict[int, Looks]
    sums: dict[str, str] = field(default_factory=dict)  # entry -> sha256 of its frames

    def save(self, path: Path) -> None:
        """Write an npz; whole or absent."""
        path.parent.mkdir(parents=True, exist_ok=True)
        about = json.dumps({"fps": self.fps, "context": self.context, "sums": self.sums})
        arrays = {f"branches.{name}": value for name, value in vars(self.branches).items()}
        for kind in ("shorts", "longs", "looks"):
            for key, part in vars(self)[kind].items():
                arrays |= {f"{kind}.{key}.{name}": value for name, value in vars(part).items()}
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, about=np.asarray(about), **arrays)
        temporary.rename(path)

    @staticmethod
    def load(path: Path) -> Reference:
        """The inverse of save."""
        parts: dict[str, dict[str, dict[str, np.ndarray]]] = {"shorts": {}, "longs": {}, "looks": {}}
        with np.load(path, allow_pickle=False) as data:
            for name in data.files:
                kind, _, rest = name.partition(".")
                if kind in parts:
                    key, _, leaf = rest.rpartition(".")
                    parts[kind].setdefault(key, {})[leaf] = data[name]
            branches = Branches(**{f.name: data[f"branches.{f.name}"] for f in fields(Branches)})
            about = json.loads(str(data["about"]))
        return Reference(
            shorts={key: Shorts(**part) for key, part in parts["shorts"].items()},
            longs={int(key): Longs(**part) for key, part in parts["longs"].items()},
            looks={int(key): Looks(**part) for key, part in parts["looks"].items()},
            branches=branches, **about,
        )  # fmt: skip

    def digest(self) -> str:
        """sha256 over the frames of all entries: two reports with the same digest saw the same reality."""
        return hashlib.sha256(json.dumps(self.sums, sort_keys=True).encode()).hexdigest()


def collect(
    manifest: Manifest, open_level: Callable[[str], Level], branch: list[Script], say: Callable[[str], None]
) -> Reference:
    """Play everything of a manifest; the same games give the same arrays.

    open_level: "" or a name of ProbesConfig.unseen -> Level, asked for in one go and closed by the caller; branch:
    the scripts of branch identification; say: is told what is being played. Raises EnvError if a replay of the same
    actions shows other frames, or if a game ends too early too often.
    """
    home = open_level("")
    player = _Player(manifest, home, say)
    shorts: dict[str, Shorts] = {}
    for group in dict.fromkeys(e.group for e in manifest.entries if e.split in "ABCD"):
        entries = [e for e in manifest.entries if e.group == group]
        player.level = open_level(entries[0].level) if entries[0].level else home
        shorts[group] = Shorts(**player.all(entries, player.short))
    player.level = home
    branches = Branches(**player.all(manifest.of("branch"), lambda entry: player.branch(entry, branch)))
    longs, looks = (
        {key: player.all(entries, how) for key, entries in _by_number(manifest, split).items()}
        for split, how in (("E", player.long), ("F", player.look))
    )
    return Reference(
        fps=float(home.env.fps), context=manifest.context, shorts=shorts, branches=branches, sums=player.sums,
        longs={key: Longs(**part) for key, part in longs.items()},
        looks={key: Looks(**part) for key, part in looks.items()},
    )  # fmt: skip


def collect_long(
    manifest: Manifest, level: Level, runs: dict[int, int], say: Callable[[str], None]
) -> dict[int, Longs]:
    """The first `runs` long runs by seconds, played by the level's players. Raises as collect."""
    player = _Player(manifest, level, say)
    entries = {seconds: part[: runs.get(seconds, 0)] for seconds, part in _by_number(manifest, "E").items()}
    return {seconds: Longs(**player.all(part, player.long)) for seconds, part in entries.items() if part}


def _by_number(manifest: Manifest, split: str) -> dict[int, list[Entry]]:
    """Entries of E by seconds, of F by degrees."""
    parts: dict[int, list[Entry]] = {}
    for entry in manifest.of(split):
        parts.setdefault(int(entry.group.split("/")[1]), []).append(entry)
    return parts


class _Player:
    """Plays entries in a level, and sums up what each of them showed."""

    def __init__(self, manifest: Manifest, level: Level, say: Callable[[str], None]) -> None:
        self.warm_up, self.given, self.level, self.say = manifest.warm_up, manifest.context, level, say
        self.sums: dict[str, str] = {}

    def all(self, entries: list[Entry], how: Callable[[Entry], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of entries of one group, stacked."""
        self.say(f"playing {entries[0].group}: {len(entries)} x {entries[0].steps}")
        played = []
        for entry in entries:
            arrays = self._attempts(entry, how)
            digest = hashlib.sha256()
            for name in sorted(arrays):
                digest.update(np.ascontiguousarray(arrays[name]).tobytes())
            self.sums[entry.name] = digest.hexdigest()
            played.append(arrays)
        return {name: np.stack([arrays[name] for arrays in played]) for name in played[0]}

    def _attempts(self, entry: Entry, how: Callable[[Entry], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        for attempt in range(ATTEMPTS):
            try:
                return how(Entry(**asdict(entry) | {"seed": entry.seed + attempt * RETRY, "beats": entry.beats}))
            except EpisodeEnd:
                self.say(f"{entry.name}: the game ended too early; another seed is played")
        raise EnvError(f"{entry.name}: the game ended too early {ATTEMPTS} times; shorten the tier's runs")

    def steps(self, entry: Entry, beats: list[Beat]) -> Iterator[tuple[Action, Frame]]:
        """An episode without end: each action and the frame it led to; beats take over after the context."""
        env = self.level.env
        env.reset(start=entry.start, seed=entry.seed)
        act = self.level.players(entry.seed)
        for _ in range(self.warm_up + self.given):
            action = act()
            yield action, env.step(action)
        held = [Action(script.buttons, (script.turn, 0.0)) for script in script_of(beats, entry.steps)] if beats else []
        for action in held:
            yield action, env.step(action)
        while not held:
            action = act()
            yield action, env.step(action)

    def arrays(self, steps: list[tuple[Action, Frame]]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, H, W, 3) and actions (T, A)."""
        to_vector = self.level.env.actions.to_vector
        return np.stack([frame for _, frame in steps]), np.stack([to_vector(action) for action, _ in steps])

    def short(self, entry: Entry) -> dict[str, np.ndarray]:
        """Frames, actions and places of one episode."""
        played, places = [], []
        steps = islice(self.steps(entry, entry.beats), self.warm_up, self.warm_up + self.given + entry.steps)
        for step in steps:
            played.append(step)
            places.append(self.level.place())
        frames, actions = self.arrays(played)
        return {"frames": frames, "actions": actions, "places": np.asarray(places, np.float32)}

    def branch(self, entry: Entry, scripts: list[Script]) -> dict[str, np.ndarray]:
        """From one moment every script; the way there is replayed and must show the same last frame bit by bit."""
        past = list(islice(self.steps(entry, []), self.warm_up + self.given))
        context, before = self.arrays(past[self.warm_up :])
        actions, frames = [], []
        for script in scripts:
            action = Action(script.buttons, (script.turn, 0.0))
            self._again(entry, past)
            vectors = np.repeat(self.level.env.actions.to_vector(action)[None], entry.steps, 0)
            actions.append(np.concatenate([before, vectors]))
            frames.append(np.stack([self.level.env.step(action) for _ in range(entry.steps)]))
        return {"context": context, "actions": np.stack(actions), "frames": np.stack(frames)}

    def _again(self, entry: Entry, past: list[tuple[Action, Frame]]) -> None:
        frame = self.level.env.reset(start=entry.start, seed=entry.seed)
        for action, _ in past:
            frame = self.level.env.step(action)
        if not np.array_equal(frame, past[-1][1]):
            raise EnvError(
                f"seed {entry.seed}: the replayed game shows another frame; branches need a deterministic game"
            )

    def look(self, entry: Entry) -> dict[str, np.ndarray]:
        """Stand for the context, look away, look back; then the views a little beside, each after a replay."""
        still = [Beat(buttons=[], turn=0.0, steps=self.given), *entry.beats]
        total = Entry(**asdict(entry) | {"steps": self.given + entry.steps, "beats": []})
        first = self.warm_up + self.given
        past = list(islice(self.steps(total, still), first + total.steps))
        frames, actions = self.arrays(past[first:])
        near = []
        for degrees in NEAR_DEGREES:
            self._again(entry, past)
            near.append(self.level.env.step(Action((), (degrees, 0.0))) if degrees else past[-1][1])
        given = self.given
        return {"context": frames[:given], "actions": actions, "frames": frames[given:], "near": np.stack(near)}

    def long(self, entry: Entry) -> dict[str, np.ndarray]:
        """Context, actions, traits and a few frames of a run of `steps` seconds; its other frames are not kept."""
        fps = self.level.env.fps
        length, stride = round(entry.steps * fps), round(SHEET_SECONDS * fps)
        steps = islice(self.steps(entry, []), self.warm_up, None)
        context, actions = self.arrays(list(islice(steps, self.given)))
        acted, measured, kept, last = [actions], [], [], context[-1:]
        for first in range(0, length, CHUNK):
            frames, actions = self.arrays(list(islice(steps, min(CHUNK, length - first))))
            measured.append(traits(np.concatenate([last, frames]))[1:])
            acted.append(actions)
            kept += [frames[i].copy() for i in range(len(frames)) if (first + i) % stride == 0]
            last = frames[-1:]
        whole: dict[str, Any] = {"traits": np.concatenate(measured), "frames": np.stack(kept)}
        return {"context": context, "actions": np.concatenate(acted), **whole}
