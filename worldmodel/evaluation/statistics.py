"""How sure a figure is: episodes are resampled, never frames.

Estimate        a value with its 95 % interval
ratio_of_sums   means, masked means and ratios, by bootstrap over episodes
resampled       any function of sums over episodes, by bootstrap
median_ratio    of paired times, by bootstrap
share           k of n, by Wilson's interval
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
Z95 = 1.959964  # of the normal distribution


class Estimate(NamedTuple):
    """A figure, the ends of its 95 % interval, the samples (episodes, runs) behind it; nan if nothing was measured."""

    value: float
    low: float
    high: float
    samples: int


def ratio_of_sums(numerators: np.ndarray, denominators: np.ndarray | None = None, *, seed: int = 0) -> Estimate:
    """sum_e n_e / sum_e d_e over episodes e, both (E,), with the percentile bootstrap of 10,000 resamples.

    Without denominators the mean. A masked mean has n = mask * value and d = mask; a paired difference has
    n = ours - theirs; a ratio of two means of the same episodes has their two sums.
    """
    n = np.asarray(numerators, np.float64)
    d = np.ones_like(n) if denominators is None else np.asarray(denominators, np.float64)
    if n.ndim != 1 or n.shape != d.shape:
        raise ValueError(f"ratio_of_sums: one number an episode expected, got {n.shape} over {d.shape}")
    count = int((d != 0).sum())
    if d.sum() == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), count)
    picks = np.random.default_rng(seed).integers(len(n), size=(RESAMPLES, len(n)))
    tops, bottoms = n[picks].sum(1), d[picks].sum(1)
    drawn = tops[bottoms != 0] / bottoms[bottoms != 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(n.sum() / d.sum()), float(low), float(high), count)


def resampled(statistic: Callable[..., np.ndarray], *tables: np.ndarray, seed: int = 0) -> Estimate:
    """statistic(sums of each table over episodes), bootstrapped over episodes.

    tables (E, ...), floats; statistic takes their sums with a leading axis of resamples, (R, ...) each, and gives (R,).
    Resamples that are not finite are left out.
    """
    count = len(tables[0])
    picks = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES // 5)
    weights = np.concatenate([np.ones((1, count)), picks])  # the first: the episodes as they are
    values = statistic(*(np.tensordot(weights, np.asarray(table, np.float64), 1) for table in tables))
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(drawn):
        return Estimate(float("nan"), float("nan"), float("nan"), count)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high), count)


def median_ratio(numerators: np.ndarray, denominators: np.ndarray, *, seed: int = 0) -> Estimate:
    """median(n) / median(d) of paired measurements (N,), with the percentile bootstrap over pairs."""
    picks = np.random.default_rng(seed).integers(len(numerators), size=(RESAMPLES // 10, len(numerators)))
    drawn = np.median(numerators[picks], 1) / np.median(denominators[picks], 1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(np.median(numerators) / np.median(denominators))
    return Estimate(value, float(low), float(high), len(numerators))


def share(successes: np.ndarray) -> Estimate:
    """The share of true ones among (n,) independent runs; Wilson's interval, which is honest at 0 and at n of n."""
    n, p = len(successes), float(np.mean(successes))
    middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * float(np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)))
    return Estimate(p, max(0.0, middle - half), min(1.0, middle + half), n)
