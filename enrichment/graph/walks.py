"""A pin's neighbours: the pins that short random walks from it visit most (PinSage, §3.3).

A walk goes pin → board → pin, and restarts at its pin with probability RESTART after each step: the
share of visits estimates the personalised PageRank. A pin's walks are seeded by its id alone, so a
pin whose surroundings did not change keeps its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import scipy.sparse as sp
import sqlite_utils

from omnisearch.data.catalogue.splits import known_window
from omnisearch.encoders.training.logq import mix
from omnisearch.enrichment.graph.cooccurrence import Groups, board_groups

WALKERS, STEPS = 24, 8  # walks from each pin, and the boards that each visits
RESTART = 0.5
NEIGHBOURS = 16
_BLOCK = 16_384  # pins whose walks are held at a time


@dataclass(frozen=True)
class Neighbours:
    """The most visited pins of each of n pins, most visited first.

    Attributes:
        rows: (n, T) int32 pin rows, 0 where there is none.
        weights: (n, T) float32 shares of the visits to these T; a row sums to 1, or to 0 for a pin
            without neighbours.
    """

    rows: np.ndarray
    weights: np.ndarray

    def drawn(self, rows: np.ndarray, count: int, rng: np.random.Generator) -> Neighbours:
        """`count` neighbours of each of (n,) rows, sampled by weight: unbiased for pooling."""
        ends = self.weights[rows].cumsum(axis=1, dtype=np.float64)  # (n, T)
        chance = rng.random((len(rows), count)) * ends[:, -1:]
        places = (chance[:, :, None] >= ends[:, None, :]).sum(axis=2).clip(max=ends.shape[1] - 1)
        weights = np.broadcast_to(ends[:, -1:] / count, places.shape).astype(np.float32)
        return Neighbours(self.rows[rows[:, None], places], weights)

    def nearest(self, count: int) -> Neighbours:
        """The `count` most visited of them."""
        weights = self.weights[:, :count]
        return Neighbours(self.rows[:, :count], weights / _sums(weights))


def pin_board_graph(
    db: sqlite_utils.Database, ids: Sequence[str], until: int, products: Sequence[str] = ()
) -> sp.csr_matrix:
    """The 0/1 float32 matrix (pins, boards) of saves before `until`; saves without a time count.

    Rows of `products` follow those of the pins `ids`. Boards that lead from no item to another pin
    are left out.
    """
    window = known_window(until)
    pins, others = (
        board_groups(db, "pin", ids, window),
        board_groups(db, "product", products, window),
    )
    number = {name: at for at, name in enumerate(pins.names)}
    columns = np.array([number.get(name, -1) for name in others.names], dtype=np.int64)
    others = Groups(pins.names, columns[others.group], others.item)
    others = others.keep(others.group >= 0)
    rows = np.concatenate((pins.item, len(ids) + others.item))
    columns = np.concatenate((pins.group, others.group))
    ones = np.ones(len(rows), dtype=np.float32)
    shape = len(ids) + len(products), len(pins)
    graph = sp.csr_matrix((ones, (rows, columns)), shape=shape)
    return graph[:, graph.getnnz(axis=0) > 1]


def neighbourhoods(
    graph: sp.csr_matrix,
    ids: Sequence[str],
    most: int = NEIGHBOURS,
    seed: int = 0,
    pins: int | None = None,
) -> Neighbours:
    """The `most` pins that walks from each row visit most; ties go to the earlier row.

    Walks from all rows visit the first `pins` alone, by default all.
    """
    keys = mix(np.array([crc32(pin.encode("utf-8", "surrogatepass")) for pin in ids]), seed + 1)
    rows = np.zeros((len(ids), most), dtype=np.int32)
    weights = np.zeros((len(ids), most), dtype=np.float32)
    columns = graph[:pins].tocsc()
    walked = np.flatnonzero(graph.getnnz(axis=1))
    for start in range(0, len(walked), _BLOCK):
        begun = walked[start : start + _BLOCK]
        source, visited = _visits(graph, columns, begun, keys[begun])
        places, counts = np.unique(source * graph.shape[0] + visited, return_counts=True)
        source, visited = np.divmod(places, graph.shape[0])
        order = np.lexsort((visited, -counts, source))
        source, visited, counts = source[order], visited[order], counts[order]
        rank = np.arange(len(source)) - np.searchsorted(source, source)
        kept = rank < most
        rows[begun[source[kept]], rank[kept]] = visited[kept]
        weights[begun[source[kept]], rank[kept]] = counts[kept]
    return Neighbours(rows, weights / _sums(weights))


def _sums(weights: np.ndarray) -> np.ndarray:
    """(n, 1) the sum of each row, or nearly 0 for a pin without neighbours."""
    return np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)


def _visits(
    graph: sp.csr_matrix, columns: sp.csc_matrix, pins: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All visits of the walks from `pins`: positions in `pins`, and pin rows, except itself."""
    source = np.repeat(np.arange(len(pins)), WALKERS)
    chance = np.repeat(keys, WALKERS) + np.tile(np.arange(WALKERS, dtype=np.uint64), len(pins))
    at = pins[source]
    sources, visited = [], []
    for step in range(STEPS):
        board = _pick(graph, at, mix(chance, 3 * step + 1))
        at = _pick(columns, board, mix(chance, 3 * step + 2))
        away = at != pins[source]
        sources.append(source[away])
        visited.append(at[away])
        again = mix(chance, 3 * step + 3) < np.uint64(RESTART * 2**64)
        at = np.where(again, pins[source], at)
    return np.concatenate(sources), np.concatenate(visited).astype(np.int64)


def _pick(links: sp.spmatrix, rows: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """One entry of each row (of a CSC matrix: column), by 64 random bits each."""
    starts = links.indptr[rows].astype(np.int64)
    counts = links.indptr[rows + 1] - starts
    return links.indices[
        starts
        + ((chance >> np.uint64(32)) * counts.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
    ]
