"""A pilot: a small network that looks at the picture and plays on. The judge of minutes that sees.

PilotConfig, Pilot   the network: the last frames -> how likely each button is held, and how far to turn
targets              what it imitates: a scripted player's actions in the real game
Flights              what it learns from, drawn by the step
decide               frames -> action vectors; the same rule in the real game and in every dream

It learns real frames only, spoilt a little, so that a picture need not be perfect to be driven by. Buttons are drawn by
the odds it gives: a player that jumps once a second is never more likely to jump than not, and a pilot that did what
is likeliest would never jump. For the same reason classes are not balanced: odds must mean what they say.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.action import ActionSpace
from worldmodel.evaluation.control import net_turn
from worldmodel.evaluation.inverse import seen
from worldmodel.evaluation.manifest import ProbesConfig

TURN = 8.0  # degrees that a turn is divided by in the loss, about one key's


@dataclass(kw_only=True)
class PilotConfig:
    """frames: how many it sees, the newest last; size_hw: what they are shrunk to; widths: channels of the four
    convolutions, each halving the picture; features: of the layer before the answer.
    """

    frames: int
    size_hw: list[int]
    widths: list[int]
    features: int

    def __post_init__(self) -> None:
        if self.frames < 1 or len(self.size_hw) != 2 or min(self.size_hw) < 16 or len(self.widths) != 4:
            raise ValueError("pilot: frames must be >= 1, size_hw two numbers >= 16, widths four")


class Pilot(nn.Module):
    """(N, frames * 3, h, w) in [-1, 1] -> (N, K + 1): logits of the buttons `names` and a turn in units of TURN."""

    def __init__(self, config: PilotConfig, names: list[str]) -> None:
        super().__init__()
        self.config, self.names = config, names
        layers: list[nn.Module] = []
        sizes = [3 * config.frames, *config.widths]
        for i in range(4):
            layers += [nn.Conv2d(sizes[i], sizes[i + 1], 5 if i == 0 else 3, 2, 2 if i == 0 else 1), nn.SiLU()]
        h, w = (-(-size // 16) for size in config.size_hw)
        layers += [nn.Flatten(), nn.Linear(config.widths[-1] * h * w, config.features), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Linear(config.features, len(names) + 1))

    def forward(self, frames: Tensor) -> Tensor:
        """(N, K + 1)."""
        return self.body(frames)


def held_names(space: ActionSpace, control: ProbesConfig) -> list[str]:
    """The buttons it holds; those that turn are left to the mouse where there is one."""
    turns = {control.turning.left, control.turning.right} if control.turning and space.mouse[0] else set()
    return [name for name in space.buttons if name not in turns]


def targets(
    actions: np.ndarray, places: np.ndarray, space: ActionSpace, control: ProbesConfig
) -> tuple[np.ndarray, np.ndarray]:
    """What to imitate, float32 (T, K + 1), and where, bool: actions (T, A) and places (T, 2) after each.

    A button that the game did not obey (inverse.seen) teaches nothing: a pilot that imitates standing on the brake
    would stand for ever, as no picture says when to let go.
    """
    names = held_names(space, control)
    held = [actions[:, space.buttons.index(name)] for name in names]
    turn = net_turn(actions, space, control.turning) if control.turning else np.zeros(len(actions))
    shows, labels = seen(actions, places, space, control), control.labels
    mask = [shows[:, labels.index(name)] if name in labels else np.ones(len(actions), bool) for name in names]
    return np.stack([*held, turn / TURN], 1).astype(np.float32), np.stack([*mask, np.ones(len(actions), bool)], 1)


def small(frames: np.ndarray, size_hw: list[int]) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 (T, 3, h, w)."""
    parts = torch.from_numpy(frames).split(256)
    shrunk = [F.interpolate(part.permute(0, 3, 1, 2).float(), size=size_hw, mode="area") for part in parts]
    return torch.cat([part.round().byte() for part in shrunk])


