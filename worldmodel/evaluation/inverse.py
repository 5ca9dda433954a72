"""An inverse-dynamics model: what was done, read off nine frames. The judge of control.

InverseConfig, Inverse   the network: motion among frames t - 3 .. t + 5, and if asked four pictures -> what was done
                         from t to t + 1
labels                   what it is asked: buttons whose effect can be seen, and turns
seen                     the steps and labels at which something could be seen: not walking into a wall
windows                  films -> what it reads; Lesson, Lessons: what it learns from, drawn by the step
read                     probabilities of clips
f1_counts, macro_f1      how well it reads
fidelity, fidelity_gap   how well a dream can be read, between chance and the tokenizer's own frames

It learns real frames and the same through the tokenizer, so that the tokenizer's blur is not taken for bad control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.action import ActionSpace
from worldmodel.evaluation.control import LEAST_TURN, net_turn
from worldmodel.evaluation.manifest import ProbesConfig
from worldmodel.evaluation.motion import KINDS, view_motion
from worldmodel.evaluation.statistics import Estimate, resampled

BEFORE, AFTER = 4, 4  # frames of a window before and after the one an action led to
NEAR = slice(BEFORE - 2, BEFORE + 2)  # those of them that are looked at as pictures
FAINT = 2.0  # a turn within this factor of LEAST_TURN counts neither as one nor as none
BATCH = 256


@dataclass(kw_only=True)
class InverseConfig:
    """size_hw: what frames are shrunk to, grey; widths: channels of the four convolutions over pictures, each halving
    them, or none: then only their motion counts; motion: width of the layer that sees the motion of the window;
    features: of the layer before the answer, which distances.py compares.
    """

    size_hw: list[int]
    widths: list[int]
    motion: int
    features: int

    def __post_init__(self) -> None:
        if len(self.size_hw) != 2 or min(self.size_hw) < 16 or len(self.widths) not in (0, 4):
            raise ValueError("inverse: size_hw must be two numbers >= 16, widths four or none")


class Inverse(nn.Module):
    """Windows -> logits (N, L) of the labels `names`. scale (2, 7): mean and deviation of what view_motion gives."""

    scale: Tensor

    def __init__(self, config: InverseConfig, names: list[str]) -> None:
        super().__init__()
        self.config, self.names = config, names
        layers: list[nn.Module] = []
        sizes = [2 * (NEAR.stop - NEAR.start) - 1, *config.widths]
        for i in range(len(config.widths)):
            layers += [nn.Conv2d(sizes[i], sizes[i + 1], 5 if i == 0 else 3, 2, 2 if i == 0 else 1), nn.SiLU()]
        if layers:
            h, w = (-(-size // 16) for size in config.size_hw)
            layers += [nn.Flatten(), nn.Linear(sizes[-1] * h * w, config.features), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.moves = nn.Sequential(nn.Linear(KINDS * (BEFORE + AFTER), config.motion), nn.SiLU())
        self.join = nn.Linear(config.motion + (config.features if layers else 0), config.features)
        self.head = nn.Linear(config.features, len(names))
        self.register_buffer("scale", torch.stack([torch.zeros(KINDS), torch.ones(KINDS)]))

    def features(self, frames: Tensor, motion: Tensor) -> Tensor:
        """(N, 4, h, w) grey in [-1, 1] and (N, 8, 7) -> (N, features); the differences of neighbouring frames are given
        beside them, louder.
        """
        known = [self.moves(((motion - self.scale[0]) / self.scale[1]).clamp(-5, 5).flatten(1))]
        if len(self.body):
            both = torch.cat([frames, 4 * frames.diff(dim=1)], 1)
            known.append(self.body(both.contiguous(memory_format=torch.channels_last)))  # thrice as fast on a CPU
        return F.silu(self.join(torch.cat(known, 1)))

    def forward(self, frames: Tensor, motion: Tensor) -> Tensor:
        """Logits (N, L)."""
        return self.head(self.features(frames, motion))


def labels(actions: np.ndarray, space: ActionSpace, control: ProbesConfig) -> np.ndarray:
    """Action vectors (..., A) -> bool (..., L): buttons held, and turns of at least 2 degrees by keys and mouse."""
    held = [actions[..., space.buttons.index(name)] > 0.5 for name in control.labels]
    if control.turning:
        degrees = net_turn(actions, space, control.turning)
        held += [degrees <= -LEAST_TURN, degrees >= LEAST_TURN]
    return np.stack(held, -1)


def seen(actions: np.ndarray, places: np.ndarray, space: ActionSpace, control: ProbesConfig) -> np.ndarray:
    """bool (..., T, L): which labels could show, by what was asked and what the real game made of it. Hidden are

    a label of control.stopped that is true where the place, (..., T, 2) after each step, changes by less than its
    number: obeying physics is no disobedience. One of control.started that is true where the change of place does not
    grow along its vector by at least the vector's length: a jump shows where it leaves the ground. Left and right
    between half and double LEAST_TURN, where a little turn becomes a turn. Every label where the place changes by more
    than control.torn_above: a new level begins. A place that is not known hides nothing.
    """
    truth, names = labels(actions, space, control), control.label_names
    change = np.full(places.shape, np.nan)
    change[..., 1:, :] = np.diff(places, axis=-2)
    growth = np.full(places.shape, np.nan)
    growth[..., 1:, :] = np.diff(change, axis=-2)
    distance = np.linalg.norm(change, axis=-1)
    mask = np.ones(truth.shape, bool)
    if control.torn_above is not None:
        mask &= ~(distance > control.torn_above)[..., None]
    for name, least in control.stopped.items():
        i = names.index(name)
        mask[..., i] &= ~(truth[..., i] & (distance < least))
    for name, way in control.started.items():
        i = names.index(name)
        mask[..., i] &= ~(truth[..., i] & (growth @ np.asarray(way) < np.square(way).sum()))
    if control.turning:
        size = np.abs(net_turn(actions, space, control.turning))
        mask[..., -2:] &= ((size <= LEAST_TURN / FAINT) | (size >= LEAST_TURN * FAINT))[..., None]
    return mask


def shrunk(frames: np.ndarray, size_hw: list[int]) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 grey (T, h, w)."""
    parts = [torch.from_numpy(frames[i : i + BATCH]).float().mean(-1)[:, None] for i in range(0, len(frames), BATCH)]
    return torch.cat([F.interpolate(p, size=size_hw, mode="area")[:, 0].round().byte() for p in parts])


