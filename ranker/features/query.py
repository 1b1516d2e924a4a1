"""Features of the query alone, the same for all its candidates."""

from __future__ import annotations

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo


def _compute(columns: Columns, query: QueryInfo) -> dict[str, int]:
    return {"query_words": query.words}


QUERY = FeatureGroup(
    "query",
    (Feature("query_words", "how many words the query has"),),
    reads=(),
    compute=_compute,
)
