"""The frozen list of what is played in the real game, and its hash: no split moves once models exist.

Script ... ProbesConfig   what can be done in a game, in the words of its buttons (conf/probes/*.yaml)
TierConfig                 how much of it is played (conf/evaluation/tier/*.yaml)
Entry, Manifest            one episode; all of them, and which splits a game cannot have
build                      settings -> Manifest, a pure function

Splits: A seen levels, unseen seeds; B unseen starts; C unseen levels, each by itself; D unseen scripts; branches (from
one moment every script); E long runs; F look away and back. Training plays seeds below 2,000,000 from start 0 only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldmodel.action import ActionSpace

FORMAT = 3  # raise it when an entry, how it is played, or what is measured of it means something else (3: sharpness)
FIRST_SEED = 2_000_000  # collect.yaml plays below it, held-out episodes included
KIND = 100_000  # seeds between the kinds of entries
KINDS = ("A", "branch", "E", "B", "C", "D", "F")  # in the order of their seeds
RETRY = 10_000  # seeds between the attempts at an entry whose game ends too early
NO_LEVELS = "n/a: no level of this game was left out of training (or every seed draws one: then A is unseen already)"
NO_VIEW = "n/a: nothing in this game turns a view"
NOT_PLAYED = "n/a: none are played in this tier"
LEFT, RIGHT = "left", "right"  # labels of a turn, by keys or mouse
NOT_EXCLUDED = "starts that training never used, drawn as its own were: it excluded no region"


@dataclass(kw_only=True)
class Script:
    """An action that is held: buttons, and degrees of mouse turn a step (+ right)."""

    buttons: list[str]
    turn: float


@dataclass(kw_only=True)
class Beat(Script):
    """A script and for how many steps."""

    steps: int


@dataclass(kw_only=True)
class Family:
    """Beats that are played in a circle."""

    beats: list[Beat]


@dataclass(kw_only=True)
class Turning:
    """How the game is steered to a side. left, right: buttons, "" where there are none, which turn by key_degrees a
    step; is_view: whether the picture pans with it; look_degrees: a step's turn of the mouse in looking away.
    """

    left: str
    right: str
    key_degrees: float
    is_view: bool
    look_degrees: float


@dataclass(kw_only=True)
class ProbesConfig:
    """branch: the actions told apart in branch identification; families: scripts by name; labels:
    buttons whose effect a picture can show; stopped, started, torn_above: when the real game does not obey them, so
    that no picture can show them (inverse.seen); imitate: scripted players by whom a pilot is taught;
    unseen: names of levels training left out -> what they change in the
    game's settings; context_seconds: what the world's memory must span, null where nothing is asked.
    """

    branch: list[Script]
    families: dict[str, Family]
    turning: Turning | None
    labels: list[str]
    stopped: dict[str, float]
    started: dict[str, list[float]]
    torn_above: float | None
    imitate: list[str]
    unseen: dict[str, dict[str, Any]]
    context_seconds: float | None

    def check(self, space: ActionSpace) -> None:
        """ValueError if a name is not a button of this game."""
        beats = [*self.branch, *(beat for family in self.families.values() for beat in family.beats)]
        named = {name for beat in beats for name in beat.buttons} | set(self.labels)
        if self.turning:
            named |= {self.turning.left, self.turning.right} - {""}
        if unknown := sorted(named - set(space.buttons)):
            raise ValueError(f"conf/probes names the buttons {unknown}, this game has {list(space.buttons)}")
        if unread := sorted({*self.stopped, *self.started} - set(self.label_names)):
            raise ValueError(f"conf/probes: stopped or started name {unread}, the labels are {self.label_names}")

    @property
    def label_names(self) -> list[str]:
        """What an inverse model of this game answers."""
        return [*self.labels, *([LEFT, RIGHT] if self.turning else [])]


@dataclass(kw_only=True)
class TierConfig:
    """Entries of warm_up + context + horizon frames: episodes by split (A; B; C a level; D a family); branches of
    branch_steps; long: seconds -> runs; piloted: how many of these are flown again by a pilot; looks: runs of F an
    angle. warm_up: steps played before the first frame that counts. diverse: episodes, noise seeds and steps of the
    diversity.
    """

    seed: int
    warm_up: int
    context: int
    horizon: int
    episodes: dict[str, int]
    branches: int
    branch_steps: int
    long: dict[int, int]
    piloted: dict[int, int]
    looks: int
    angles: list[int]
    diverse: list[int]

    def __post_init__(self) -> None:
        if self.seed < FIRST_SEED:
            raise ValueError(f"seed: evaluation starts at {FIRST_SEED}, got {self.seed}: training may have seen it")
        if set(self.episodes) != set("ABCD") or self.episodes["A"] < 2 or self.branches < 2:
            raise ValueError("tier: episodes needs A, B, C and D; A and branches must be >= 2")
        counts = [*self.episodes.values(), self.branches, *self.long.values(), self.looks]
        if min(self.context, self.warm_up) < 1 or self.horizon < 8 or max(counts) > RETRY:
            raise ValueError("tier: context and warm_up must be >= 1, horizon >= 8, and no count above 10000")
        if any(runs > self.long.get(seconds, 0) for seconds, runs in self.piloted.items()):
            raise ValueError(f"tier: piloted runs are some of the long ones, got {self.piloted} of {self.long}")
        if any(0 < n < 2 for n in [*counts, *self.piloted.values()]) or len(self.diverse) != 3:
            raise ValueError("tier: a count is 0 or >= 2; diverse is [episodes, seeds, steps]")


@dataclass(kw_only=True)
class Entry:
    """One thing to play. group: what it is scored with, such as D/spin; level: a name in ProbesConfig.unseen, or "";
    beats: what is held after the context, in a circle; empty: the scripted player goes on.
    """

    split: str
    group: str
    level: str
    seed: int
    start: int
    steps: int
    beats: list[Beat]

    @property
    def name(self) -> str:
        """Unique in its manifest."""
        return f"{self.group}/{self.seed}"


@dataclass(kw_only=True)
class Manifest:
    """game: all settings that decide what is seen; absent: split -> why it is not there; notes: split -> remark."""

    game: dict[str, Any]
    warm_up: int
    context: int
    entries: list[Entry]
    absent: dict[str, str]
    notes: dict[str, str]

    def of(self, split: str) -> list[Entry]:
        """The entries of a split, in order."""
        return [entry for entry in self.entries if entry.split == split]

    def digest(self) -> str:
        """sha256 of all of it: equal digests, equal pictures."""
        return hashlib.sha256(json.dumps([FORMAT, asdict(self)], sort_keys=True).encode()).hexdigest()

    def write(self, path: Path, frames: Mapping[str, str]) -> None:
        """Write it with its digest and the sha256 of every entry's real frames, by the entry's name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"format": FORMAT, "sha256": self.digest(), **asdict(self), "frames": dict(frames)}
        path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


