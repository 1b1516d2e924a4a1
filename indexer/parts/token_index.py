"""The interface of token indexes, and the BM25 that all of them compute."""

from __future__ import annotations

from typing import Protocol

import numpy as np

# BM25 in Lucene's form.
K1 = 1.2
B = 0.75


# Not Sequence[str]: a text is one too, of letters.
Terms = list[str] | tuple[str, ...]


class TokenIndex(Protocol):
    """BM25 over the items of one entity type."""

    def search(
        self, terms: Terms, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows for the terms of a query; none if no term is known.

        Args:
            terms: distinct, as returned by `query_tokens`; they have no query syntax.
            allowed: bool (n,) rows that may be returned, or None for all.

        Returns:
            rows int64 (m,), best first, equal scores by row; BM25 scores float32 (m,).
        """
        ...


def empty_result() -> tuple[np.ndarray, np.ndarray]:
    """No rows and no scores."""
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
