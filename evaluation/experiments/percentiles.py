"""Percentiles, such as the latency's p99, with intervals that respect the users.

The share of searches at or below a percentile is a ratio over users. Its interval, read off the
searches as two other percentiles, is the percentile's (Woodruff, "Confidence Intervals for Medians
and Other Position Measures", 1952; for experiments: Deng, Knoblich and Lu, 2018).
"""

from __future__ import annotations

from math import inf, nan

import numpy as np
from scipy import stats

from omnisearch.evaluation.experiments.ratio import Effect, Estimate, Ratio, compare

_CRITICAL = float(stats.norm.ppf(0.975))


def percentile(values: np.ndarray, users: np.ndarray, share: float) -> Estimate:
    """The value that `share` of the searches do not exceed, in the unit of the values.

    The standard error is the half width of the interval / 1.96. Where there are too few searches
    for an end of the interval, that end is infinite and the error NaN.

    Args:
        values: float64 (searches,), such as milliseconds.
        users: (searches,), who searched; numbers or strings.
        share: 0.99 for p99.
    """
    values = np.asarray(values, np.float64)
    if len(values) == 0:
        return Estimate(nan, nan, nan, nan)
    found = float(np.quantile(values, share))
    _, user = np.unique(users, return_inverse=True)
    spread = _CRITICAL * Ratio(np.bincount(user, values <= found), np.bincount(user)).error
    if np.isnan(spread):  # of one user
        return Estimate(found, nan, nan, nan)
    low, high = share - spread, share + spread
    ends = (
        float(np.quantile(values, low)) if low > 0 else -inf,
        float(np.quantile(values, high)) if high < 1 else inf,
    )
    error = (ends[1] - ends[0]) / (2 * _CRITICAL)
    return Estimate(found, error if np.isfinite(error) else nan, *ends)


def percentile_difference(
    control: tuple[np.ndarray, np.ndarray], treatment: tuple[np.ndarray, np.ndarray], share: float
) -> Effect:
    """The `Effect` on a percentile; each variant is its `values` and `users`, as for `percentile`.

    Control's and treatment's intervals are those of `percentile`, the others symmetric.
    """
    found = [percentile(values, users, share) for values, users in (control, treatment)]
    counts = (len(np.unique(control[1])), len(np.unique(treatment[1])))
    effect = compare((found[0].value, found[1].value), (found[0].error, found[1].error), counts)
    return Effect(
        found[0], found[1], effect.absolute, effect.relative, effect.p_value, effect.users
    )
