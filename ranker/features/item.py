"""Features of the item alone."""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo

_DAY = 86_400


def _entity(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    return {"is_product": columns["entity"] == 1}


def _item(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    """`created_at` is in seconds, 0 or NaN if unknown."""
    created = columns["created_at"].astype(np.float64)
    age = np.log1p(np.maximum(query.now - created, 0) / _DAY)
    return {
        "coverage": columns["coverage"],
        "log_price": np.log1p(np.maximum(columns["price"], 0)),
        "log_age": np.where(created > 0, age, np.nan),
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
        Feature("coverage", "how many text fields are filled, engaged queries left out"),
        Feature("log_price", "log(1 + price)"),
        Feature("log_age", "log(1 + days since creation)"),
        Feature("language_match", "1 if its language is the query's, 0 if another", l1=True),
        Feature("is_ad", "1 if it is an ad, 0 if not"),
    ),
    reads=("coverage", "price", "created_at", "language_match", "is_ad"),
    compute=_item,
)
