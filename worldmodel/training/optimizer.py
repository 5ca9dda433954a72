"""Optimiser: one step from a loss, with warm-up, clipping, the skip rule and the final decay.

OptimizerConfig   the numbers
lr_factor         the schedule: warm-up by steps, decay by progress
Optimizer         AdamW, or Muon for the hidden matrices and AdamW for the rest
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

MAX_SKIPS = 50  # this many skipped updates in a row are no accident: nothing is being learned


@dataclass(kw_only=True)
class OptimizerConfig:
    """Which optimiser, how fast, and what it refuses."""

    kind: str  # adamw | muon
    lr: float  # of AdamW
    muon_lr: float  # of Muon, on the scale of AdamW's (adjust_lr_fn="match_rms_adamw", arXiv:2502.16982)
    betas: list[float]  # of AdamW
    weight_decay: float  # on parameters of two dimensions or more
    clip: float  # largest gradient norm
    skip_above: float  # skip updates whose gradient norm is above this many times clip, after warm-up; 0 = never
    warmup_steps: int
    decay_from: float  # progress at which the linear decay starts; 1 = none
    decay_to: float  # lr factor at progress 1

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise ValueError(f"optimizer.kind must be adamw or muon, got {self.kind!r}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimizer.betas must be two numbers in [0, 1), got {self.betas}")
        for key in ("lr", "muon_lr", "clip"):
            if not vars(self)[key] > 0:
                raise ValueError(f"optimizer.{key} must be > 0, got {vars(self)[key]}")
        for key in ("weight_decay", "skip_above", "warmup_steps", "decay_to"):
            if not vars(self)[key] >= 0:
                raise ValueError(f"optimizer.{key} must be >= 0, got {vars(self)[key]}")
        if not 0 <= self.decay_from <= 1:
            raise ValueError(f"optimizer.decay_from must be in [0, 1], got {self.decay_from}")


def lr_factor(config: OptimizerConfig, step: int, progress: float) -> float:
    """min(1, (step + 1) / warmup_steps), times 1 up to decay_from and then linearly down to decay_to at progress 1."""
    factor = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if progress > config.decay_from:
        part = min(1.0, (progress - config.decay_from) / (1 - config.decay_from)) if config.decay_from < 1 else 1.0
        factor *= 1 + part * (config.decay_to - 1)
    return factor


class Optimizer:
    """Moves the trainable parameters of a module; state_dict makes it resumable bit-exactly.

    For kind "muon" the module has a method `matrix_parameters() -> list[Parameter]`: its hidden 2-D weights
    (attention and MLP), not embeddings, heads or modulation. All others go to AdamW.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("optimizer: the model has no trainable parameter")
        matrices = _matrices(model) if config.kind == "muon" else []
        hidden = {id(p) for p in matrices}
        rest = [p for p in self.parameters if id(p) not in hidden]
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if rest:
            self.optimizers["adamw"] = _adamw(rest, config)
        if matrices:
            self.optimizers["muon"] = torch.optim.Muon(
                matrices,
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                momentum=0.95,
                nesterov=True,
                adjust_lr_fn="match_rms_adamw",
            )
        self.skips_in_a_row = 0

    def step(self, loss: Tensor, step: int, progress: float) -> dict[str, float | Tensor]:
        """Backward, then step_gradients; metrics: loss and what step_gradients returns."""
        loss.backward()
        return {"loss": loss.detach(), **self.step_gradients(step, progress)}

    def step_gradients(self, step: int, progress: float) -> dict[str, float | Tensor]:
        """Move the parameters along their gradients, then drop these.

        step counts finished steps (for the warm-up), progress in [0, 1] is the run's (for the decay). Skipped are
        non-finite gradients, and after warm-up those of norm > skip_above * clip. Returns grad_norm (before clipping;
        0 where it was not finite), lr (of AdamW) and skipped (0 or 1).
        Raises FloatingPointError after 50 skips in a row. Reads the norm, so it waits for the device.
        """
        config = self.config
        factor = lr_factor(config, step, progress)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, config.clip))
        is_too_large = config.skip_above > 0 and step >= config.warmup_steps and norm > config.skip_above * config.clip
        is_skipped = is_too_large or not math.isfinite(norm)
        if is_skipped:
            self._count_skip(step, norm)
        else:
            self.skips_in_a_row = 0
            for name, optimizer in self.optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = factor * (config.muon_lr if name == "muon" else config.lr)
                optimizer.step()
            torch.clear_autocast_cache()  # an autocast region casts a weight once: a later pass in it must see the new
        for parameter in self.parameters:
            parameter.grad = None
        shown_norm = norm if math.isfinite(norm) else 0.0
        return {"grad_norm": shown_norm, "lr": factor * config.lr, "skipped": float(is_skipped)}

    def _count_skip(self, step: int, norm: float) -> None:
        self.skips_in_a_row += 1
        if self.skips_in_a_row >= MAX_SKIPS:
            raise FloatingPointError(
                f"optimizer: {MAX_SKIPS} updates in a row skipped up to step {step}, the last with gradient norm "
                f"{norm:.3g} at clip {self.config.clip:g}. Lower optimizer.lr, or raise clip or skip_above."
            )

    def state_dict(self) -> dict[str, Any]:
        """The torch optimisers by name, and the number of skips in a row."""
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        return {**states, "skips_in_a_row": self.skips_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what state_dict gave; ValueError if it came from another kind of optimiser."""
        theirs, ours = sorted(set(state) - {"skips_in_a_row"}), sorted(self.optimizers)
        if theirs != ours:
            raise ValueError(f"optimizer: state of {theirs}, this one has {ours}. Set optimizer.kind as it was.")
        self.skips_in_a_row = int(state["skips_in_a_row"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])


def _matrices(model: nn.Module) -> list[nn.Parameter]:
    if not hasattr(model, "matrix_parameters"):
        raise ValueError(
            f"optimizer.kind=muon needs {type(model).__name__}.matrix_parameters(), the hidden 2-D weights. "
            "Add it, or set optimizer.kind=adamw."
        )
    named = cast(Callable[[], list[nn.Parameter]], model.matrix_parameters)()
    matrices = [p for p in named if p.requires_grad]
    wrong = [tuple(p.shape) for p in matrices if p.ndim != 2]
    if wrong:
        raise ValueError(f"optimizer: matrix_parameters() must be 2-D, got one of shape {wrong[0]}")
    return matrices


def _adamw(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    first, second = config.betas
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(first, second),
        fused=all(p.device.type in ("cpu", "cuda") for p in parameters),
    )