def windows(grey: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 (T, h, w) and view_motion of it (T - 1, 7) -> (T - 8, 4, h, w) in [-1, 1] and (T - 8, 8, 7); window i is
    around the action that led to frame i + BEFORE, its pictures are NEAR.
    """
    frames = grey.unfold(0, BEFORE + AFTER + 1, 1)[..., NEAR].permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return frames, motion.unfold(0, BEFORE + AFTER, 1).transpose(1, 2)


class Lesson(NamedTuple):
    """One film: grey uint8 (T, h, w) and its motion (T - 1, 7); truth float and mask bool (T - 8, L) of its windows."""

    grey: Tensor
    motion: Tensor
    truth: Tensor
    mask: Tensor


def motion_scale(lessons: list[Lesson]) -> Tensor:
    """Mean and deviation of the motion in films, (2, 7)."""
    every = torch.cat([lesson.motion for lesson in lessons])
    return torch.stack([every.mean(0), every.std(0).clamp_min(1e-6)])


class Lessons:
    """Windows of films, drawn by (seed, step): frames (B, 4, h, w), motion (B, 8, 7), truth and mask (B, L); each a
    little darker or lighter, which changes nothing that was done.
    """

    def __init__(self, lessons: list[Lesson], seed: int) -> None:
        self.lessons, self.seed = lessons, seed
        self.ends = np.cumsum([len(lesson.truth) for lesson in lessons])

    def batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        parts = []
        for pick in rng.integers(self.ends[-1], size=batch_size):
            film = int(np.searchsorted(self.ends, pick, side="right"))
            lesson = self.lessons[film]
            i = int(pick - self.ends[film]) + len(lesson.truth)
            end = i + BEFORE + AFTER
            parts.append(
                (lesson.grey[i + NEAR.start : i + NEAR.stop], lesson.motion[i:end], lesson.truth[i], lesson.mask[i])
            )
        frames, motion, truth, mask = (torch.stack(part) for part in zip(*parts, strict=True))
        light = torch.from_numpy(rng.normal(0, 0.05, (batch_size, 1, 1, 1)).astype(np.float32))
        return frames.float().div(127.5).sub(1) + light, motion, truth, mask


@torch.no_grad()
def read(inverse: Inverse, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (E, T - 8, L) and features (E, T - 8, D) of uint8 clips (E, T, H, W, 3)."""
    told, felt = [], []
    for clip in clips:
        grey = shrunk(clip, inverse.config.size_hw)
        probabilities, features = read_film(inverse, grey, view_motion(grey))
        told.append(probabilities)
        felt.append(features)
    return np.stack(told), np.stack(felt)


@torch.no_grad()
def read_film(inverse: Inverse, grey: Tensor, motion: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (T - 8, L) and features (T - 8, D) of one film (T, h, w)."""
    place = next(inverse.parameters()).device
    parts = zip(*(part.split(BATCH) for part in windows(grey, motion)), strict=True)
    features = torch.cat([inverse.features(*(part.to(place) for part in pair)) for pair in parts])
    return inverse.head(features).sigmoid().cpu().numpy(), features.cpu().numpy()


def inner(values: np.ndarray) -> np.ndarray:
    """Of (E, T, ...) by frame those that windows speak of, (E, T - 8, ...)."""
    return values[:, BEFORE : values.shape[1] - AFTER]


def f1_counts(probabilities: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(E, L, 3): true positives, false positives, false negatives of (E, T, L), where mask (E, T, L) is true."""
    told, truth = probabilities > 0.5, truth.astype(bool)
    cases = (told & truth & mask, told & ~truth & mask, ~told & truth & mask)
    return np.stack([case.sum(1) for case in cases], -1)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Sums of counts (R, L, 3) -> mean F1 (R,) of the labels that occur at all."""
    hit, false, missed = np.moveaxis(counts.astype(np.float64), -1, 0)
    occurs = hit + missed > 0
    score = np.divide(2 * hit, 2 * hit + false + missed, out=np.zeros_like(hit), where=occurs)
    return np.divide(score.sum(1), occurs.sum(1), out=np.full(len(score), np.nan), where=occurs.any(1))


def fidelity(dream: np.ndarray, rebuilt: np.ndarray, chance: np.ndarray) -> Estimate:
    """(F1_dream - F1_chance) / (F1_rebuilt - F1_chance) of counts (E, L, 3): 1 is as legible as the tokenizer allows.

    chance: rebuilt frames read against another episode's actions.
    """

    def ratio(*sums: np.ndarray) -> np.ndarray:
        ours, best, least = (macro_f1(part) for part in sums)
        return np.divide(ours - least, best - least, out=np.full_like(ours, np.nan), where=best > least)

    return resampled(ratio, dream, rebuilt, chance)


def fidelity_gap(ours: np.ndarray, theirs: np.ndarray, rebuilt: np.ndarray, chance: np.ndarray) -> Estimate:
    """fidelity of ours - fidelity of theirs, of the same episodes."""

    def gap(*sums: np.ndarray) -> np.ndarray:
        a, b, best, least = (macro_f1(part) for part in sums)
        return np.divide(a - b, best - least, out=np.full_like(a, np.nan), where=best > least)

    return resampled(gap, ours, theirs, rebuilt, chance)
