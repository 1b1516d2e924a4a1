"""The spaces and the token index of a build whose vectors and words are in a cluster.

They are as those of files (`indexer.parts`), and the columns that they need are in files: which
items have a vector, and the terms of each item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from omnisearch.data.text.keys import term_keys
from omnisearch.indexer.cluster.names import WORDS
from omnisearch.indexer.cluster.trips import Asked, Collections, Ranked, among, not_among
from omnisearch.indexer.parts.terms import TermsOf
from omnisearch.indexer.parts.token_index import (
    Statistics,
    Terms,
    TokenIndex,
    empty_result,
    idf,
    weights_of,
)
from omnisearch.indexer.parts.tokens_stacked import StackedTokens, scored

_AT_ONCE = 1_000  # vectors in an answer
_NAMED = 2_000  # as many points can be named in a request; of more, the others are sifted out
_NAMED_SHARE = 0.05  # or this share, if that is more


class RemoteSpace:
    """A `parts.vectors.SegmentSpace` in a cluster.

    Attributes:
        present, count, dim: as of a Space.
    """

    def __init__(
        self, collections: Collections, entity: str, name: str, dim: int, present: np.ndarray
    ) -> None:
        self._collections, self._entity, self._name = collections, entity, name
        self.dim, self.present, self.count = dim, present, int(np.count_nonzero(present))

    @property
    def vectors(self) -> RemoteVectors:
        """The vectors by place, fetched when they are read."""
        return RemoteVectors(self)

    def search(
        self, query: np.ndarray, k: int, ef: int = 150, allowed: np.ndarray | None = None
    ) -> Ranked:
        """See `Space.search`."""
        return self._search(query, k, ef, allowed, exact=False)

    def exact(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Ranked:
        """See `Space.exact`."""
        return self._search(query, k, 0, allowed, exact=True)

    def _search(
        self, query: np.ndarray, k: int, ef: int, allowed: np.ndarray | None, exact: bool
    ) -> Ranked:
        if not self.count:
            return empty_result()
        asked = Asked(self._entity, self._name, query, min(k, self.count), ef, exact=exact)
        return _found(self._collections, asked, allowed)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The vectors of places int64 (m,), float32 (m, d); zeros where there is none."""
        found = np.zeros((len(places), self.dim), np.float32)
        there = self.present[places]
        for some in np.split(np.flatnonzero(there), range(_AT_ONCE, int(there.sum()), _AT_ONCE)):
            if len(some):
                found[some] = self._collections.vectors(self._entity, self._name, places[some])
        return found

    def cosines(self, places: np.ndarray, query: np.ndarray) -> np.ndarray:
        """float32 (m,): exact cosines of places int64 (m,) with a query; 0 where there is none."""
        found = np.zeros(len(places), np.float32)
        there = np.flatnonzero(self.present[places])
        if len(there):
            (ranked,) = self._collections.ranked([self.asked_cosines(places[there], query)])
            found[there] = in_order(places[there], ranked)
        return found

    def asked_cosines(self, places: np.ndarray, query: np.ndarray) -> Asked:
        """What to ask for the cosines of places that have a vector."""
        within = among(places)
        return Asked(self._entity, self._name, query, len(places), within=within, exact=True)


class RemoteVectors:
    """The vectors of a space as an array (n, d) that is read in parts."""

    def __init__(self, space: RemoteSpace) -> None:
        self._space = space
        self.shape, self.dtype = (len(space.present), space.dim), np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: int | slice | np.ndarray) -> np.ndarray:
        every = np.arange(len(self))[places]
        found = self._space.take(np.atleast_1d(every))
        return found if every.ndim else found[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]


