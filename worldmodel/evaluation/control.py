"""Does the dream do what it is told?

net_turn, horizontal_shift, turn_hits   turning: the picture must move against the turn
branch_hits                             counterfactuals: every dreamt branch must look like its own real one
response_lag                            how many frames late the answer to an action comes

No label is learnt: the same plain estimators see real and dreamt frames, and what they miss on real ones is reported.
What is learnt stands in inverse.py.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.action import ActionSpace
from worldmodel.evaluation.manifest import Turning
from worldmodel.evaluation.statistics import Estimate, resampled

REACH = 24  # pixels; a turn of 20 degrees moves the middle of a picture 128 wide and 90 degrees across by 23
BANDS = 3  # rows of the luminance profile; 1 to 24, whole and half pictures were tried on real frames: .955 is best
LEAST_TURN = 2.0  # degrees a step; less is lost among the pixels
LAGS = range(-2, 7)  # frames by which an answer may come late; an honest one does not come early


def net_turn(actions: np.ndarray, space: ActionSpace, turning: Turning) -> np.ndarray:
    """Degrees of turn (+ right) that action vectors (..., A) ask for: mouse and turn keys, within the mouse's range."""
    names = space.buttons
    keys = np.zeros(actions.shape[:-1])
    for name, way in ((turning.right, 1.0), (turning.left, -1.0)):
        if name in names:
            keys = keys + way * turning.key_degrees * (actions[..., names.index(name)] > 0.5)
    if not space.mouse[0]:
        return keys
    return np.clip(keys + actions[..., len(names)] * space.mouse[0], -space.mouse[0], space.mouse[0])


def horizontal_shift(clip: np.ndarray) -> np.ndarray:
    """How many pixels further left each frame's content lies than in the frame before: int (T - 1,), + in a right turn.

    clip uint8 (T, H, W, 3). The s in [-24, 24] with the least mean |p_t(x) - p_(t+1)(x - s)| over the columns that
    both have; p is the luminance of the picture's upper half (below it stands the weapon, which turns with the player)
    in three bands, without each band's mean. Of equal ones the smallest.
    """
    upper = torch.from_numpy(clip[:, : clip.shape[1] // 2]).float().mean(-1)  # (T, H / 2, W)
    bands = F.adaptive_avg_pool2d(upper[:, None], (BANDS, upper.shape[-1]))[:, 0]
    bands = bands - bands.mean(-1, keepdim=True)
    before, after, width = bands[:-1], bands[1:], bands.shape[-1]
    shifts = sorted(range(-REACH, REACH + 1), key=abs)

    def cost(s: int) -> Tensor:
        left = before[..., max(s, 0) : width + min(s, 0)]
        right = after[..., max(-s, 0) : width + min(-s, 0)]
        return (left - right).abs().mean((1, 2))

    return np.asarray(shifts)[torch.stack([cost(s) for s in shifts]).argmin(0).numpy()]


def turn_hits(clips: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps with a turn of at least 2 degrees whose picture moves the right way, and all such steps: two (E,).

    clips (E, T, H, W, 3); degrees (E, T): degrees[i] led to frame i. The first frame's step is left out, since the
    frame before it is none of the clip's. A picture that does not move counts as wrong.
    """
    shifts = np.stack([horizontal_shift(clip) for clip in clips])  # (E, T - 1)
    turned = np.abs(degrees[:, 1:]) >= LEAST_TURN
    right = turned & (np.sign(shifts) == np.sign(degrees[:, 1:]))
    return right.sum(1), turned.sum(1)


def branch_hits(dreamt: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Share of dreamt branches that are nearest (MSE) to the real branch of the same script: (B,), chance 1 / K.

    dreamt, real: last frames uint8 (B, K, H, W, 3). A tie with another real branch counts as right: only real
    branches that are equal (two ways into the same wall) tie, and they cannot be told apart by anything.
    """
    hits = []
    for ours, theirs in zip(dreamt, real, strict=True):
        a, b = (part.reshape(len(part), -1).astype(np.float64) for part in (ours, theirs))
        distance = np.square(a[:, None] - b[None]).mean(-1)  # (K dreamt, K real)
        hits.append((np.diag(distance) <= distance.min(1)).mean())
    return np.asarray(hits)


def response_lag(asked: np.ndarray, answered: np.ndarray) -> Estimate:
    """Frames between a change of what is asked and the change it makes: the lag in LAGS with the highest correlation.

    asked, answered (E, T, L), both of frame t: 0 means that the very frame an action leads to answers it. Changes are
    products of differences of both in time, summed over labels, frames and episodes; nan where nothing is asked or
    nothing answers.
    """
    wanted, given = np.diff(asked.astype(np.float64), axis=1), np.diff(answered.astype(np.float64), axis=1)
    length = wanted.shape[1] - max(LAGS) + min(LAGS)
    if length < 1:
        raise ValueError(f"response_lag: clips of {asked.shape[1]} frames are too short for lags of {max(LAGS)}")
    first = -min(LAGS)
    own = wanted[:, first : first + length]
    table = np.stack([(own * given[:, first + lag : first + lag + length]).sum((1, 2)) for lag in LAGS], 1)  # (E, lags)

    def best(sums: np.ndarray) -> np.ndarray:
        return np.where(sums.max(1) > 1e-9, np.asarray(LAGS, float)[sums.argmax(1)], np.nan)

    return resampled(best, table)
