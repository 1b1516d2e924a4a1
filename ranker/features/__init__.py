"""The features of candidates for the rankers: float32 rows, NaN for unknown values.

A feature is computed from the columns that retrieval has filled, for all candidates of one query
at once. NaN always means "unknown"; a count or a match that is known to be nothing is 0.

To add a feature, write a `FeatureGroup` in a file of this folder and add it to `FEATURES` (or add
the feature to an existing group), and train the rankers again. Another package adds its groups by
`FEATURES.register` or by an entry point of the group `omnisearch.features`; they come after the
built-in ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.registry import Registry
from omnisearch.ranker.features.engagement import ENGAGED_QUERIES
from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo
from omnisearch.ranker.features.item import ENTITY, ITEM
from omnisearch.ranker.features.query import QUERY
from omnisearch.ranker.features.retrieval import RETRIEVAL
from omnisearch.ranker.features.words import WHOLE, WORDS

__all__ = [
    "FEATURES",
    "Feature",
    "FeatureGroup",
    "QueryInfo",
    "columns_read",
    "differing_features",
    "feature_matrix",
    "feature_names",
    "l1_names",
]

# Trained rankers have their features in this order, so a new group goes to the end.
FEATURES = Registry("features", (ENTITY, RETRIEVAL, ENGAGED_QUERIES, WORDS, ITEM, QUERY, WHOLE))


def feature_names() -> tuple[str, ...]:
    """The F features, in row order.

    Raises:
        InputError: two groups have a feature of the same name, or a plug-in cannot be loaded.
    """
    return _names(tuple(FEATURES.values()))


def l1_names() -> tuple[str, ...]:
    """The features that L1 sees, in row order."""
    return tuple(each.name for group in FEATURES.values() for each in group.features if each.l1)


def columns_read() -> set[str]:
    """The columns that `feature_matrix` reads, always including `entity`."""
    return {"entity"}.union(*(group.reads for group in FEATURES.values()))


def feature_matrix(columns: Columns, query: QueryInfo) -> np.ndarray:
    """The features of one query's candidates.

    Args:
        columns: the candidates' columns by name, n rows each. `entity` (0 pin, 1 product) is
            required; any other missing column of `columns_read()` is unknown for all candidates,
            and columns that no feature reads are ignored.

    Returns:
        float32 (n, F), C order, columns as in `feature_names()`.
    """
    groups = tuple(FEATURES.values())
    n = len(columns["entity"])
    unknown = np.full(n, np.nan, np.float32)
    X = np.empty((len(_names(groups)), n), dtype=np.float32)
    row = 0
    with np.errstate(invalid="ignore"):
        for group in groups:
            read = {name: np.asarray(columns.get(name, unknown)) for name in group.reads}
            values = group.compute(read, query)
            for feature in group.features:
                X[row] = values[feature.name]
                row += 1
    return np.ascontiguousarray(X.T)


def differing_features(names: Sequence[str]) -> str:
    """How `names` differ from `feature_names()`, in words; '' if they do not."""
    ours = feature_names()
    if tuple(names) == ours:
        return ""
    gone = ", ".join(str(name) for name in names if name not in ours)
    new = ", ".join(name for name in ours if name not in names)
    parts = [gone and f"not computed now: {gone}", new and f"new: {new}"]
    return "; ".join(part for part in parts if part) or "in another order"


@lru_cache(maxsize=8)
def _names(groups: tuple[FeatureGroup, ...]) -> tuple[str, ...]:
    names = tuple(feature.name for group in groups for feature in group.features)
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"There are two features called {name!r}.",
                where="omnisearch.features",
                how="Rename one of them.",
            )
    return names