class RemoteTokens:
    """A `parts.token_index.SegmentTokens` in a cluster.

    Scores are almost BM25: of an item that has a word and its stem, both count. Whoever asks scores
    the items again (`parts.tokens_stacked`).
    """

    def __init__(self, collections: Collections, entity: str, terms: TermsOf) -> None:
        self._collections, self._entity, self._terms = collections, entity, terms
        self._rows = len(terms.words)

    def search(
        self,
        terms: Terms,
        k: int,
        allowed: np.ndarray | None = None,
        among: Statistics | None = None,
    ) -> Ranked:
        """See `SegmentTokens.search`."""
        asked = self.asked(terms, min(k, self._rows), among or self.statistics)
        if asked is None:
            return empty_result()
        return _found(self._collections, asked, allowed)

    def asked(self, terms: Terms, k: int, among: Statistics) -> Asked | None:
        """What to ask for the terms of a query; None if no item has one."""
        weights = weights_of(terms, among)
        here = [term for term in weights if self.frequency(term)]
        if not here or k <= 0:
            return None
        counts = [weights[term] * idf(among.rows, among.frequency(term)) for term in here]
        keys, places = np.unique(term_keys(here), return_index=True)
        return Asked(self._entity, WORDS, np.array(counts, np.float32)[places], k, keys=keys)

    def frequency(self, term: str) -> int:
        """How many items have a term."""
        keys, counts = self._frequencies
        key = term_keys([term])[0]
        at = int(np.searchsorted(keys, key))
        return int(counts[at]) if at < len(keys) and keys[at] == key else 0

    @cached_property
    def _frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        return self._terms.frequencies(np.arange(self._rows))

    @cached_property
    def statistics(self) -> Statistics:
        """Of its own items."""
        return Statistics(self._rows, self.frequency)


def search_together(
    collections: Collections, asked: Sequence[tuple[TokenIndex, Terms]], k: int
) -> list[Ranked]:
    """As `token_index.search_each`, of a generation's indexes: the build is asked in one trip."""
    plans = []
    for index, terms in asked:
        assert isinstance(index, StackedTokens) and isinstance(index.first, RemoteTokens)
        plans.append(
            (index, terms, index.first.asked(terms, index.wanted(0, scored(k)), index.among))
        )
    there = iter(collections.ranked([each for *_, each in plans if each is not None]))
    return [
        index.search(terms, k, first=empty_result()[0] if each is None else next(there)[0])
        for index, terms, each in plans
    ]


def in_order(points: np.ndarray, ranked: Ranked) -> np.ndarray:
    """float32 (m,): the scores of points int64 (m,), all of them in the ranking."""
    found, scores = ranked
    if len(found) != len(points):
        raise LookupError(f"{len(points) - len(found)} of {len(points)} points are missing")
    by = np.argsort(found)
    where = np.searchsorted(found[by], points)
    return scores[by[where]]


def _found(collections: Collections, asked: Asked, allowed: np.ndarray | None) -> Ranked:
    """One ranking; `allowed` as of `sifted`, or None for all."""
    if asked.depth <= 0:
        return empty_result()
    (found,) = (
        collections.ranked([asked]) if allowed is None else sifted(collections, [(asked, allowed)])
    )
    return found


def sifted(collections: Collections, wanted: Sequence[tuple[Asked, np.ndarray]]) -> list[Ranked]:
    """Rankings of the allowed points alone, bool (n,) over all. They take one trip if of each
    either these or the others are few enough to be named; else more, to greater depths.

    Raises:
        Unreachable: no node answered.
    """
    depths = [min(each.depth, int(np.count_nonzero(allowed))) for each, allowed in wanted]
    found = [empty_result() for _ in wanted]
    asked = {at: _narrowed(*wanted[at], depth) for at, depth in enumerate(depths) if depth > 0}
    while asked:
        rankings = collections.ranked(list(asked.values()))
        for (at, each), (some, scores) in zip(list(asked.items()), rankings, strict=True):
            allowed = wanted[at][1]
            inside = np.flatnonzero(allowed[some])[: depths[at]]
            found[at] = some[inside], scores[inside]
            asked[at] = replace(each, depth=min(8 * each.depth, len(allowed)))
            if len(inside) == depths[at] or len(some) < each.depth or each.depth == len(allowed):
                del asked[at]
    return found


def _narrowed(asked: Asked, allowed: np.ndarray, depth: int) -> Asked:
    """What to ask for so many of the allowed points."""
    points, others, n = np.flatnonzero(allowed), np.flatnonzero(~allowed), len(allowed)
    if len(points) <= max(_NAMED, _NAMED_SHARE * n):
        return replace(asked, depth=depth, within=among(points, asked.within))
    if len(others) <= _NAMED:
        return replace(asked, depth=depth, within=not_among(others, asked.within))
    return replace(asked, depth=min(n, 2 * depth * n // len(points) + 64))
