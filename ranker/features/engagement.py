"""Engagement with an item: the queries that people found it by, and counts of actions."""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo

# A rate is (count + PRIOR_RATE * PRIOR_VIEWS) / (impressions + PRIOR_VIEWS). Without the prior, one
# action on two impressions would be a rate of 50%.
PRIOR_RATE = 0.05
PRIOR_VIEWS = 20.0


def _engaged_queries(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    """`engaged_match` is the query's weight among the item's engaged queries, 0 for none."""
    matched = columns["engaged_match"]
    return {
        "engaged_match": np.log1p(matched),
        "engaged": np.where(np.isnan(matched), np.nan, matched > 0),
    }


def _counts(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    """`counts` is (n, 6), in the order of ACTIONS."""
    counts = columns["counts"].astype(np.float32)
    if counts.ndim == 1:  # the engine has no counts
        counts = np.repeat(counts[:, None], len(ACTIONS), axis=1)
    by_action = dict(zip(ACTIONS, counts.T, strict=True))
    impressions = by_action["impression"]
    return {
        **{f"log_{action}": row for action, row in zip(ACTIONS, np.log1p(counts).T, strict=True)},
        "save_rate": _rate(by_action["save"], impressions),
        "click_rate": _rate(by_action["click"] + by_action["long_click"], impressions),
        "cart_rate": _rate(by_action["add_to_cart"] + by_action["checkout"], impressions),
    }


def _rate(count: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Smoothed rate; logs without impressions count each action as one."""
    views = np.maximum(impressions, count)
    return (count + PRIOR_RATE * PRIOR_VIEWS) / (views + PRIOR_VIEWS)


ENGAGED_QUERIES = FeatureGroup(
    "engaged queries",
    (
        Feature(
            "engaged_match",
            "log(1 + the query's weight among the item's engaged queries (§3.2.3))",
            l1=True,
        ),
        Feature("engaged", "1 if the query is among them at all, 0 if not"),
    ),
    reads=("engaged_match",),
    compute=_engaged_queries,
)

COUNTS = FeatureGroup(
    "counts and rates",
    (
        *(
            Feature(
                f"log_{action}",
                f"log(1 + the item's count of `{action}` before the split)",
                l1=action in ("save", "click"),
            )
            for action in ACTIONS
        ),
        Feature("save_rate", "saves over impressions, smoothed: (count + 1) / (impressions + 20)"),
        Feature("click_rate", "the same for clicks and long clicks"),
        Feature("cart_rate", "the same for carts and checkouts"),
    ),
    reads=("counts",),
    compute=_counts,
)
