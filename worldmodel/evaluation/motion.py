"""How a view moves from frame to frame: six numbers of an affine motion and what it leaves unexplained.

view_motion   grey films -> motion, without anything learnt

Lucas and Kanade's method (IJCAI 1981) for one affine motion of the whole picture, coarse to fine, each pixel weighted
by how well it fits: what does not move with the view (a car in its middle, a weapon) loses its say. A network of some
convolutions reads shifts of a tenth of a pixel badly, and that is all that one step of gas does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS = 7  # numbers a pair of frames
LADDER = ((2, 4), (1, 2))  # (how many times smaller than the grey frames, rounds of improvement), coarse first
DAMPING = 1e-3  # of the least squares, relative to their mean: pictures without contrast do not move
MOST = 0.6  # of any of the six numbers; half a picture in a step is a cut


def view_motion(grey: Tensor) -> Tensor:
    """float32 (T - 1, 7) of uint8 (T, h, w), in float32 on the CPU or wherever `grey` lies.

    (a, b, c, d, e, f, r): what stands at (x, y) in [-1, 1] next stands at (x + a + b x + c y, y + d + e x + f y);
    r: the mean |difference| in grey levels that this leaves.
    """
    films = grey.float()
    before, after = films[:-1, None], films[1:, None]
    motion = films.new_zeros(len(before), 6)
    left = films.new_zeros(len(before))
    for smaller, rounds in LADDER:
        size = [max(8, side // smaller) for side in grey.shape[1:]]
        wanted, given = (_smoothed(F.interpolate(part, size=size, mode="area")) for part in (before, after))
        layers = torch.cat([given, *_slopes(given)], 1)  # (N, 3, h, w)
        for _ in range(rounds):
            step, left = _improved(motion, wanted[:, 0], layers)
            motion = (motion + step).clamp(-MOST, MOST)
    return torch.cat([motion, left[:, None]], 1)


def _improved(motion: Tensor, wanted: Tensor, layers: Tensor) -> tuple[Tensor, Tensor]:
    """A step (N, 6) towards the best motion and the mean |difference| (N,) before it."""
    height, width = wanted.shape[1:]
    y, x = torch.meshgrid(_middles(height, wanted), _middles(width, wanted), indexing="ij")
    across, down = (m[:, 0] + m[:, 1] * x + m[:, 2] * y for m in motion[..., None, None].split(3, 1))
    places = torch.stack([x + across, y + down], -1)  # (N, h, w, 2)
    seen, slope_x, slope_y = F.grid_sample(layers, places, padding_mode="border", align_corners=False).unbind(1)
    is_inside = (places.abs() < 1).all(-1).float()
    wrong = wanted - seen
    left = (wrong.abs() * is_inside).mean((1, 2)) / is_inside.mean((1, 2)).clamp_min(1e-3)
    weight = is_inside / (1 + (wrong / (2 * left[:, None, None] + 1)) ** 2) ** 2
    ways = [slope_x, slope_x * x, slope_x * y, slope_y, slope_y * x, slope_y * y]
    jacobian = torch.stack(ways, 1).flatten(2)  # (N, 6, P)
    weighted = jacobian * weight.flatten(1)[:, None]
    normal = weighted @ jacobian.mT
    damping = DAMPING * (normal.diagonal(dim1=1, dim2=2).mean(1) + 1)
    normal = normal + damping[:, None, None] * torch.eye(6, device=normal.device)
    return torch.linalg.solve(normal, weighted @ wrong.flatten(1)[..., None])[..., 0], left


def _middles(size: int, like: Tensor) -> Tensor:
    """Middles of pixels in [-1, 1]."""
    return (torch.arange(size, device=like.device) + 0.5) / size * 2 - 1


def _slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Change of (N, 1, h, w) a unit of x and of y; 0 at the rims."""
    height, width = pictures.shape[2:]
    across, down = torch.zeros_like(pictures), torch.zeros_like(pictures)
    across[..., 1:-1] = (pictures[..., 2:] - pictures[..., :-2]) * (width / 4)
    down[..., 1:-1, :] = (pictures[..., 2:, :] - pictures[..., :-2, :]) * (height / 4)
    return across, down


def _smoothed(pictures: Tensor) -> Tensor:
    """(N, 1, h, w) by the binomial filter of width 5."""
    filter_ = pictures.new_tensor([1, 4, 6, 4, 1]) / 16
    wide = F.conv2d(F.pad(pictures, (2, 2, 0, 0), mode="replicate"), filter_.view(1, 1, 1, 5))
    return F.conv2d(F.pad(wide, (0, 0, 2, 2), mode="replicate"), filter_.view(1, 1, 5, 1))
