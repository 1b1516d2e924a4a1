"""The token index in memory: rank-bm25 with Lucene's idf, the reference for tantivy."""

from __future__ import annotations

import numpy as np
from rank_bm25 import BM25Okapi

from omnisearch.data.text.stems import STEM
from omnisearch.indexer.parts.token_index import (
    K1,
    B,
    Statistics,
    Terms,
    coded_length,
    empty_result,
    idf,
    stem_score,
    stems_of,
    weights_of,
)


class LuceneBM25(BM25Okapi):
    """rank-bm25's Okapi with the two differences of Lucene: idf and encoded lengths."""

    def __init__(self, corpus: list[list[str]]) -> None:
        super().__init__(corpus, k1=K1, b=B)
        self.doc_len: list[int] = [coded_length(len(document)) for document in corpus]

    def _calc_idf(self, nd: dict[str, int]) -> None:
        self.frequency = nd
        self.idf = {word: idf(self.corpus_size, n) for word, n in nd.items()}


class RankBM25Index:
    """A `TokenIndex` over the tokens of each row. Every search scores every row."""

    def __init__(self, corpus: list[list[str]]) -> None:
        # rank-bm25 divides by the corpus' length.
        words = [[token for token in row if not token.startswith(STEM)] for row in corpus]
        self._bm25 = LuceneBM25(words) if any(words) else None
        self._stems: dict[str, list[int]] = {}
        for place, row in enumerate(corpus):
            for token in {token for token in row if token.startswith(STEM)}:
                self._stems.setdefault(token, []).append(place)
        self._rows = len(corpus)

    def search(
        self, terms: Terms, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenIndex.search`."""
        if self._bm25 is None or not terms or k <= 0:
            return empty_result()
        scores = np.zeros(self._rows)
        stems, among = self._stems, Statistics(self._rows, self.frequency)
        weights = weights_of(terms, among)
        found = {}
        for term, weight in weights.items():
            found[term] = np.zeros(self._rows)
            if term in stems:
                found[term][stems[term]] = stem_score(weight, self._rows, len(stems[term]))
            else:
                found[term] += weight * self._bm25.get_scores([term])
        for word, stem in stems_of(terms, weights).items():
            found[word] = np.maximum(found[word], found.pop(stem))
        scores = sum(found.values(), scores)
        rows = np.flatnonzero(scores > 0 if allowed is None else (scores > 0) & allowed)
        best = rows[np.lexsort((rows, -scores[rows]))][:k]
        return best.astype(np.int64), scores[best].astype(np.float32)

    def frequency(self, term: str) -> int:
        """How many rows have a term."""
        words = {} if self._bm25 is None else self._bm25.frequency
        return words.get(term, len(self._stems.get(term, ())))
