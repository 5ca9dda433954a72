"""The one door to attention: softmax(q k^T / sqrt(d) + bias) v, by the fastest implementation that can do it.

flash   flash-attn, if installed: CUDA, half precision, no bias
sdpa    torch's scaled_dot_product_attention: everywhere without gradients, and on CUDA with them
plain   two matrix products: training on a CPU, where SDPA's backward pass was 13 times its forward pass

WM_ATTENTION=auto|flash|sdpa|plain overrides the choice. Which one is used is logged once.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)
T = TypeVar("T")
NAMES = ("auto", "flash", "sdpa", "plain")


def _constant_when_compiled(function: Callable[[], T]) -> Callable[[], T]:
    """torch.compiler.assume_constant_result without importing torch._dynamo, which takes a second before each play."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of q (..., Q, d) over k, v (..., K, d); bias broadcasts to (..., Q, K) and is added to the logits.

    Raises RuntimeError if WM_ATTENTION asks for an implementation that cannot do it.
    """
    name = choose(q, biased=bias is not None)
    if not torch.compiler.is_compiling():
        _say_once(name)
    if name == "flash":
        return _flash_attend(q, k, v, bias)
    return _plain(q, k, v, bias) if name == "plain" else _sdpa(q, k, v, bias)


def choose(q: Tensor, *, biased: bool) -> str:
    """Name of the implementation for these inputs."""
    wish = _wish()
    half = q.dtype in (torch.float16, torch.bfloat16)
    flash_fits = _has_flash() and q.is_cuda and half and not biased and q.shape[-1] <= 256 and q.ndim == 4
    if wish == "flash" and not flash_fits:
        raise RuntimeError("WM_ATTENTION=flash needs flash-attn, CUDA, half precision and no mask; use auto")
    if wish != "auto":
        return wish
    if flash_fits:
        return "flash"
    learns = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return "plain" if not q.is_cuda and learns else "sdpa"


@_constant_when_compiled
def _wish() -> str:
    wish = os.environ.get("WM_ATTENTION", "auto")
    if wish not in NAMES:
        raise RuntimeError(f"WM_ATTENTION={wish} is unknown; it is one of {', '.join(NAMES)}")
    return wish


@_constant_when_compiled
def _has_flash() -> bool:
    return _flash() is not None


@functools.cache
def _flash() -> Callable[..., Tensor] | None:
    """flash-attn's function, or None. flash-attn 4 installs a package of that name without the function."""
    try:
        from flash_attn import flash_attn_func
    except (ImportError, OSError):
        return None
    return flash_attn_func  # type: ignore[no-any-return]


@functools.cache
def _say_once(name: str) -> None:
    log.info("attention: %s%s", name, "" if _flash() else " (flash-attn is not installed)")


def _flash_attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    attend_flash = _flash()
    assert attend_flash is not None
    assert bias is None, "flash-attn takes no bias"
    return attend_flash(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)  # its (B, L, H, d)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias if bias is None else bias.to(q.dtype))


def _plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    logits = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    return logits.softmax(-1).to(v.dtype) @ v
