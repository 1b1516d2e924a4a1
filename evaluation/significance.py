"""Significance of a difference between two systems: paired tests over queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

_Z = 1.959964  # 95%
_EXACT_UP_TO = 13  # 2**13 sign patterns are fewer than the random resamples
_BLOCK = 2_000_000  # random numbers drawn at once; bounds memory


@dataclass(frozen=True)
class Difference:
    """System b against system a on one metric over the same queries.

    Attributes:
        mean: the mean of b - a.
        low, high: the 95% bootstrap interval of that mean.
        p_value: two-sided, from the paired randomisation test.
        wins, ties, losses: queries on which b is above, equal to, below a.
    """

    queries: int
    mean: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int


def compare_paired(a: ArrayLike, b: ArrayLike, seed: int = 0) -> Difference:
    """The `Difference` of two aligned lists of per-query values; NaNs if they are empty."""
    delta = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    low, high = bootstrap_interval(delta, seed=seed)
    close = np.abs(delta) < 1e-9  # metrics are sums of floats: equal to 9 places is a tie
    return Difference(
        queries=len(delta),
        mean=float(delta.mean()) if len(delta) else float("nan"),
        low=low,
        high=high,
        p_value=randomisation_test(a, b, seed=seed),
        wins=int((~close & (delta > 0)).sum()),
        ties=int(close.sum()),
        losses=int((~close & (delta < 0)).sum()),
    )


def randomisation_test(a: ArrayLike, b: ArrayLike, seed: int = 0, resamples: int = 10_000) -> float:
    """Two-sided p-value of Fisher's paired randomisation test on the mean difference.

    Under the null hypothesis the two systems' labels can be swapped on any query. With few
    queries all swaps are enumerated; otherwise `resamples` random ones plus the observed one, so
    that p is never 0. Returns NaN for no queries.
    """
    delta = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    n = len(delta)
    if n == 0:
        return float("nan")
    observed = abs(delta.sum())
    slack = 1e-12 * max(1.0, float(np.abs(delta).sum()))  # rounding must not lose exact ties
    if n <= _EXACT_UP_TO:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float((np.abs((1 - 2 * patterns) @ delta) >= observed - slack).mean())
    random = np.random.default_rng(seed)
    extreme, done, block = 0, 0, max(1, _BLOCK // n)
    while done < resamples:
        rows = min(block, resamples - done)
        signs = random.integers(0, 2, (rows, n), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ delta) >= observed - slack).sum())
        done += rows
    return (extreme + 1) / (resamples + 1)


def bootstrap_interval(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean over rows (queries).

    With `weights`, row i is a query with weights[i] pairs whose values sum to values[i], and the
    statistic is sum(values) / sum(weights): queries are resampled with all their pairs.
    (NaN, NaN) for no rows.
    """
    total = np.asarray(values, dtype=np.float64)
    n = len(total)
    if n == 0:
        return float("nan"), float("nan")
    size = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    random = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    block = max(1, _BLOCK // n)
    for start in range(0, resamples, block):
        rows = random.integers(0, n, (min(block, resamples - start), n))
        means.append(total[rows].sum(axis=1) / size[rows].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def wilson_interval(hits: int, number: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, hits / number, as if each case were independent.

    (0, 1) if there is no case.
    """
    middle = hits + _Z**2 / 2
    spread = _Z * sqrt(hits * (number - hits) / number + _Z**2 / 4) if number else middle
    whole = number + _Z**2
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several tests, in the order given; NaNs stay NaN, and the
    others are corrected as if they were not there."""
    order = [index for index in np.argsort(p_values, kind="stable") if p_values[index] >= 0]
    adjusted = [float("nan")] * len(p_values)
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, (len(order) - place) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted
