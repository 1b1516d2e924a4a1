"""Recall@k as measured in the paper (§4.2), with ties counted against the model."""

from __future__ import annotations

import numpy as np

_BLOCK = 2**22  # scores in memory at a time


def recall_at(
    queries: np.ndarray,
    positives: np.ndarray,
    corpus: np.ndarray,
    k: int = 10,
    *,
    rows: np.ndarray | None = None,
    skip: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """The share of pairs whose entity is among the k best of the corpus.

    A corpus entity is ahead if its dot product with the query is at least the positive's, so ties
    count against the model. The pair is found if fewer than k are ahead.

    Args:
        queries, positives: (n, d), row i of each is one pair.
        corpus: (m, d).
        rows: (n,) int64, the corpus row of each positive itself, -1 if absent; that row is not
            counted.
        skip: (s,) int64 pairs and (s,) int64 corpus rows that are not counted for them, such as
            other positives of the same query.
    """
    found = ahead(queries, positives, corpus, rows, skip)
    return float(np.mean(found < k)) if len(queries) else 0.0


def ahead(
    queries: np.ndarray,
    positives: np.ndarray,
    corpus: np.ndarray,
    rows: np.ndarray | None = None,
    skip: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """(n,) int64: number of corpus entities scoring at least as high as each pair's positive."""
    counts = np.zeros(len(queries), dtype=np.int64)
    block = max(1, _BLOCK // max(len(corpus), 1))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        scores = queries[part] @ corpus.T
        own = np.einsum("nd,nd->n", queries[part], positives[part])
        if rows is not None:
            inside = np.flatnonzero(rows[part] >= 0)
            # The same product as the other scores, so that rounding cannot break or make a tie.
            same = np.all(positives[part][inside] == corpus[rows[part][inside]], axis=1)
            own[inside[same]] = scores[inside[same], rows[part][inside[same]]]
            scores[inside, rows[part][inside]] = -np.inf
        if skip is not None:
            here = (skip[0] >= start) & (skip[0] < start + block)
            scores[skip[0][here] - start, skip[1][here]] = -np.inf
        counts[part] = (~(scores < own[:, None])).sum(axis=1)  # NaN counts against the model
    return counts
