"""A whole frame as one CUDA graph: a single launch instead of some thousand. Written with care, and never run so far.

Graphed   WholeFrame.counted over static buffers, captured once for each memory it is used with
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldmodel.backends.compiled import Inputs
from worldmodel.backends.frame import WholeFrame

WARM_UP = 3  # frames on a side stream before capture, so that libraries have chosen their algorithms


class Graphed:
    """Makes frames on a GPU. Pictures come through pinned memory, copied on a stream of their own."""

    def __init__(self, whole: WholeFrame, *, is_compiled: bool) -> None:
        """is_compiled: let torch.compile fuse the kernels before they are captured, which takes a minute."""
        self._make: Any = whole.counted
        if is_compiled:
            options = "max-autotune-no-cudagraphs"  # the graph is captured here, over buffers of ours
            self._make = torch.compile(whole.counted, fullgraph=True, dynamic=False, mode=options)
        self._copying = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captured: tuple[int, ...] = ()  # addresses of the rings in the graph

    def __call__(self, inputs: Inputs, length: int) -> tuple[Tensor, Tensor]:
        """Latent (1, 1, C, h, w) on the GPU and picture uint8 (1, H, W, 3) on the CPU; writes into the rings.

        length: frames committed to the rings.
        """
        addresses = tuple(u.data_ptr() for u in (*inputs.keys, *inputs.values))
        if self._graph is None or addresses != self._captured:
            self._capture(inputs, length)
            self._captured = addresses
        self._fill(inputs, length)
        assert self._graph is not None
        self._graph.replay()
        self._copying.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._copying):
            self._pinned.copy_(self._picture, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        latent = self._latent.clone()  # the next replay writes over it
        copied.synchronize()
        return latent, self._pinned.clone()

    def _fill(self, inputs: Inputs, length: int) -> None:
        self._length.fill_(length)
        for ours, theirs in zip((self._x0, self._moves, self._noise), inputs[3:], strict=True):
            ours.copy_(theirs, non_blocking=True)

    def _capture(self, inputs: Inputs, length: int) -> None:
        """Run a few times on a side stream, then record; what that wrote into the rings is put back."""
        device = inputs.x0.device
        rings = [*inputs.keys, *inputs.values]
        before = [u.clone() for u in rings]
        self._length = torch.zeros(1, dtype=torch.int64, device=device)
        self._x0, self._moves, self._noise = (torch.empty_like(u, device=device) for u in inputs[3:])
        self._fill(inputs, length)
        buffers = (inputs.keys, inputs.values, self._length, self._x0, self._moves, self._noise)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._make(*buffers)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._latent, self._picture = self._make(*buffers)
        for ours, theirs in zip(rings, before, strict=True):
            ours.copy_(theirs)
        self._pinned = torch.empty(self._picture.shape, dtype=torch.uint8, pin_memory=True)
