"""Features of the item alone."""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo


def _entity(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    return {"is_product": columns["entity"] == 1}


def _item(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    return {
        "log_price": np.log1p(np.maximum(columns["price"], 0)),
        "language_match": columns["language_match"],
        "is_ad": columns["is_ad"],
    }


ENTITY = FeatureGroup(
    "entity",
    (Feature("is_product", "1 product, 0 pin", l1=True),),
    reads=("entity",),
    compute=_entity,
)

ITEM = FeatureGroup(
    "item",
    (
        Feature("log_price", "log(1 + price)"),
        Feature("language_match", "1 if its language is the query's, 0 if another", l1=True),
        Feature("is_ad", "1 if it is an ad, 0 if not"),
    ),
    reads=("price", "language_match", "is_ad"),
    compute=_item,
)
