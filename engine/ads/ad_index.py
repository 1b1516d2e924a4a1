"""The advertised items of a generation, searched exactly: their vectors and words side by side.

They are few beside all items, and are looked at by every search: what they need is gathered once,
when campaigns or generations change, and not from the large indexes each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.index import Items
from omnisearch.engine.query import Query
from omnisearch.indexer.parts.words import idf


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
        self._vectors = np.ascontiguousarray(np.concatenate(vectors)) if there else None
        self._missing = ~np.concatenate(present) if there else np.zeros(0, bool)
        every = np.concatenate(keys) if keys else np.zeros(0, np.uint32)
        counts = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
        order = np.argsort(every, kind="stable")
        self._keys = every[order]
        self._places = np.repeat(np.arange(len(items)), counts)[order]

    def cosines(self, query: Query) -> np.ndarray | None:
        """Float32 (n,), NaN for items without a vector; None without vectors or the query's."""
        if self._vectors is None or query.vector is None:
            return None
        found = self._vectors @ query.vector
        found[self._missing] = np.nan
        return found

    def shares(self, query: Query) -> np.ndarray | None:
        """Float32 (n,): the share of the query's words, weighted by idf, that an item has in any
        form; None if the query has no words."""
        if not len(query.wanted):
            return None
        weights = idf(self._texts, query.wanted)
        begins = np.searchsorted(self._keys, query.wanted, "left").tolist()
        ends = np.searchsorted(self._keys, query.wanted, "right").tolist()
        met = np.zeros(len(self.items), np.float32)
        for starts, stops, weight in zip(begins, ends, weights.tolist(), strict=True):
            forms = {a: b for a, b in zip(starts, stops, strict=True) if a < b}
            if len(forms) == 1:
                ((start, stop),) = forms.items()
                met[self._places[start:stop]] += weight
            elif forms:  # an item may have several forms of a word, which count once
                has = np.zeros(len(met), bool)
                for start, stop in forms.items():
                    has[self._places[start:stop]] = True
                met[has] += weight
        return met / max(float(weights.sum()), 1e-9)
