"""One space of one entity type: its vectors by row, and an HNSW graph over those present.

Of nearly equal vectors the graph holds one (`parts.equal`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import hnswlib
import numpy as np

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.reading import load_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.equal import NONE, Groups, check_pairs
from omnisearch.indexer.parts.hnsw_file import Expected, check_graph_vectors, check_hnsw_file

# Below this share or number of allowed vectors, scoring them all is faster than filtering each
# element that the graph visits, and is exact.
EXACT_SHARE = 0.2
EXACT_ROWS = 4_000

_GATHER_AT_ONCE = 4096


class SegmentSpace(Protocol):
    """One space of one segment: a `Space`, or one that is elsewhere."""

    present: np.ndarray
    count: int

    @property
    def dim(self) -> int: ...

    @property
    def vectors(self) -> Any: ...

    def take(self, rows: np.ndarray) -> np.ndarray: ...

    def cosines(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray: ...

    def search(
        self, query: np.ndarray, k: int, ef: int = 150, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def exact(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...


class Space:
    """Vectors of one entity type in one space, searched by cosine.

    Safe to search from several threads; hnswlib releases the GIL.

    Without a graph, searches are exact.

    Attributes:
        vectors: float32 (n, d) unit rows, memory-mapped, rows as in the entity's table; zeros if an
            item has no such vector.
        present: bool (n,), the rows that have one.
        count: how many have one.
        groups: the rows that are not in the graph, since they are near one that is.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        present: np.ndarray,
        index: hnswlib.Index | None,
        groups: Groups = NONE,
    ) -> None:
        self.vectors = vectors
        self.present = present
        self.groups = groups
        self.count = int(np.count_nonzero(present))
        self.index = index
        self._plain = np.asarray(vectors)  # a gather on a memmap takes twice as long
        self._grouped = len(groups.members) > 0
        self._everyone = self.count == len(present)
        self._ef = 0

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def search(
        self, query: np.ndarray, k: int, ef: int = 150, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of a query.

        Args:
            query: float32 (d,), unit length.
            ef: breadth of the search in the graph; at least k is used.
            allowed: bool (n,) rows that may be returned, or None for all. When few are allowed
                (EXACT_SHARE, EXACT_ROWS), the search is exact.

        Returns:
            rows int64 (m,), best first, and cosines float32 (m,); m is k, or less if there are
            fewer.

        Raises:
            InputError: the query has another dimension.
        """
        if query.shape != (self.vectors.shape[1],):
            raise InputError(
                f"The query has shape {query.shape}, the space {self.vectors.shape[1]} dimensions."
            )
        if self.index is None:
            return self.exact(query, k, allowed)
        kept, groups, accept = self.count, self.groups, None
        if allowed is not None:
            if not self._everyone:
                allowed = allowed & self.present
            kept = int(np.count_nonzero(allowed))
            if kept < EXACT_SHARE * self.count or kept <= min(EXACT_ROWS, self.count - 1):
                return self.exact(query, k, allowed)
            if kept == self.count:
                allowed = None
        k = min(k, kept)
        if k <= 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        nodes = self.count - len(groups.members)
        if allowed is not None:
            visible, nodes = allowed, kept
            if self._grouped:
                groups, visible = groups.among(allowed)
                nodes = int(np.count_nonzero(visible))
            # Called for each element that the graph visits: a C function, not a lambda.
            accept = visible.tobytes().__getitem__
        if ef != self._ef:
            self.index.set_ef(ef)
            self._ef = ef
        # A leader stands for members that may be nearer: ask for all that the graph has found.
        wanted = max(k, ef) if self._grouped else k
        try:
            labels, distances = self.index.knn_query(
                query, min(wanted, nodes), num_threads=1, filter=accept
            )
        except RuntimeError:  # fewer than k could be reached
            return self.exact(query, k, allowed)
        rows, scores = labels[0].view(np.int64), 1.0 - distances[0]
        if not self._grouped:
            return rows, scores
        rows = groups.expand(rows, scores, k, allowed)
        scores = np.einsum("nd,d->n", np.take(self._plain, rows, axis=0), query)
        order = np.lexsort((rows, -scores))[:k]
        return rows[order], scores[order]

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of rows int64 (m,), float32 (m, d)."""
        return np.take(self._plain, rows, axis=0)

    def cosines(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """float32 (m,): exact cosines of rows int64 (m,) with a query; 0 where there is none."""
        found: np.ndarray = self.take(rows) @ query
        return found

    def exact(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `search`, but scores every allowed vector; equal cosines are ordered by row."""
        rows = np.flatnonzero(self.present if allowed is None else allowed & self.present)
        every = len(rows) == len(self._plain)
        scores = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _GATHER_AT_ONCE):
            part = slice(start, start + _GATHER_AT_ONCE)
            # Not a matrix product: OpenBLAS would start its threads and wait for them.
            some = self._plain[part] if every else np.take(self._plain, rows[part], axis=0)
            scores[part] = np.einsum("nd,d->n", some, query)
        if k < len(rows):
            threshold = np.partition(scores, len(rows) - k)[len(rows) - k] if k > 0 else np.inf
            best = np.flatnonzero(scores >= threshold)
            rows, scores = rows[best], scores[best]
        order = np.argsort(-scores, kind="stable")[: max(k, 0)]
        return rows[order], scores[order]


def open_space(folder: Path, name: str, expected: Expected, graph: bool = True) -> Space:
    """Open the space `name` in `folder`, after checking every number that hnswlib trusts.

    Args:
        graph: whether one was written for its vectors, if it has any.

    Raises:
        Corrupt: a file is missing, damaged, or of another shape; a vector is not of unit length.
    """
    path = folder / f"{name}.npy"
    with reading("The file of vectors", path, REBUILD):
        vectors = load_array(path, np.float32, (expected.rows, expected.dim))
        present = _present(folder, name, expected)
        check_units(np.asarray(vectors), present)
    path = folder / f"{name}-groups.npy"
    with reading("The file of groups", path, REBUILD):
        pairs = np.array(load_array(path, np.int64, (None, 2)))
        check_pairs(pairs, np.asarray(vectors), present)
    if not graph or not present.any():
        return Space(vectors, present, None)
    groups = Groups.of(pairs)
    path = folder / f"{name}.hnsw"
    count = check_hnsw_file(path, expected)
    check_graph_vectors(path, expected, np.asarray(vectors), groups.leaders_of(present))
    index = hnswlib.Index("ip", expected.dim)
    with reading("The HNSW file", path, REBUILD):
        index.load_index(str(path), max_elements=count)
    return Space(vectors, present, index, groups)


def open_present(folder: Path, name: str, expected: Expected) -> np.ndarray:
    """bool (n,): the rows that have a vector in the space `name`, of which other files are not
    read. Raises Corrupt like `open_space`."""
    with reading("The file of vectors", folder / f"{name}-present.npy", REBUILD):
        present = _present(folder, name, expected)
        if (present.view(np.uint8) > 1).any():
            raise ValueError("a value of the presence column is neither true nor false")
        return present


def _present(folder: Path, name: str, expected: Expected) -> np.ndarray:
    return np.array(load_array(folder / f"{name}-present.npy", bool, (expected.rows,)))


def check_units(vectors: np.ndarray, present: np.ndarray) -> None:
    """Raise ValueError unless rows of (n, d) are of unit length where present, else zeros."""
    if (present.view(np.uint8) > 1).any():
        raise ValueError("a value of the presence column is neither true nor false")
    for start in range(0, len(vectors), _GATHER_AT_ONCE):
        part = slice(start, start + _GATHER_AT_ONCE)
        lengths = np.einsum("nd,nd->n", vectors[part], vectors[part])
        bad = ~(np.abs(lengths - present[part]) < 0.01)  # also NaN
        if bad.any():
            row = start + int(bad.argmax())
            raise ValueError(f"the vector of row {row} is not finite or not of unit length")