def build(game: dict[str, Any], control: ProbesConfig, tier: TierConfig) -> Manifest:
    """The manifest of a game at a tier. What the game cannot show is absent with the reason, never replaced."""
    entries: list[Entry] = []
    absent: dict[str, str] = {}
    turning = control.turning

    def add(kind: str, group: str, first: int, count: int, steps: int, **more: Any) -> None:
        seed = tier.seed + KIND * KINDS.index(kind) + first
        plain: dict[str, Any] = {"level": "", "start": 0, "beats": []}
        entries.extend(Entry(split=kind, group=group, seed=seed + k, steps=steps, **plain | more) for k in range(count))

    add("A", "A", 0, tier.episodes["A"], tier.horizon)
    add("B", "B", 0, tier.episodes["B"], tier.horizon, start=1)
    for i, level in enumerate(control.unseen):
        add("C", f"C/{level}", i * tier.episodes["C"], tier.episodes["C"], tier.horizon, level=level)
    for i, (name, family) in enumerate(control.families.items()):
        add("D", f"D/{name}", i * tier.episodes["D"], tier.episodes["D"], tier.horizon, beats=family.beats)
    add("branch", "branch", 0, tier.branches, tier.branch_steps)
    for i, (seconds, runs) in enumerate(sorted(tier.long.items())):
        add("E", f"E/{seconds}", i * RETRY // 4, runs, seconds)
    if turning and turning.is_view:
        for i, angle in enumerate(tier.angles):
            beats = look(angle, turning.look_degrees)
            add("F", f"F/{angle}", i * tier.looks, tier.looks, sum(beat.steps for beat in beats), beats=beats)
    for split in "BCDEF":
        if not any(entry.split == split for entry in entries):
            missing = {
                "C": None if control.unseen else NO_LEVELS,
                "F": None if turning and turning.is_view else NO_VIEW,
            }
            absent[split] = missing.get(split) or NOT_PLAYED
    return Manifest(
        game=game, warm_up=tier.warm_up, context=tier.context, entries=entries, absent=absent, notes={"B": NOT_EXCLUDED}
    )


def look(angle: int, degrees: float) -> list[Beat]:
    """Beats that turn right by an angle and back again, `degrees` or a little less a step; 360 goes round instead."""
    steps = -(-angle // round(degrees))
    turn = angle / steps
    if angle == 360:
        return [Beat(buttons=[], turn=turn, steps=steps)]
    return [Beat(buttons=[], turn=turn, steps=steps), Beat(buttons=[], turn=-turn, steps=steps)]


def script_of(beats: list[Beat], steps: int) -> list[Script]:
    """The action of each of so many steps; the beats are played in a circle."""
    circle = [Script(buttons=beat.buttons, turn=beat.turn) for beat in beats for _ in range(beat.steps)]
    return [circle[t % len(circle)] for t in range(steps)]
