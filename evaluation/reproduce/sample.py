"""Intervals and p-values of a column's mean, over the queries of one world or over worlds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from omnisearch.evaluation.significance import bootstrap_interval, randomisation_test

Values = list[np.ndarray]  # one (seeds, values) for each world


@dataclass(frozen=True)
class Sample:
    """The query of each value of a column, for each world.

    Of one world, intervals come from resampling its queries with all their values, and p-values
    from the paired randomisation test over queries. Of several worlds, both are Student's over the
    worlds' means: what they hold for is another world, another training and other queries.
    """

    queries: list[list[str]]

    @property
    def count(self) -> int:
        """The number of distinct queries, summed over the worlds."""
        return sum(len(set(names)) for names in self.queries)

    @cached_property
    def _first(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the first world (values,) query numbers, and (queries,) the values of each."""
        names, of_value = np.unique(self.queries[0], return_inverse=True)
        return of_value, np.bincount(of_value, minlength=len(names))

    def interval(self, values: list[np.ndarray]) -> tuple[float, float]:
        """The 95% interval of the mean of (values,) of each world."""
        if len(values) == 1:
            of_value, sizes = self._first
            return bootstrap_interval(np.bincount(of_value, values[0]), weights=sizes)
        means = np.array([each.mean() for each in values])
        error = means.std(ddof=1) / np.sqrt(len(means)) * stats.t.ppf(0.975, len(means) - 1)
        return float(means.mean() - error), float(means.mean() + error)

    def p_value(self, values: list[np.ndarray]) -> float:
        """Two-sided, of the mean of (values,) of each world being 0."""
        if len(values) == 1:
            sums = np.bincount(self._first[0], values[0])
            return randomisation_test(np.zeros(len(sums)), sums)
        means = np.array([each.mean() for each in values])
        if not means.std():
            return 1.0 if not means[0] else 0.0
        return float(stats.ttest_1samp(means, 0.0).pvalue)
