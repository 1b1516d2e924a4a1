"""The interface of token indexes, and the BM25 that all of them compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from omnisearch.data.text.tokens import Use

# BM25 in Lucene's form.
K1 = 1.2
B = 0.75


Terms = Mapping[str, Use]


def weights_of(terms: Terms, rows: int, frequency: Callable[[str], int]) -> dict[str, float]:
    """What each term that items have counts.

    Args:
        frequency: how many of the `rows` items have a term.
    """
    weights = {}
    for term, use in terms.items():
        here = frequency(term)
        if not here:
            continue
        weights[term] = use.weight
        if use.instead_of:
            there = frequency(use.instead_of)
            share = idf(rows, there) / idf(rows, here)
            weights[term] = use.weight * min(share, 1.0) if there else 1.0
    return weights


def idf(rows: int, frequency: int) -> float:
    """Lucene's inverse document frequency."""
    return math.log(1 + (rows - frequency + 0.5) / (frequency + 0.5))


class TokenIndex(Protocol):
    """BM25 over the items of one entity type."""

    def search(
        self, terms: Terms, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows for the terms of a query; none if no term is known.

        Args:
            terms: as returned by `query_tokens`; they have no query syntax.
            allowed: bool (n,) rows that may be returned, or None for all.

        Returns:
            rows int64 (m,), best first, equal scores by row; BM25 scores float32 (m,).
        """
        ...


def empty_result() -> tuple[np.ndarray, np.ndarray]:
    """No rows and no scores."""
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
