"""The token index in memory: rank-bm25 with Lucene's idf, the reference for tantivy."""

from __future__ import annotations

import numpy as np
from rank_bm25 import BM25Okapi

from omnisearch.indexer.parts.token_index import K1, B, Terms, empty_result, idf, weights_of


class LuceneBM25(BM25Okapi):
    """rank-bm25's Okapi with the two differences of Lucene: idf and encoded lengths."""

    def __init__(self, corpus: list[list[str]]) -> None:
        super().__init__(corpus, k1=K1, b=B)
        self.doc_len: list[int] = [coded_length(len(document)) for document in corpus]

    def _calc_idf(self, nd: dict[str, int]) -> None:
        self.frequency = nd
        self.idf = {word: idf(self.corpus_size, n) for word, n in nd.items()}


def coded_length(length: int) -> int:
    """A document's length as Lucene and tantivy encode it in one byte: exact up to 40.

    Four significant bits above 24, rounded down (Lucene's SmallFloat.intToByte4).
    """
    free = 24
    if length < free:
        return length
    rest = length - free
    shift = max(rest.bit_length() - 4, 0)
    return free + (rest >> shift << shift)


class RankBM25Index:
    """A `TokenIndex` over the tokens of each row. Every search scores every row."""

    def __init__(self, corpus: list[list[str]]) -> None:
        # rank-bm25 divides by the corpus' length.
        self._bm25 = LuceneBM25(corpus) if any(corpus) else None
        self._rows = len(corpus)

    def search(
        self, terms: Terms, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenIndex.search`."""
        if self._bm25 is None or not terms or k <= 0:
            return empty_result()
        scores = np.zeros(self._rows)
        known = self._bm25.frequency
        weights = weights_of(terms, self._rows, lambda term: known.get(term, 0))
        for term, weight in weights.items():
            scores += weight * self._bm25.get_scores([term])
        found = scores > 0 if allowed is None else (scores > 0) & allowed
        rows = np.flatnonzero(found)
        best = rows[np.lexsort((rows, -scores[rows]))][:k]
        return best.astype(np.int64), scores[best].astype(np.float32)
