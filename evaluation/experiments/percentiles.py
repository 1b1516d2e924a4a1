"""Percentiles, such as the latency's p99, with intervals that respect the users.

The share of searches at or below a percentile is a ratio over users. Its interval, read off the
searches as two other percentiles, is the percentile's (Woodruff, "Confidence Intervals for Medians
and Other Position Measures", 1952; for experiments: Deng, Knoblich and Lu, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Protocol

import numpy as np
from scipy import stats

from omnisearch.evaluation.experiments.ratio import Effect, Estimate, Ratio, compare

_CRITICAL = float(stats.norm.ppf(0.975))


class Times(Protocol):
    """The searches of one variant, by users."""

    def quantile(self, share: float) -> float:
        """What `share` of the searches do not exceed, as `np.quantile`; NaN without searches."""
        ...

    def at_most(self, value: float) -> Ratio:
        """Of each user the searches that do not exceed a value, and all."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayTimes:
    """`Times` of arrays.

    Attributes:
        values: float64 (searches,), such as milliseconds.
        users: (searches,), who searched; numbers or strings.
    """

    values: np.ndarray
    users: np.ndarray

    def quantile(self, share: float) -> float:
        return float(np.quantile(self.values, share)) if len(self.values) else nan

    def at_most(self, value: float) -> Ratio:
        _, user = np.unique(self.users, return_inverse=True)
        return Ratio(np.bincount(user, self.values <= value), np.bincount(user))


def percentile(times: Times, share: float) -> Estimate:
    """The value that `share` of the searches do not exceed, in the unit of the values.

    The standard error is the half width of the interval / 1.96. Where there are too few searches
    for an end of the interval, that end is infinite and the error NaN.

    Args:
        share: 0.99 for p99.
    """
    return _percentile(times, share)[0]


def _percentile(times: Times, share: float) -> tuple[Estimate, int]:
    """The percentile, and the number of users."""
    found = times.quantile(share)
    if isnan(found):
        return Estimate(nan, nan, nan, nan), 0
    by_user = times.at_most(found)
    spread = _CRITICAL * by_user.error
    if isnan(spread):  # of one user
        return Estimate(found, nan, nan, nan), by_user.users
    low, high = share - spread, share + spread
    ends = (
        times.quantile(low) if low > 0 else -inf,
        times.quantile(high) if high < 1 else inf,
    )
    error = (ends[1] - ends[0]) / (2 * _CRITICAL)
    return Estimate(found, error if np.isfinite(error) else nan, *ends), by_user.users


def percentile_difference(control: Times, treatment: Times, share: float) -> Effect:
    """The `Effect` on a percentile.

    Control's and treatment's intervals are those of `percentile`, the others symmetric.
    """
    (first, users), (second, others) = (_percentile(times, share) for times in (control, treatment))
    effect = compare((first.value, second.value), (first.error, second.error), (users, others))
    return Effect(first, second, effect.absolute, effect.relative, effect.p_value, effect.users)
