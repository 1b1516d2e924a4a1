"""Agreement of judges: raw agreement, Fleiss' kappa and Krippendorff's alpha.

All three take counts of grades, int64 (pairs, values): how many judges gave each value to each
pair. None of them depends on who gave which grade.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVELS = ("nominal", "ordinal", "interval")


def raw_agreement(counts: np.ndarray) -> float:
    """The probability that two random judgments of a random pair are equal: the mean over pairs
    with two or more judgments. NaN if there are none."""
    judged = counts.sum(axis=1)
    counts, judged = counts[judged > 1], judged[judged > 1]
    if not len(counts):
        return float("nan")
    same = (counts * (counts - 1)).sum(axis=1)
    return float((same / (judged * (judged - 1))).mean())


def fleiss_kappa(counts: np.ndarray, judgments: int) -> float:
    """Fleiss' kappa (1971), over the pairs with exactly `judgments` judgments.

    NaN if there is no such pair or all judgments are equal, where agreement beyond chance is not
    defined.
    """
    counts = counts[counts.sum(axis=1) == judgments]
    if not len(counts) or judgments < 2:
        return float("nan")
    shares = counts.sum(axis=0) / counts.sum()
    by_chance = float((shares**2).sum())
    if by_chance == 1:
        return float("nan")
    return (raw_agreement(counts) - by_chance) / (1 - by_chance)


def krippendorff_alpha(counts: np.ndarray, values: np.ndarray, level: str) -> float:
    """Krippendorff's alpha, 1 - observed / expected disagreement, over coincidences of values.

    Uses all pairs with two or more judgments, so missing judgments need not be filled in.

    Args:
        values: (values,) the grades of the columns of `counts`, ascending.
        level: 'nominal', 'ordinal' or 'interval': how the distance between grades is measured.

    Returns:
        NaN if no pair has two judgments, or all judgments are equal.
    """
    judged = counts.sum(axis=1)
    counts, judged = counts[judged > 1].astype(np.float64), judged[judged > 1]
    weight = 1 / (judged - 1)
    together = counts.T @ (counts * weight[:, None])  # (values, values), with self-pairs
    together -= np.diag((counts * weight[:, None]).sum(axis=0))
    totals = together.sum(axis=1)
    apart = _SQUARED_DISTANCES[level](totals, np.asarray(values, np.float64))
    expected = float(totals @ apart @ totals)
    if not expected > 0:
        return float("nan")
    return 1 - (float(totals.sum()) - 1) * float((together * apart).sum()) / expected


def _nominal(totals: np.ndarray, values: np.ndarray) -> np.ndarray:
    return 1 - np.eye(len(values))


def _ordinal(totals: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The number of judgments between two grades; those at the two grades count half."""
    middle = np.cumsum(totals) - totals / 2
    return np.subtract.outer(middle, middle) ** 2


def _interval(totals: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.subtract.outer(values, values) ** 2


_SQUARED_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
