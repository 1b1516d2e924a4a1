"""Metrics of a classifier: precision@1 and recall@5 for each level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix

Measure = Callable[[np.ndarray, np.ndarray, Sequence[slice]], np.ndarray]
_BLOCK = 8192  # queries whose scores of all nodes are held at a time


def in_blocks(
    measure: Measure,
    scores_of: Callable[[slice], np.ndarray],
    targets: csr_matrix,
    levels: Sequence[slice],
) -> np.ndarray:
    """A measure over all queries, scored a few thousand at a time to bound memory.

    Args:
        measure: a function like `hits_at_1`: same arguments, one row of results a query.
        scores_of: rows → their scores (rows, m). targets: (n, m) bool.
    """
    starts = range(0, targets.shape[0], _BLOCK)
    blocks = [slice(start, min(start + _BLOCK, targets.shape[0])) for start in starts]
    parts = [measure(scores_of(rows), targets[rows].toarray(), levels) for rows in blocks]
    return np.concatenate(parts)


def hits_at_1(scores: np.ndarray, targets: np.ndarray, levels: Sequence[slice]) -> np.ndarray:
    """Whether the best node of each level is one of the query's nodes of that level.

    Queries without a node in a level are not counted there. A node absent from training counts
    like any other, so missing it is a miss. Ties go to the first node.

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
    """The share of a query's nodes of each level ranked in that level's top k; see `hits_at_1`."""
    found = np.full((len(scores), len(levels)), np.nan)
    for at, level in enumerate(levels):
        wanted = targets[:, level]
        best = np.argsort(-scores[:, level], axis=1, kind="stable")[:, :k]
        got = np.take_along_axis(wanted, best, axis=1).sum(1)
        has = wanted.any(1)
        found[has, at] = got[has] / wanted[has].sum(1)
    return found


def precision(hits: np.ndarray) -> np.ndarray:
    """(levels,) the mean of `hits_at_1` over the queries with a node in the level."""
    counted = ~np.isnan(hits)
    return np.where(counted, hits, 0).sum(0) / np.maximum(counted.sum(0), 1)


def hits_and_recall(scores: np.ndarray, targets: np.ndarray, levels: Sequence[slice]) -> np.ndarray:
    """(n, 2, levels) `hits_at_1` and `recall_at` 5."""
    of = (scores, targets, levels)
    return np.stack([hits_at_1(*of), recall_at(*of)], axis=1)
