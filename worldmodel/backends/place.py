"""Where and in which precision: the names in options become torch's own."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from worldmodel.bundle import WorldError


@cache
def cores() -> int:
    """Threads that torch takes of itself, if this is asked before anybody has told it a number: a core each."""
    return torch.get_num_threads()


def processor() -> str:
    """What this processor can do, in its own words: code for it may not run on another."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    return next((line for line in lines if line.startswith("flags")), platform.processor())


def device_of(name: str) -> torch.device:
    """cpu, cuda, mps, ..., or auto: CUDA if there is a GPU for it. Raises WorldError if it is missing or unknown."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise WorldError(f"device={name}, but torch sees no GPU. Use device=cpu.")
    if name.startswith("mps") and not torch.backends.mps.is_available():
        raise WorldError(f"device={name}, but torch sees no Apple GPU. Use device=cpu.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise WorldError(f"device={name} is unknown. Use auto, cpu, cuda or mps.") from error


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """float32, bfloat16, or auto: bfloat16 where the hardware multiplies it natively."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cpu":
        has_it = torch.cpu._is_avx512_bf16_supported() and "AVX512" in torch.backends.cpu.get_cpu_capability()
        return torch.bfloat16 if has_it else torch.float32
    return torch.bfloat16 if device.type == "cuda" else torch.float32
