"""Is what was seen still there after a look away?

remembered   how like the real return a dreamt one is, freed of errors of control

The reference is the real game's own view on return, not the start: whatever moved meanwhile has moved. A dream that
never looked away has nothing to remember, and scores 0 instead of 1.
"""

from __future__ import annotations

import numpy as np

from worldmodel.evaluation.statistics import Estimate, ratio_of_sums, resampled


def remembered(
    dreamt: np.ndarray, real: np.ndarray, near: np.ndarray, rebuilt: np.ndarray
) -> tuple[Estimate, Estimate]:
    """(M, share of runs that looked away). M = 1 - (d - d_ceiling) / (d_other - d_ceiling), 1 is perfect memory.

    dreamt, real uint8 (R, 2, H, W, 3): the frames farthest away and on return; near (R, D, H, W, 3): real views a few
    degrees beside the return; rebuilt (R, H, W, 3): the tokenizer's real return. Distances are roots of mean squared
    errors, each to the best of a run's near views: d of the dream, d_ceiling of rebuilt, d_other of the dream to the
    other runs' (the same levels, other places). A run that did not look away counts as d_other: its farthest frame lies
    nearer to the real return than half the real farthest frame does. What it saw there is its own business: no context
    showed it.
    """
    runs = len(dreamt)
    table = np.stack([[_least(dreamt[i, 1], near[j]) for j in range(runs)] for i in range(runs)])  # (R, R)
    own = np.diag(table)
    other = (table.sum(1) - own) / (runs - 1)
    ceiling = np.asarray([_least(rebuilt[i], near[i]) for i in range(runs)])
    away = np.asarray([2 * _least(d[0], r[1:]) > _least(r[0], r[1:]) for d, r in zip(dreamt, real, strict=True)])

    def score(kept: np.ndarray, possible: np.ndarray) -> np.ndarray:
        return np.divide(kept, possible, out=np.full_like(kept, np.nan), where=possible > 0)

    return resampled(score, (other - own) * away, other - ceiling), ratio_of_sums(away)


def _least(frame: np.ndarray, views: np.ndarray) -> float:
    return float(np.sqrt(np.square(views.astype(np.float32) - frame).mean((1, 2, 3)).min()))
