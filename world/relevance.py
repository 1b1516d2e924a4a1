"""The true relevance of items to queries, known only to the simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.world.lexicon import Lexicon
from omnisearch.world.population import Population
from omnisearch.world.querypool import QueryPool

SAME_FAMILY = 0.2  # the query is for a sofa, the item is an armchair
SAME_INTEREST = 0.07
MISSED_ATTRIBUTE = 0.3  # factor for each attribute that the query names and the item lacks


@dataclass(frozen=True)
class ThemeTree:
    """For each theme, its level (0 concept, 1 family, 2 interest), family and interest."""

    level: np.ndarray
    family: np.ndarray
    interest: np.ndarray

    @classmethod
    def of(cls, lexicon: Lexicon) -> ThemeTree:
        depth = {"concept": 0, "family": 1, "interest": 2}
        return cls(
            np.array([depth[theme.level] for theme in lexicon.themes], dtype=np.int8),
            np.array([theme.family for theme in lexicon.themes], dtype=np.int16),
            np.array([theme.interest for theme in lexicon.themes], dtype=np.int16),
        )


def relevance(
    tree: ThemeTree,
    theme: np.ndarray,
    wanted: np.ndarray,
    concept: np.ndarray,
    values: np.ndarray,
) -> np.ndarray:
    """Relevance in 0..1: closeness of the concept, times 0.3 for each missing wanted attribute.

    `theme` (...,) and `wanted` (..., G) are the query's, `concept` (...,) and `values` (..., G) the
    item's; shapes broadcast. A relevant item has all parts of the query; token search, which
    matches any of the words, gets this wrong (Figure 5).
    """
    level = tree.level[theme]
    family = tree.family[theme] == tree.family[concept]
    interest = tree.interest[theme] == tree.interest[concept]
    near = np.where(family, SAME_FAMILY, np.where(interest, SAME_INTEREST, 0.0))
    head = np.select(
        [(level == 0) & (theme == concept), (level == 1) & family, (level == 2) & interest],
        [1.0, 1.0, 1.0],
        near,
    )
    missed = ((wanted >= 0) & (wanted != values)).sum(axis=-1)
    return (head * MISSED_ATTRIBUTE**missed).astype(np.float32)


def relevance_of(
    tree: ThemeTree, queries: QueryPool, items: Population, query: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """The relevance of item rows to query rows (shapes broadcast)."""
    return relevance(
        tree, queries.theme[query], queries.wanted[query], items.concept[row], items.values[row]
    )
