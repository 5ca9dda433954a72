"""Judges that are networks (inverse.py, pilot.py), kept in a file: weights, and what they belong to.

save_judge, load_judge
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

J = TypeVar("J", bound=nn.Module)


def save_judge(path: Path, judge: nn.Module) -> None:
    """Write a judge, made as kind(config, names), to one safetensors file."""
    told: Any = judge
    about = {"config": json.dumps(asdict(told.config)), "names": json.dumps(told.names)}
    save_file({k: v.contiguous().cpu() for k, v in judge.state_dict().items()}, path, about)


def load_judge(path: Path, kind: type[J], config: type) -> J:
    """The inverse of save_judge; config: the kind's."""
    with safe_open(path, "pt") as file:
        about: dict[str, Any] = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    judge = kind(config(**json.loads(about["config"])), json.loads(about["names"]))
    judge.load_state_dict(state)
    return judge.eval().requires_grad_(False)
