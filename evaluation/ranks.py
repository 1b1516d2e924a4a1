"""Exact ranks in a large corpus: a blocked matrix product, each block counted immediately."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from omnisearch.data.workspace.progress import Progress

# Rounding differs across a matrix product, by about 1e-7 for unit vectors. Scores this close are
# treated as equal, so that a copy of the engaged entity never counts as lower.
TIE = 1e-6
QUERIES_AT_ONCE, ENTITIES_AT_ONCE = 512, 2048  # 4 MiB of scores per thread fit in the cache
_ON_GPU = 16  # times as many of each on a GPU: 1 GiB of scores
_BYTE = 255  # this many flags can be summed in a byte


@dataclass(frozen=True)
class _Wanted:
    """The inputs of counting for n queries.

    Attributes:
        queries: (n, d) float32.
        thresholds: (n,) float32, the lowest score at which an entity counts.
        out: (n,) int64 arrays of corpus columns to exclude, -1 for none.
    """

    queries: np.ndarray
    thresholds: np.ndarray
    out: list[np.ndarray]

    def part(self, first: int, size: int) -> _Wanted:
        rows = slice(first, first + size)
        out = [columns[rows] for columns in self.out]
        return _Wanted(self.queries[rows], self.thresholds[rows], out)

    def left_out(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows of the block that begins at `start`, queries): the entries to exclude."""
        for columns in self.out:
            inside = np.flatnonzero((columns >= start) & (columns < stop))
            yield columns[inside] - start, inside


def exact_ranks(
    queries: np.ndarray,
    targets: np.ndarray,
    vectors: np.ndarray,
    corpus: np.ndarray,
    skip: np.ndarray | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """The rank of each query's target in a corpus: 1 + the number of others scoring no lower.

    Runs on the GPU if there is one, else on as many threads as numpy's matrix product uses.

    Args:
        queries: (n, d) float32.
        targets: (n,) rows of `vectors`; below 0 if the target has no vector.
        vectors: (N, d) float32, possibly memory-mapped.
        corpus: (m,) distinct rows of `vectors`; a target in it does not count against itself.
        skip: (n,) further rows to exclude (a query's own row), or None.

    Returns:
        (n,) int64; m + 1 for targets without a vector. Memory is bounded: each thread holds
        scores of QUERIES_AT_ONCE x ENTITIES_AT_ONCE at a time.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    known = targets >= 0
    thresholds = _target_scores(queries, targets, vectors) - np.float32(TIE)
    place = np.full(len(vectors) + 1, -1, dtype=np.int64)  # row → column of the corpus
    place[corpus] = np.arange(len(corpus))
    out = [place[np.where(known, targets, len(vectors))]]
    if skip is not None:
        out.append(place[np.where(skip >= 0, skip, len(vectors))])
    wanted = _Wanted(queries, thresholds, out)
    size = ENTITIES_AT_ONCE * (_ON_GPU if torch.cuda.is_available() else 1)
    above = np.zeros(len(queries), dtype=np.int64)
    with _counter(wanted) as count:
        for start in range(0, len(corpus), size):
            block = np.asarray(vectors[corpus[start : start + size]], dtype=np.float32)
            above += count(block, start)
            if progress:
                progress(start + len(block), len(corpus))
    return np.where(known, above + 1, len(corpus) + 1)


def _target_scores(queries: np.ndarray, targets: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    scores = np.empty(len(queries), dtype=np.float32)
    for first in range(0, len(queries), 8192):
        part = slice(first, first + 8192)
        found = np.asarray(vectors[np.maximum(targets[part], 0)], dtype=np.float32)
        scores[part] = np.einsum("nd,nd->n", queries[part], found)
    return scores


@contextmanager
def _counter(wanted: _Wanted) -> Iterator[Callable[[np.ndarray, int], np.ndarray]]:
    """A function (block of entities, its first column) → (n,) counts."""
    if torch.cuda.is_available():
        yield TorchCounter(wanted, torch.device("cuda")).count
        return
    blas = ThreadpoolController().select(user_api="blas")
    threads = max([pool["num_threads"] for pool in blas.info()], default=os.cpu_count() or 1)
    parts = [
        wanted.part(first, QUERIES_AT_ONCE)
        for first in range(0, len(wanted.queries), QUERIES_AT_ONCE)
    ]
    # One product per thread, so that each counts its scores while they are in its cache.
    with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:

        def count(block: np.ndarray, start: int) -> np.ndarray:
            found = pool.map(lambda part: _count(part, block, start), parts)
            return np.concatenate([np.zeros(0, np.int64), *found])

        yield count


def _count(wanted: _Wanted, block: np.ndarray, start: int) -> np.ndarray:
    """(n,) int64: how many rows of a block (b, d) reach each query's threshold."""
    scores = block @ wanted.queries.T  # (b, n)
    for rows, columns in wanted.left_out(start, start + len(block)):
        scores[rows, columns] = -np.inf
    # Count the scores below instead, so that NaN counts against the model.
    below = (scores < wanted.thresholds).view(np.uint8)
    counts = np.full(len(wanted.queries), len(block), dtype=np.int64)
    for first in range(0, len(below), _BYTE):
        counts -= below[first : first + _BYTE].sum(axis=0, dtype=np.uint8)
    return counts


class TorchCounter:
    """`_count` on a device, which holds all queries."""

    def __init__(self, wanted: _Wanted, device: torch.device) -> None:
        self.device = device
        size = QUERIES_AT_ONCE * _ON_GPU
        self.parts = [
            (part, torch.from_numpy(part.queries).to(device), self._tensor(part.thresholds))
            for part in (wanted.part(at, size) for at in range(0, len(wanted.queries), size))
        ]

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def count(self, block: np.ndarray, start: int) -> np.ndarray:
        """(n,) int64 counts over a block (b, d) that begins at a column."""
        entities = self._tensor(block)
        found = [torch.zeros(0, dtype=torch.int64, device=self.device)]
        for part, queries, thresholds in self.parts:
            scores = queries @ entities.T  # (n, b)
            for rows, columns in part.left_out(start, start + len(block)):
                scores[self._tensor(columns), self._tensor(rows)] = -torch.inf
            found.append((~(scores < thresholds[:, None])).sum(1))
        return torch.cat(found).cpu().numpy()
