"""BM25 over several segments, by the statistics of all items that count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnisearch.data.text.keys import term_keys
from omnisearch.data.text.stems import STEM
from omnisearch.data.workspace.memory import remembering
from omnisearch.indexer.parts.layout import Layout
from omnisearch.indexer.parts.terms import TermsOf
from omnisearch.indexer.parts.token_index import (
    K1,
    B,
    SegmentTokens,
    Statistics,
    Terms,
    empty_result,
    idf,
    stem_score,
    stems_of,
    weights_of,
)
from omnisearch.indexer.parts.words import added_up

# A segment's own order differs a little from that of all items: so many more of it are scored.
_MORE = 32


def scored(k: int) -> int:
    """How many items of a segment are scored for the k best of all."""
    return k + k // 2 + _MORE


class StackedTokens:
    """A `TokenIndex` over segments: each finds candidates, all are scored alike.

    Attributes:
        among: the statistics of all items that count. layout: of the segments.
        first: the index of the first segment.
    """

    def __init__(
        self, indexes: Sequence[SegmentTokens], terms: Sequence[TermsOf], layout: Layout
    ) -> None:
        self._indexes, self._terms, self.layout = indexes, terms, layout
        self.first = indexes[0]
        self._dead = layout.dead
        gone = [part.gone(dead) for part, dead in zip(terms, self._dead, strict=True)]
        self._gone, self._gone_counts = added_up(
            *(np.concatenate(column) for column in zip(*gone, strict=True))
        )
        words = sum(
            part.total - int(part.words[dead].sum())
            for part, dead in zip(terms, self._dead, strict=True)
        )
        self._average = max(words / max(len(layout), 1), 1e-9)
        self._frequency = remembering(self._counted, 65_536)
        self.among = Statistics(len(layout), self._frequency)

    def frequency(self, term: str) -> int:
        """How many items that count have a term."""
        return self._frequency(term)

    def _counted(self, term: str) -> int:
        """How many items that count have a term."""
        every = sum(index.frequency(term) for index in self._indexes)
        key = term_keys([term])[0]
        at = int(np.searchsorted(self._gone, key))
        if at < len(self._gone) and self._gone[at] == key:
            every -= int(self._gone_counts[at])
        return every

    def search(
        self,
        terms: Terms,
        k: int,
        allowed: np.ndarray | None = None,
        first: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `TokenIndex.search`.

        Args:
            first: int64 (m,), places of the first segment that somebody found there already.
        """
        k = min(k, len(self.layout))
        if not terms or k <= 0:
            return empty_result()
        weights = weights_of(terms, self.among)
        if not weights:
            return empty_result()
        above = range(0 if first is None else 1, len(self._indexes))
        places = [self._places(at, terms, scored(k), allowed) for at in above]
        if first is not None:
            places.insert(0, first[self.layout.rows[0][first] >= 0])
        rows = np.concatenate([of[at] for of, at in zip(self.layout.rows, places, strict=True)])
        scores = self._scores(places, terms, weights)
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def _places(self, at: int, terms: Terms, depth: int, allowed: np.ndarray | None) -> np.ndarray:
        index, row_of = self._indexes[at], self.layout.rows[at]
        if allowed is None:
            wanted = self.wanted(at, depth)
            places, _ = index.search(terms, wanted, None, self.among)
            alive = places[row_of[places] >= 0]
            if len(alive) >= depth or len(places) < wanted:
                return alive[:depth]
        return index.search(terms, depth, self.layout.alive(at, allowed), self.among)[0]

    def wanted(self, at: int, depth: int) -> int:
        """How many items of a segment to ask for, since some of them no longer count: a few more
        are cheaper than a filter."""
        return depth + min(len(self._dead[at]), depth)

    def _scores(
        self, places: Sequence[np.ndarray], terms: Terms, weights: dict[str, float]
    ) -> np.ndarray:
        """float32 (m,): BM25 among all of the items at these places of each segment."""
        read = [part.of(at) for part, at in zip(self._terms, places, strict=True)]
        keys, lengths = (np.concatenate(column) for column in zip(*read, strict=True))
        coded = [part.coded[at] for part, at in zip(self._terms, places, strict=True)]
        # What a term's frequency in an item is added to: it grows with the item's length.
        norm = K1 * (1 - B + B * np.concatenate(coded) / self._average)
        item, found = np.repeat(np.arange(len(lengths)), lengths), {}
        for (term, weight), key in zip(weights.items(), term_keys(list(weights)), strict=True):
            times = np.bincount(item[keys == key], minlength=len(lengths))
            there = self.among.frequency(term)
            if term.startswith(STEM):
                found[term] = (times > 0) * stem_score(weight, len(self.layout), there)
            else:
                factor = weight * idf(len(self.layout), there) * (1 + K1)
                found[term] = factor * times / (times + norm)
        for word, stem in stems_of(terms, weights).items():
            found[word] = np.maximum(found[word], found.pop(stem))
        return np.sum(list(found.values()), axis=0).astype(np.float32)
