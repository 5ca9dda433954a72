"""How far a set of clips lies from real ones as a whole, in the features of some network.

kernel_distance    unbiased squared MMD (KID, KVD): may be small at any number of clips
frechet_distance   between the Gaussians of both (FVD): grows as clips get fewer, so that only equal numbers compare
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from worldmodel.evaluation.statistics import Estimate

SPLITS = 50  # random halves of the episodes that a distance is averaged over
MOST = 256  # features of each side in one kernel distance

Distance = Callable[[np.ndarray, np.ndarray], float]  # of features (N, D) and (M, D)


def kernel_distance(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> Estimate:
    """With the kernel (x y / D + 1)^3 (arXiv:1801.01401), of features (E, T, D) scaled to mean square 1 of theirs."""
    scale = np.sqrt(np.square(theirs.astype(np.float64)).mean())
    return of_halves(ours / scale, theirs / scale, lambda x, y: _mmd(x[:MOST], y[:MOST]), SPLITS, seed)


def frechet_distance(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> Estimate:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (arXiv:1812.01717) of features (E, T, D)."""
    return of_halves(ours, theirs, _frechet, SPLITS // 5, seed)


def of_halves(ours: np.ndarray, theirs: np.ndarray, distance: Distance, splits: int, seed: int) -> Estimate:
    """A distance over random halves of the episodes, ours of one half and theirs of the other, so that no episode is
    compared with itself; the interval is the middle 95 % of the halves. ours and theirs equal: the floor.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(splits):
        order = rng.permutation(len(ours))
        x = ours[order[: len(ours) // 2]].reshape(-1, ours.shape[-1]).astype(np.float64)
        y = theirs[order[len(ours) // 2 :]].reshape(-1, ours.shape[-1]).astype(np.float64)
        drawn.append(distance(x[rng.permutation(len(x))], y[rng.permutation(len(y))]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean(drawn)), float(low), float(high), len(ours))


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    def within(a: np.ndarray) -> float:
        k = kernel(a, a)
        return float((k.sum() - np.trace(k)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def _frechet(x: np.ndarray, y: np.ndarray) -> float:
    """tr (C_x C_y)^(1/2) is the sum of the singular values of X^T Y for centred X, Y over sqrt(N - 1), sqrt(M - 1)."""
    means = x.mean(0) - y.mean(0)
    x, y = ((part - part.mean(0)) / np.sqrt(len(part) - 1) for part in (x, y))
    x, y = (np.asarray(np.linalg.qr(part, mode="r")) for part in (x, y))  # as many rows as features: the products stay
    shared = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(means @ means + np.square(x).sum() + np.square(y).sum() - 2 * shared)
