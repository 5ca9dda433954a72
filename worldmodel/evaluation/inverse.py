"""An inverse-dynamics model: what was done, read off four frames. The judge of control.

InverseConfig, Inverse   the network: frames t - 1 .. t + 2 -> what was done from t to t + 1
label_names, labels      what it is asked: buttons whose effect can be seen, and turns
seen                     the steps at which something could be seen: not walking into a wall
windows                  clips -> what it reads; Lesson, Lessons: what it learns from, drawn by the step
read                     probabilities of clips
f1_counts, macro_f1      how well it reads
fidelity, fidelity_gap   how well a dream can be read, between chance and the tokenizer's own frames
kernel_distance          how far its features of dreams lie from those of real clips

It learns real frames and the same through the tokenizer, so that the tokenizer's blur is not taken for bad control.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worldmodel.action import ActionSpace
from worldmodel.evaluation.control import LEAST_TURN, net_turn
from worldmodel.evaluation.manifest import ProbesConfig
from worldmodel.evaluation.statistics import Estimate, resampled

BEFORE, AFTER = 2, 1  # frames of a window before and after the one an action led to
BATCH = 256
SPLITS = 50  # random halves of the episodes that a kernel distance is averaged over
LEFT, RIGHT = "left", "right"


@dataclass(kw_only=True)
class InverseConfig:
    """size_hw: what frames are shrunk to, grey; widths: channels of the four convolutions, each halving the picture;
    features: of the layer before the answer, which kernel_distance compares.
    """

    size_hw: list[int]
    widths: list[int]
    features: int

    def __post_init__(self) -> None:
        if len(self.size_hw) != 2 or min(self.size_hw) < 16 or len(self.widths) != 4:
            raise ValueError("inverse: size_hw must be two numbers >= 16, widths four")


class Inverse(nn.Module):
    """(N, 4, h, w) grey in [-1, 1] -> logits (N, L) of the labels `names`."""

    def __init__(self, config: InverseConfig, names: list[str]) -> None:
        super().__init__()
        self.config, self.names = config, names
        layers: list[nn.Module] = []
        sizes = [2 * (BEFORE + AFTER) + 1, *config.widths]
        for i in range(4):
            layers += [nn.Conv2d(sizes[i], sizes[i + 1], 5 if i == 0 else 3, 2, 2 if i == 0 else 1), nn.SiLU()]
        h, w = (-(-size // 16) for size in config.size_hw)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(config.widths[-1] * h * w, config.features))
        self.head = nn.Linear(config.features, len(names))

    def features(self, frames: Tensor) -> Tensor:
        """(N, 4, h, w) -> (N, features); the differences of neighbouring frames are given beside them, louder."""
        return F.silu(self.body(torch.cat([frames, 4 * frames.diff(dim=1)], 1)))

    def forward(self, frames: Tensor) -> Tensor:
        """Logits (N, L)."""
        return self.head(self.features(frames))


def save_inverse(path: Path, inverse: Inverse) -> None:
    """Write weights and what they belong to in one safetensors file."""
    about = {"config": json.dumps(asdict(inverse.config)), "names": json.dumps(inverse.names)}
    save_file({k: v.contiguous().cpu() for k, v in inverse.state_dict().items()}, path, about)


def load_inverse(path: Path) -> Inverse:
    """The inverse of save_inverse."""
    with safe_open(path, "pt") as file:
        about: dict[str, Any] = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    inverse = Inverse(InverseConfig(**json.loads(about["config"])), json.loads(about["names"]))
    inverse.load_state_dict(state)
    return inverse.eval().requires_grad_(False)


def label_names(control: ProbesConfig) -> list[str]:
    """What an inverse model of this game answers."""
    return [*control.labels, *([LEFT, RIGHT] if control.turning else [])]


def labels(actions: np.ndarray, space: ActionSpace, control: ProbesConfig) -> np.ndarray:
    """Action vectors (..., A) -> bool (..., L): buttons held, and turns of at least 2 degrees by keys and mouse."""
    held = [actions[..., space.buttons.index(name)] > 0.5 for name in control.labels]
    if control.turning:
        degrees = net_turn(actions, space, control.turning)
        held += [degrees <= -LEAST_TURN, degrees >= LEAST_TURN]
    return np.stack(held, -1)


def seen(actions: np.ndarray, places: np.ndarray, space: ActionSpace, control: ProbesConfig) -> np.ndarray:
    """bool (..., T): steps whose action could show. False where a button of control.stopped is held and the place,
    (..., T, 2) after each step, changes by less than control.stopped_below: obeying physics is no disobedience.
    """
    moved = np.full(actions.shape[:-1], np.inf)
    moved[..., 1:] = np.linalg.norm(np.diff(places, axis=-2), axis=-1)
    moved[np.isnan(moved)] = np.inf
    held = np.zeros(actions.shape[:-1], bool)
    for name in control.stopped:
        held |= actions[..., space.buttons.index(name)] > 0.5
    return ~(held & (moved < control.stopped_below))


def shrunk(frames: np.ndarray, size_hw: list[int]) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 grey (T, h, w)."""
    parts = [torch.from_numpy(frames[i : i + BATCH]).float().mean(-1)[:, None] for i in range(0, len(frames), BATCH)]
    return torch.cat([F.interpolate(p, size=size_hw, mode="area")[:, 0].round().byte() for p in parts])


