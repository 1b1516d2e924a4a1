"""Engagement with an item: the queries that people found it by.

Counts, rates and age are no features. They tell what the search of the log showed, not what people
want: an item that it never showed has none (docs/results/ranking.md).
"""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo


def _compute(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    """`engaged_match` is the query's weight among the item's engaged queries, 0 for none."""
    return {"engaged_match": np.log1p(columns["engaged_match"])}


ENGAGED_QUERIES = FeatureGroup(
    "engaged queries",
    (
        Feature(
            "engaged_match",
            "log(1 + the query's weight among the item's engaged queries (§3.2.3))",
            l1=True,
        ),
    ),
    reads=("engaged_match",),
    compute=_compute,
)
