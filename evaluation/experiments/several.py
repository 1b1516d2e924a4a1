"""Many metrics in one experiment: p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from scipy import stats

from omnisearch.evaluation.significance import holm


def corrected(p_values: Mapping[str, float], deciding: Collection[str]) -> dict[str, float]:
    """The corrected p-value of each metric, in the order given.

    The metrics that decide are corrected by Holm among themselves: below 0.05, the probability
    that any of them errs is at most 5%, whatever their dependence. The others are corrected among
    themselves by Benjamini and Hochberg: of those below 0.05, at most 5% are expected to err, if
    the metrics are independent or rise together. NaNs stay NaN and do not count.
    """
    found = {name: p for name, p in p_values.items() if not np.isnan(p)}
    first = {name: p for name, p in found.items() if name in deciding}
    rest = {name: p for name, p in found.items() if name not in deciding}
    adjusted = dict(zip(first, holm(list(first.values())), strict=True))
    if rest:
        rates = stats.false_discovery_control(list(rest.values()), method="bh")
        adjusted |= dict(zip(rest, rates.tolist(), strict=True))
    return {name: adjusted.get(name, float("nan")) for name in p_values}
