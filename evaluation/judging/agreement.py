"""How far judges agree: raw agreement, Fleiss' kappa and Krippendorff's alpha.

All three take the counts of grades: int64 (pairs, values), how many judges gave each value to each
pair. Who gave it does not matter to any of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVELS = ("nominal", "ordinal", "interval")


def raw_agreement(counts: np.ndarray) -> float:
    """The chance that two judgments drawn from a pair drawn by chance are the same: the mean over
    the pairs with two or more. NaN where there is none."""
    judged = counts.sum(axis=1)
    counts, judged = counts[judged > 1], judged[judged > 1]
    if not len(counts):
        return float("nan")
    same = (counts * (counts - 1)).sum(axis=1)
    return float((same / (judged * (judged - 1))).mean())


def fleiss_kappa(counts: np.ndarray, judgments: int) -> float:
    """Fleiss (1971), over the pairs with exactly `judgments`; the others are left out.

    NaN where there is no such pair, or where all judgments are the same: agreement beyond chance
    is not defined then.
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

    Pairs with one judgment tell nothing of agreement and are left out; any number above it will
    do, so missing judgments need no filling in.

    Args:
        values: (values,) the grades in rising order, which the columns of `counts` stand for.
        level: 'nominal', 'ordinal' or 'interval': what a distance between two grades is.

    Returns:
        NaN where no pair has two judgments, or where all judgments are the same.
    """
    judged = counts.sum(axis=1)
    counts, judged = counts[judged > 1].astype(np.float64), judged[judged > 1]
    weight = 1 / (judged - 1)
    together = counts.T @ (counts * weight[:, None])  # (values, values), a pair with itself too
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
    """The judgments that lie between two grades, those of the two themselves by half."""
    middle = np.cumsum(totals) - totals / 2
    return np.subtract.outer(middle, middle) ** 2


def _interval(totals: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.subtract.outer(values, values) ** 2


_SQUARED_DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
