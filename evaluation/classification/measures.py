"""What is measured of a classifier: precision@1 and recall@5, level by level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def hits_at_1(scores: np.ndarray, targets: np.ndarray, levels: Sequence[slice]) -> np.ndarray:
    """Whether the best node of each level is one of the query's nodes of that level.

    A query that has no node of a level says nothing about it. A node that the classifier never
    saw counts like any other: to miss it is a miss. Of equal scores the first node is taken.

    Args:
        scores: (n, m) float, of every node; targets: (n, m) bool.

    Returns:
        (n, levels) float64: 1, 0, or NaN where the query has no node of that level.
    """
    found = np.full((len(scores), len(levels)), np.nan)
    rows = np.arange(len(scores))
    for at, level in enumerate(levels):
        wanted = targets[:, level]
        hit = wanted[rows, scores[:, level].argmax(1)]
        found[:, at] = np.where(wanted.any(1), hit, np.nan)
    return found


def recall_at(
    scores: np.ndarray, targets: np.ndarray, levels: Sequence[slice], k: int = 5
) -> np.ndarray:
    """The share of a query's nodes of each level among the k best of that level; as `hits_at_1`."""
    found = np.full((len(scores), len(levels)), np.nan)
    for at, level in enumerate(levels):
        wanted = targets[:, level]
        best = np.argsort(-scores[:, level], axis=1, kind="stable")[:, :k]
        got = np.take_along_axis(wanted, best, axis=1).sum(1)
        has = wanted.any(1)
        found[has, at] = got[has] / wanted[has].sum(1)
    return found


def precision(hits: np.ndarray) -> np.ndarray:
    """(levels,) the mean of `hits_at_1` over the queries that have a node of the level."""
    counted = ~np.isnan(hits)
    return np.where(counted, hits, 0).sum(0) / np.maximum(counted.sum(0), 1)
