"""Sampling probabilities for logQ, from streaming counts over the batches (§3.5)."""

from __future__ import annotations

import numpy as np

DEPTH = 2


class CountMinSketch:
    """A count-min sketch of 64-bit keys: never too low, exact without collisions.

    Attributes:
        counts: (depth, 2**bits) uint32.
    """

    def __init__(self, bits: int) -> None:
        self.counts = np.zeros((DEPTH, 1 << bits), dtype=np.uint32)
        self._shift = np.uint64(64 - bits)

    def _columns(self, keys: np.ndarray) -> list[np.ndarray]:
        return [(mix(keys, depth + 1) >> self._shift).astype(np.int64) for depth in range(DEPTH)]

    def add(self, keys: np.ndarray) -> None:
        """Increment the count of each of the (n,) keys."""
        for row, columns in zip(self.counts, self._columns(keys), strict=True):
            where, times = np.unique(columns, return_counts=True)
            row[where] += times.astype(np.uint32)

    def estimate(self, keys: np.ndarray) -> np.ndarray:
        """(n,) float64 counts."""
        rows = zip(self.counts, self._columns(keys), strict=True)
        return np.min([row[columns] for row, columns in rows], axis=0).astype(np.float64)


def mix(keys: np.ndarray, salt: int) -> np.ndarray:
    """splitmix64 of (n,) integer keys: pseudo-random uint64 hashes, different for each salt."""
    with np.errstate(over="ignore"):
        x = keys.astype(np.uint64) + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


class StreamCounts:
    """log P(n) and log P(p | q) of each data set, over all pairs added so far.

    Attributes:
        queries, entities, pairs: sketches with keys salted by data set.
        totals: (data sets,) int64, number of pairs added.
    """

    def __init__(self, datasets: int, bits: int) -> None:
        self.queries, self.entities, self.pairs = (CountMinSketch(bits) for _ in range(3))
        self.totals = np.zeros(datasets, dtype=np.int64)

    def add(self, dataset: int, queries: np.ndarray, entities: np.ndarray) -> None:
        """Count a batch's pairs, given as query and entity numbers."""
        query, entity, pair = _keys(dataset, queries, entities)
        self.queries.add(query)
        self.entities.add(entity)
        self.pairs.add(pair)
        self.totals[dataset] += len(queries)

    def log_probabilities(
        self, dataset: int, queries: np.ndarray, entities: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(b,) float32 log P(p | q) and log P(p) of pairs that have been added."""
        query, entity, pair = _keys(dataset, queries, entities)
        of_pair, of_query = self.pairs.estimate(pair), self.queries.estimate(query)
        given_query = np.log(np.minimum(of_pair / of_query, 1.0))
        alone = np.log(np.minimum(self.entities.estimate(entity) / self.totals[dataset], 1.0))
        return given_query.astype(np.float32), alone.astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays, for a checkpoint."""
        return {
            "queries": self.queries.counts,
            "entities": self.entities.counts,
            "pairs": self.pairs.counts,
            "totals": self.totals,
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore the arrays of `state`."""
        self.queries.counts[:] = state["queries"]
        self.entities.counts[:] = state["entities"]
        self.pairs.counts[:] = state["pairs"]
        self.totals[:] = state["totals"]


def _keys(
    dataset: int, queries: np.ndarray, entities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    query = mix(queries, 101 + dataset)
    entity = mix(entities, 211 + dataset)
    with np.errstate(over="ignore"):
        return query, entity, mix(query * np.uint64(3) + entity, 307)
