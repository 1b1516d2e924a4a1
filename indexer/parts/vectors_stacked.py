"""One space of one entity type over several segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnisearch.indexer.parts.layout import Gathered, Layout
from omnisearch.indexer.parts.vectors import SegmentSpace

_FEW = 8  # more than k that the first search of a segment asks for, if so many are dead


class StackedVectors:
    """The vectors by row, as an array (n, d) that is read in parts; not copied."""

    def __init__(self, spaces: Sequence[SegmentSpace], layout: Layout) -> None:
        self._spaces, self._layout = spaces, layout
        self.shape, self.dtype = (len(layout), spaces[0].dim), np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        every = np.arange(len(self))[rows]
        found = self.take(np.atleast_1d(every))
        return found if every.ndim else found[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of rows int64 (m,), float32 (m, d)."""
        found = np.empty((len(rows), self.shape[1]), np.float32)
        for segment, which, places in self._layout.split(rows):
            found[which] = self._spaces[segment].take(places)
        return found


class StackedSpace:
    """A `Space` over segments: the graphs of large ones, and exact search in the small ones.

    Attributes: as of `Space`, and the layout of the segments.
    """

    def __init__(self, spaces: Sequence[SegmentSpace], layout: Layout) -> None:
        self._spaces, self.layout = spaces, layout
        self.vectors = StackedVectors(spaces, layout)
        self.present = Gathered([space.present for space in spaces], layout)
        self._dead = [
            int(np.count_nonzero(space.present[places]))
            for space, places in zip(spaces, layout.dead, strict=True)
        ]
        self.count = sum(space.count for space in spaces) - sum(self._dead)

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of rows int64 (m,), float32 (m, d)."""
        return self.vectors.take(rows)

    def cosines(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """See `Space.cosines`."""
        found = np.empty(len(rows), np.float32)
        for segment, which, places in self.layout.split(rows):
            found[which] = self._spaces[segment].cosines(places, query)
        return found

    def search(
        self, query: np.ndarray, k: int, ef: int = 150, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Space.search`."""
        return _first([self._in(at, query, k, ef, allowed) for at in range(len(self._spaces))], k)

    def search_above(
        self,
        first: tuple[np.ndarray, np.ndarray],
        query: np.ndarray,
        k: int,
        ef: int,
        allowed: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `search`, with what was found in the first segment: places and scores."""
        places, scores = first
        rows = self.layout.rows[0][places]
        alive = rows >= 0
        above = [self._in(at, query, k, ef, allowed) for at in range(1, len(self._spaces))]
        return _first([(rows[alive], scores[alive]), *above], k)

    def exact(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Space.exact`."""
        found = []
        for at, space in enumerate(self._spaces):
            places, scores = space.exact(query, k, self._counting(at, allowed))
            found.append((self.layout.rows[at][places], scores))
        return _first(found, k)

    def _in(
        self, at: int, query: np.ndarray, k: int, ef: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest rows in one segment."""
        space, row_of, dead = self._spaces[at], self.layout.rows[at], self._dead[at]
        if allowed is None:
            # Asking for more is cheaper than a filter that the graph calls for each vector: for
            # twice as many as there would be if the dead lay anywhere, then for all that may be.
            few = _FEW + 2 * k * dead // max(1, space.count)
            for more in sorted({min(dead, few), min(dead, max(few, k))}):
                places, scores = space.search(query, k + more, ef)
                alive = np.flatnonzero(row_of[places] >= 0)[:k]
                if len(alive) >= min(k, space.count - dead):
                    return row_of[places[alive]], scores[alive]
        places, scores = space.search(query, k, ef, self._counting(at, allowed))
        return row_of[places], scores

    def _counting(self, at: int, allowed: np.ndarray | None) -> np.ndarray:
        return self.layout.alive(at, allowed) & self._spaces[at].present


def _first(found: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    rows, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((rows, -scores))[: max(k, 0)]
    return rows[order], scores[order]