class Flight(NamedTuple):
    """One film: small frames uint8 (T + 1, 3, h, w); what was done after each, and where that counts: (T, K + 1)."""

    frames: Tensor
    wanted: Tensor
    mask: Tensor


class Flights:
    """Moments of films, drawn by (seed, step): frames (B, frames * 3, h, w) in [-1, 1], wanted and mask (B, K + 1).

    Frames are made lighter or darker, paler, and noisy, each as a whole by its own measure.
    """

    def __init__(self, flights: list[Flight], frames: int, seed: int) -> None:
        self.flights: list[Flight] = []
        self.since: list[int] = []
        self.frames, self.seed = frames, seed
        self.add(flights, 0)
        generator = torch.Generator().manual_seed(seed)
        self.grain = torch.randn(1 << 20, generator=generator)

    def add(self, flights: list[Flight], since: int) -> None:
        """More films, drawn from step `since` on, which is no earlier than those of before."""
        self.flights += flights
        self.since += [since] * len(flights)
        self.ends = np.cumsum([len(flight.wanted) - self.frames + 1 for flight in self.flights])

    def batch(self, step: int, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of this step."""
        rng = np.random.default_rng([self.seed, step])
        parts = []
        there = self.ends[bisect_right(self.since, step) - 1]
        for pick in rng.integers(there, size=batch_size):
            film = int(np.searchsorted(self.ends, pick, side="right"))
            flight = self.flights[film]
            now = int(self.ends[film] - pick) - 1 + self.frames - 1  # the newest frame that is seen
            seen_now = flight.frames[now - self.frames + 1 : now + 1].flatten(0, 1)
            parts.append((seen_now, flight.wanted[now], flight.mask[now]))
        frames, wanted, mask = (torch.stack(part) for part in zip(*parts, strict=True))
        light, pale, noise = (
            rng.normal(0, [0.06, 0.1, 0.05], (batch_size, 3)).astype(np.float32).T[..., None, None, None]
        )
        whole = frames.float().div(127.5).sub(1) * torch.from_numpy(1 + pale) + torch.from_numpy(light)
        loud = torch.from_numpy(np.abs(noise))
        # A piece of what was drawn once, the same for the batch: drawing it anew takes longer than learning from it.
        first = int(rng.integers(len(self.grain) - whole[0].numel()))
        grain = self.grain[first : first + whole[0].numel()].view(whole[:1].shape)
        return whole.addcmul_(grain, loud), wanted, mask


def loss(told: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the buttons and half the squared error of the turn; all (B, K + 1)."""
    buttons = F.binary_cross_entropy_with_logits(told[:, :-1], wanted[:, :-1], reduction="none") * mask[:, :-1]
    return buttons.sum() / mask[:, :-1].sum().clamp_min(1) + 0.5 * F.mse_loss(told[:, -1], wanted[:, -1])


@torch.no_grad()
def decide(pilot: Pilot, frames: np.ndarray, draws: np.ndarray, space: ActionSpace) -> np.ndarray:
    """Action vectors float32 (N, A) on uint8 (N, frames, H, W, 3), the newest last. draws (N, K) in [0, 1): a button
    is held if its odds are larger.
    """
    place = next(pilot.parameters()).device
    shrunk = torch.stack([small(part, pilot.config.size_hw).flatten(0, 1) for part in frames])
    told = pilot(shrunk.to(place).float().div(127.5).sub(1)).cpu().numpy()
    vectors = np.zeros((len(frames), space.size), np.float32)
    odds = 1 / (1 + np.exp(-told[:, :-1]))
    for i, name in enumerate(pilot.names):
        vectors[:, space.buttons.index(name)] = odds[:, i] > draws[:, i]
    if space.mouse[0]:
        vectors[:, len(space.buttons)] = np.clip(told[:, -1] * TURN / space.mouse[0], -1, 1)
    return vectors


def chances(pilot: Pilot, seed: int, t: int) -> np.ndarray:
    """The draws (K,) of a run's step, a function of both."""
    return np.random.default_rng([seed, t]).random(len(pilot.names))