def windows(grey: Tensor) -> Tensor:
    """uint8 (T, h, w) -> (T - 3, 4, h, w) in [-1, 1]; window i is around the action that led to frame i + BEFORE."""
    return grey.unfold(0, BEFORE + AFTER + 1, 1).permute(0, 3, 1, 2).float().div(127.5).sub(1)


class Lesson(NamedTuple):
    """One film: grey uint8 (T, h, w); truth float (T - 3, L) and mask bool (T - 3,) of its windows."""

    grey: Tensor
    truth: Tensor
    mask: Tensor


class Lessons:
    """Windows of films, drawn by (seed, step): frames (B, 4, h, w), truth (B, L), mask (B,); each a little
    darker or lighter, which changes nothing that was done.
    """

    def __init__(self, lessons: list[Lesson], seed: int) -> None:
        self.lessons, self.seed = lessons, seed
        self.ends = np.cumsum([len(lesson.truth) for lesson in lessons])

    def batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        parts = []
        for pick in rng.integers(self.ends[-1], size=batch_size):
            film = int(np.searchsorted(self.ends, pick, side="right"))
            lesson = self.lessons[film]
            i = int(pick - self.ends[film]) + len(lesson.truth)
            parts.append((lesson.grey[i : i + BEFORE + AFTER + 1], lesson.truth[i], lesson.mask[i]))
        frames, truth, mask = (torch.stack(part) for part in zip(*parts, strict=True))
        light = torch.from_numpy(rng.normal(0, 0.05, (batch_size, 1, 1, 1)).astype(np.float32))
        return frames.float().div(127.5).sub(1) + light, truth, mask


@torch.no_grad()
def read(inverse: Inverse, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (E, T - 3, L) and features (E, T - 3, D) of uint8 clips (E, T, H, W, 3)."""
    place = next(inverse.parameters()).device
    told, felt = [], []
    for clip in clips:
        features = inverse.features(windows(shrunk(clip, inverse.config.size_hw)).to(place))
        felt.append(features.cpu().numpy())
        told.append(inverse.head(features).sigmoid().cpu().numpy())
    return np.stack(told), np.stack(felt)


def inner(values: np.ndarray) -> np.ndarray:
    """Of (E, T, ...) by frame those that windows speak of, (E, T - 3, ...)."""
    return values[:, BEFORE : values.shape[1] - AFTER]


def f1_counts(probabilities: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(E, L, 3): true positives, false positives, false negatives of (E, T, L), where mask (E, T) is true."""
    told, truth, mask = probabilities > 0.5, truth.astype(bool), mask[..., None]
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


def kernel_distance(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> Estimate:
    """Unbiased squared MMD with the kernel (x y / D + 1)^3 (KID, arXiv:1801.01401) of features (E, T, D), scaled to
    mean square 1 of theirs. Over random halves of the episodes, ours of one half and theirs of the other, so that no
    episode is compared with itself; the interval is the middle 95 % of the halves.
    """
    rng = np.random.default_rng(seed)
    scale = np.sqrt(np.square(theirs.astype(np.float64)).mean())
    drawn = []
    for _ in range(SPLITS):
        order = rng.permutation(len(ours))
        x = ours[order[: len(ours) // 2]].reshape(-1, ours.shape[-1]) / scale
        y = theirs[order[len(ours) // 2 :]].reshape(-1, ours.shape[-1]) / scale
        drawn.append(_mmd(x[rng.permutation(len(x))[:BATCH]], y[rng.permutation(len(y))[:BATCH]]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean(drawn)), float(low), float(high), len(ours))


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    def within(a: np.ndarray) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())
