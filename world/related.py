"""The related queries that the simulated search offers."""

from __future__ import annotations

import numpy as np

from omnisearch.world.querypool import QueryPool
from omnisearch.world.relevance import ThemeTree

OFFERED = 8
DRAWN = 24
FAMILY_DRAWN = 8
CHUNK = 5_000


def related_queries(tree: ThemeTree, queries: QueryPool, rng: np.random.Generator) -> np.ndarray:
    """(q, OFFERED) int64 query numbers, nearest first, padded with -1.

    Near queries share the theme, attributes or language; other phrasings of the same intent are
    nearest.
    """
    by_theme = _Groups(queries.theme.astype(np.int64))
    by_family = _Groups(tree.family[queries.theme].astype(np.int64))
    found = np.full((len(queries), OFFERED), -1, dtype=np.int64)
    for low in range(0, len(queries), CHUNK):
        chunk = np.arange(low, min(low + CHUNK, len(queries)))
        other = np.sort(
            np.concatenate(
                [by_theme.draw(chunk, DRAWN, rng), by_family.draw(chunk, FAMILY_DRAWN, rng)], axis=1
            ),
            axis=1,
        )
        repeat = np.zeros(other.shape, dtype=bool)
        repeat[:, 1:] = other[:, 1:] == other[:, :-1]
        mine, theirs = queries.wanted[chunk, None, :], queries.wanted[other]
        common = ((mine == theirs) & (mine >= 0)).sum(axis=-1)
        differing = ((mine != theirs) & (mine >= 0) & (theirs >= 0)).sum(axis=-1)
        near = (
            2.0 * (queries.theme[chunk, None] == queries.theme[other])
            + common
            - 0.7 * differing
            + 1.0 * (queries.language[chunk, None] == queries.language[other])
            + rng.random(other.shape)
        )
        near[repeat | (other == chunk[:, None])] = -np.inf
        best = np.argsort(-near, axis=1, kind="stable")[:, :OFFERED]
        kept = np.isfinite(np.take_along_axis(near, best, axis=1))
        found[chunk] = np.where(kept, np.take_along_axis(other, best, axis=1), -1)
    return found


class _Groups:
    """Members of each group, to sample from."""

    def __init__(self, group: np.ndarray) -> None:
        self.group = group
        self.rows = np.argsort(group, kind="stable")
        bounds = np.searchsorted(group[self.rows], np.arange(group.max() + 2))
        self.starts, self.counts = bounds[:-1], np.diff(bounds)

    def draw(self, rows: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """(n, draws) members of the groups of `rows`, with repeats."""
        group = self.group[rows][:, None]
        place = (rng.random((len(rows), draws)) * self.counts[group]).astype(np.int64)
        return self.rows[self.starts[group] + place]
