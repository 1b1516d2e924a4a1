"""Which of the query's words an item has."""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo


def _compute(columns: Columns, query: QueryInfo) -> Columns:
    return columns


WORDS = FeatureGroup(
    "words",
    (
        Feature("name_share", "share of the query's words that occur in the item's name", l1=True),
        Feature("name_cover", "share of the name's words that occur in the query", l1=True),
        Feature(
            "text_share",
            "share of the query's words, each counted by its idf, that occur in any of the item's "
            "own texts, board titles included; exact for every candidate",
            l1=True,
        ),
        Feature(
            "excluded",
            "share of the words after `without` that occur in the item's name, negative where the "
            "name says that it is without them",
            l1=True,
        ),
    ),
    reads=("name_share", "name_cover", "text_share", "excluded"),
    compute=_compute,
)


def _whole(columns: Columns, query: QueryInfo) -> Columns:
    share = columns["name_share"]
    return {"name_whole": np.where(np.isnan(share), np.nan, share == 1)}


WHOLE = FeatureGroup(
    "whole",
    (Feature("name_whole", "1 if the item's name has all of the query's words, else 0", l1=True),),
    reads=("name_share",),
    compute=_whole,
)
