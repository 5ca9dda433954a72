"""Distribution matching distillation with self-rollout: the student is corrected on the frames it dreams itself.

Dream                 a batch of self-rollouts under way, which may go on window after window, far from any true frame
Rollout               what one window leaves: its frames, and the state each frame had at the exit step
begin, go_on          without gradients, through the path of play
replay                one parallel pass with gradients that gives the exit step's x0 again (self gradient forcing)
generator_loss        pulls the replayed frames from the fake score's opinion to the real score's
critic_loss           keeps the fake score on what the student makes now
opponent_loss         and likewise the opponent, which knows recorded play too
recorded              a window of recorded play, as a rollout would leave it

A score is a function (xt, sigma, rollout) -> v: of the bidirectional model over the clip, or of the causal teacher
over the dreamed past. DMD: arXiv:2311.18828; self-rollout: Self Forcing, arXiv:2506.08009; later windows of long
rollouts, judged by what they are and not by what they began from: Self-Forcing++, arXiv:2510.02283.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.diffusion.bidirectional import clip_velocity
from worldmodel.diffusion.flow import add_noise, shift, velocity, x0_from_velocity
from worldmodel.diffusion.opponent import Opponent, heard, marking_loss, pull
from worldmodel.diffusion.rollout import Sampler, consistency, prefill, rollout
from worldmodel.diffusion.teacher import Context, forced_velocity
from worldmodel.model.cache import KVCache
from worldmodel.model.dit import CausalDiT


@dataclass(kw_only=True)
class DmdConfig:
    """sigmas: the student's levels, noise_scale: of its sampler (rollout.consistency), both as it will be played;
    given: true frames a dream starts from; frames: of a window, which one update is of; windows: of a dream, before it
    begins anew; dreams: batches under way at once, of different ages, taken in turn; score: bidirectional or causal;
    critic_steps: fake-score updates to one of the student; pool: rollouts kept for the critic; critic_warmup:
    fake-score updates before the first of the student; shift: of the scores' levels; opponent: length of its pull
    beside the scores', 0: there is none; opponent_levels: noise between which it listens, low: what gives a dream away
    is drowned at most levels of the scores.
    """

    sigmas: list[float]
    noise_scale: float
    given: int
    frames: int
    windows: int
    dreams: int
    score: str
    critic_steps: int
    pool: int
    critic_warmup: int
    shift: float
    opponent: float
    opponent_levels: tuple[float, float]

    def __post_init__(self) -> None:
        if self.score not in ("bidirectional", "causal"):
            raise ValueError(f"dmd.score must be bidirectional or causal, got {self.score!r}")
        if self.sigmas[0] != 1.0 or sorted(self.sigmas, reverse=True) != list(self.sigmas):
            raise ValueError(f"dmd.sigmas must descend from 1, got {self.sigmas}")
        if self.windows < 1 or self.dreams < 1:
            raise ValueError(f"dmd.windows and dmd.dreams must be at least 1, got {self.windows} and {self.dreams}")

        if self.opponent < 0:
            raise ValueError(f"dmd.opponent must be at least 0, got {self.opponent}")
        low, high = self.opponent_levels
        if not 0 <= low <= high < 1:
            raise ValueError(f"dmd.opponent_levels must be two of 0 <= low <= high < 1, got {self.opponent_levels}")

    @property
    def length(self) -> int:
        """Frames of the clips that dreams begin from and take their actions from."""
        return self.given + self.windows * self.frames


@dataclass
class Dream:
    """cache: the student's memory; last (B, G, C, h, w): the frames before the next window, recorded ones if is_true;
    actions (B, G + what is left, A): theirs and those to come.
    """

    cache: KVCache
    last: Tensor
    actions: Tensor
    is_true: bool

    def has(self, frames: int) -> bool:
        """Whether actions are left for that many frames."""
        return self.actions.shape[1] >= self.last.shape[1] + frames


class Rollout(NamedTuple):
    """given (B, G, C, h, w) the frames before, recorded ones if is_true, else dreamed ones; dreamed (B, F, ...) fully
    denoised; exits (B, F, ...) the network's inputs at the exit step, of level sigma; actions (B, G + F, A).
    """

    given: Tensor
    dreamed: Tensor
    exits: Tensor
    sigma: float
    actions: Tensor
    is_true: bool

    @property
    def past(self) -> Tensor:
        """Frames 0..T-1, the clean half of a replay."""
        return torch.cat([self.given, self.dreamed], 1)[:, :-1]


Score = Callable[[CausalDiT, Tensor, Tensor, Rollout], Tensor]


@torch.no_grad()
def begin(student: CausalDiT, given: Tensor, actions: Tensor) -> Dream:
    """A dream that is about to go on from given true frames (B, G, C, h, w), under actions (B, G + more, A)."""
    cache = student.new_cache(len(given))
    prefill(student, cache, given, actions[:, : given.shape[1]])
    return Dream(cache, given, actions, is_true=True)


@torch.no_grad()
def go_on(
    student: CausalDiT,
    dream: Dream,
    frames: int,
    sigmas: Sequence[float],
    exit_step: int,
    sampler: Sampler = consistency,
) -> Rollout:
    """The dream's next window, by the path of play, noting each frame's input at the exit step."""
    given, g = dream.last, dream.last.shape[1]
    actions = dream.actions[:, : g + frames]
    noise = torch.randn(frames, len(sigmas), len(given), 1, *given.shape[2:], device=given.device)
    exits: list[Tensor] = []

    def record(t: int, step: int, xt: Tensor) -> None:
        if step == exit_step:
            exits.append(xt)

    dreamed = rollout(student, dream.cache, actions[:, g:], sigmas, lambda t, step: noise[t, step], sampler, record)
    run = Rollout(given, dreamed, torch.cat(exits, 1), sigmas[exit_step], actions, dream.is_true)
    dream.last = torch.cat([given, dreamed], 1)[:, -g:]
    dream.actions, dream.is_true = dream.actions[:, frames:], False
    return run


def replay(student: CausalDiT, run: Rollout) -> Tensor:
    """x0 (B, F, C, h, w) of the exit step again, in one teacher-forced pass over the dreamed past, with gradients.

    They flow through the weights that make the past's keys and values, not into the past's latents. Of a later window
    it sees no more of the past than the frames before it that the rollout has.
    """
    sigma = torch.full(run.exits.shape[:2], run.sigma, device=run.exits.device)
    return x0_from_velocity(run.exits, causal_score(student, run.exits, sigma, run), sigma)


def bidirectional_score(model: CausalDiT, xt: Tensor, sigma: Tensor, run: Rollout) -> Tensor:
    """v (B, F, ...) of the dreamed frames from the whole clip: with the given frames clean before them where they are
    true ones, and without them where they are dreamed, so that a window is measured against reality alone.
    """
    g = run.given.shape[1]
    if not run.is_true:
        return clip_velocity(model, xt, sigma, run.actions[:, g:])
    zeros = torch.zeros(run.given.shape[:2], device=xt.device)
    v = clip_velocity(model, torch.cat([run.given, xt], 1), torch.cat([zeros, sigma], 1), run.actions)
    return v[:, g:]


def causal_score(model: CausalDiT, xt: Tensor, sigma: Tensor, run: Rollout) -> Tensor:
    """v (B, F, ...) of each dreamed frame from the clean dreamed past before it."""
    past = run.past
    context = Context(past, torch.zeros(past.shape[:2], device=past.device), run.actions)
    return forced_velocity(model, context, xt, sigma, first=run.given.shape[1])


SCORES: dict[str, Score] = {"bidirectional": bidirectional_score, "causal": causal_score}


def draw_levels(x: Tensor, config: DmdConfig) -> Tensor:
    """Levels (B, F) for the scores in [0.02, 0.98]: one a clip where the score is of the clip, else one a frame."""
    shape = (x.shape[0], 1) if config.score == "bidirectional" else (x.shape[0], x.shape[1])
    return shift(torch.rand(shape, device=x.device), config.shift).clamp(0.02, 0.98).expand(x.shape[:2])


@torch.no_grad()
def dmd_gradient(x: Tensor, x0_real: Tensor, x0_fake: Tensor) -> Tensor:
    """(x0_fake - x0_real) / mean |x - x0_real| a clip: downhill from fake to real (arXiv:2311.18828 eq. 7, 8)."""
    size = (x - x0_real).abs().mean(tuple(range(1, x.ndim)), keepdim=True)
    return (x0_fake - x0_real) / size.clamp_min(1e-3)


def generator_loss(
    x: Tensor, real: CausalDiT, fake: CausalDiT, run: Rollout, config: DmdConfig, opponent: Opponent | None = None
) -> Tensor:
    """0.5 mean ||x - sg(x - gradient)||^2, whose derivative by x is gradient / numel."""
    score, sigma, eps = SCORES[config.score], draw_levels(x, config), torch.randn_like(x)
    with torch.no_grad():
        xt = add_noise(x, eps, sigma)
        x0_real, x0_fake = (x0_from_velocity(xt, score(m, xt, sigma, run), sigma) for m in (real, fake))
        gradient = dmd_gradient(x, x0_real, x0_fake)
    if opponent is not None:
        leaf = x.detach().requires_grad_()
        tokens = _features(fake, leaf, eps, _listening_levels(x, config), run, config)
        gradient = gradient + pull(opponent, tokens, leaf, gradient, config.opponent)
    return 0.5 * (x - (x - gradient).detach()).square().mean()


def critic_loss(fake: CausalDiT, x: Tensor, run: Rollout, config: DmdConfig) -> Tensor:
    """Flow-matching loss of the fake score on what the student makes, x (B, F, C, h, w), detached."""
    x = x.detach()
    sigma, eps = draw_levels(x, config), torch.randn_like(x)
    v = SCORES[config.score](fake, add_noise(x, eps, sigma), sigma, run)
    return (v - velocity(x, eps)).square().mean()


def opponent_loss(
    opponent: Opponent, fake: CausalDiT, x: Tensor, run: Rollout, true: Rollout, config: DmdConfig
) -> Tensor:
    """The opponent's loss on what the student makes, x (B, F, C, h, w), and on recorded play, under equal noise."""
    sigma, eps = _listening_levels(x, config), torch.randn_like(x)
    with torch.no_grad():
        dreamed = _features(fake, x, eps, sigma, run, config)
        played = _features(fake, true.dreamed, eps, sigma, true, config)
    return marking_loss(opponent, played, dreamed)


def _features(fake: CausalDiT, x: Tensor, eps: Tensor, sigma: Tensor, run: Rollout, config: DmdConfig) -> Tensor:
    """What the fake score hears (B, F, N, D) of frames x (B, F, C, h, w) under noise eps of levels sigma (B, F)."""
    return heard(fake, lambda: SCORES[config.score](fake, add_noise(x, eps, sigma), sigma, run))


def _listening_levels(x: Tensor, config: DmdConfig) -> Tensor:
    """Levels (B, F) for the opponent, one a clip, each as likely between the two of the configuration."""
    low, high = config.opponent_levels
    return (low + (high - low) * torch.rand(len(x), 1, device=x.device)).expand(x.shape[:2])


def recorded(latents: Tensor, actions: Tensor, like: Rollout) -> Rollout:
    """A window of a recorded clip (B, T, ...) from anywhere in it, with as much given before it as a rollout has."""
    g, frames = like.given.shape[1], like.dreamed.shape[1]
    at = int(torch.randint(latents.shape[1] - g - frames + 1, ()))
    given, true = latents[:, at : at + g], latents[:, at + g : at + g + frames]
    return Rollout(given, true, true, 0.0, actions[:, at : at + g + frames], like.is_true)
