"""The advertised items of a generation, searched exactly: their vectors and words side by side.

They are few beside all items, and are looked at by every search: what they need is gathered once,
when campaigns or generations change, and not from the large indexes each time. Most of what that
costs is to read vectors from memory, so a search reads a short form of all, and in full those that
may be near enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.index import Items
from omnisearch.engine.query import Query
from omnisearch.indexer.parts.words import idf

_SHORT = 32  # numbers of a vector's short form
_SAMPLE = 1000  # vectors that tell which these are
_SLACK = 1e-5  # of a product, and _ROUNDED of a squared length: more than float32 rounds off
_ROUNDED = 1e-6


class AdIndex:
    """Items of a generation, in (entity, row) order.

    Attributes:
        items: n of them, each once.
    """

    def __init__(self, items: Items, generation: Any) -> None:
        self.items = items
        self._texts = list(generation.texts.values())
        vectors, present, keys, lengths = [], [], [], []
        for entity in ITEM_ENTITIES:
            rows = items.row[items.part(entity)]
            space = generation.spaces.get((entity, LEARNED))
            if space is not None and len(rows):
                vectors.append(space.take(rows))
                present.append(space.present[rows])
            if len(rows):
                words, many = generation.texts[entity].of(rows)
                keys.append(words)
                lengths.append(many)
        there = sum(map(len, vectors)) == len(items) > 0
        self._vectors = np.concatenate(vectors) if there else None
        if self._vectors is not None:
            missing = ~np.concatenate(present)
            self._vectors[missing] = 0
            self._basis, self._short = _shortened(self._vectors)
            self._short[missing] = np.nan  # not near to anything
        every = np.concatenate(keys) if keys else np.zeros(0, np.uint32)
        counts = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        order = np.argsort(every, kind="stable")
        self._keys, starts = np.unique(every[order], return_index=True)
        self._bounds = np.append(starts, len(every)).tolist()  # of each word's places
        self._places = np.repeat(np.arange(len(items)), counts)[order]

    def cosines(self, query: Query, least: float) -> np.ndarray | None:
        """Float32 (n,), NaN for items below `least` or without a vector; None without vectors or
        the query's."""
        vectors, vector = self._vectors, query.vector
        if vectors is None or vector is None:
            return None
        short = vector @ self._basis
        left = max(float(vector @ vector - short @ short), 0.0) + _ROUNDED
        most = self._short @ np.append(short, np.float32(left**0.5))
        may = most >= least - _SLACK  # false for NaN
        if 4 * np.count_nonzero(may) > len(may):  # to read all where they are is quicker
            found = np.where(may, vectors @ vector, np.float32(np.nan))
        else:
            found = np.full(len(vectors), np.nan, np.float32)
            found[may] = vectors[may] @ vector
        found[found < least] = np.nan
        return found

    def shares(self, query: Query) -> np.ndarray | None:
        """Float32 (n,): the share of the query's words, weighted by idf, that an item has in any
        form; None if the query has no words."""
        if not len(query.wanted):
            return None
        weights = idf(self._texts, query.wanted)
        met = np.zeros(len(self.items), np.float32)
        if not len(self._keys):
            return met
        where = np.minimum(self._keys.searchsorted(query.wanted), len(self._keys) - 1)
        known = self._keys[where] == query.wanted
        for words, has, weight in zip(
            where.tolist(), known.tolist(), weights.tolist(), strict=True
        ):
            forms = {word for word, there in zip(words, has, strict=True) if there}
            parts = [self._places[self._bounds[word] : self._bounds[word + 1]] for word in forms]
            if len(parts) > 1:  # an item may have several forms of a word, which count once
                parts = [np.unique(np.concatenate(parts))]
            for places in parts:
                met[places] += weight
        return met / max(float(weights.sum()), 1e-9)


def _shortened(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis float32 (d, s) of where most of the vectors (n, d) lies, and their short
    forms float32 (n, s + 1): their parts in it, and the length of what is left.

    The product of two short forms is never below that of the vectors (Cauchy and Schwarz), whatever
    the basis. A few rounds of the power method find one that leaves little.
    """
    some = vectors[:: len(vectors) // _SAMPLE + 1]
    many = min(_SHORT, vectors.shape[1])
    basis = np.random.default_rng(0).standard_normal((vectors.shape[1], many), np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(some.T @ (some @ basis))
    parts = vectors @ basis
    left = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("ns,ns->n", parts, parts)
    return basis, np.column_stack((parts, np.sqrt(np.maximum(left, 0) + _ROUNDED)))
