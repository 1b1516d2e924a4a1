"""What the rankers see of a candidate: one float32 row of FEATURES, NaN where unknown.

Everything is computed from the columns that retrieval has already filled, for all candidates of
one query at once. NaN always means "not known"; a count or a match that is known to be nothing
is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.text.normalise import words

# Sources whose cosine or score and whose rank a candidate may carry.
SOURCES = ("learned", "compat", "bm25")

FEATURES: tuple[str, ...] = (
    "is_product",  # 1 product, 0 pin
    "learned",  # cosine in the learned space
    "compat",  # cosine in the item's pre-existing space (PinSage or ItemSage)
    "bm25",
    "learned_gap",  # learned, less the best of the query's candidates of the same entity type
    "compat_gap",
    "bm25_share",  # bm25 over the best of the query's candidates of the same entity type
    "learned_rr",  # 61 / (60 + rank) in that source, 0 where the source did not return it
    "compat_rr",
    "bm25_rr",
    "sources",  # how many sources returned it
    "engaged_match",  # log1p of the query's weight among the item's engaged queries (§3.2.3)
    "engaged",  # 1 if the query is among them at all, 0 if not
    "name_share",  # share of the query's words that stand in the item's name
    "name_cover",  # share of the name's words that stand in the query
    "text_share",  # share of the query's words, by idf, that stand in any of the item's texts
    "excluded",  # share of the words after 'without' in the name; below 0 if that says so itself
    *(f"log_{action}" for action in ACTIONS),  # log1p of the item's count before the split
    "save_rate",  # smoothed, of impressions: see _rate
    "click_rate",
    "cart_rate",
    "coverage",  # how many text fields are filled
    "log_price",
    "log_age",  # log1p of days since creation
    "language_match",  # 1 same language as the query, 0 another
    "is_ad",
    "query_words",
)

RANK_OFFSET = 60  # the usual k of reciprocal rank fusion; the sum of the three *_rr is RRF's order

# A rate is (count + PRIOR_RATE * PRIOR_VIEWS) / (impressions + PRIOR_VIEWS): one action seen on
# two impressions is no 50%.
PRIOR_RATE = 0.05
PRIOR_VIEWS = 20.0

_DAY = 86_400


@dataclass(frozen=True)
class QueryInfo:
    """What the features need of the query.

    Attributes:
        words: how many words it has.
        now: the time of the search, seconds since 1970 (the catalogue's last event for training).
    """

    words: int
    now: int

    @classmethod
    def of(cls, text: str, now: int) -> QueryInfo:
        return cls(len(words(text)), now)


def columns_read() -> set[str]:
    """The columns that features are computed from."""
    return {
        *("engaged_match", "name_share", "name_cover", "text_share", "excluded", "counts"),
        *("coverage", "price", "created_at", "language_match", "is_ad", "learned", "compat"),
        *("bm25", "learned_rank", "compat_rank", "bm25_rank", "entity"),
    }


def feature_matrix(columns: Mapping[str, np.ndarray], query: QueryInfo) -> np.ndarray:
    """The features of one query's candidates.

    Args:
        columns: one array of n values for each of `entity` (0 pin, 1 product; the only one that
            must be there), `learned`, `compat`, `bm25` (NaN absent), `learned_rank`,
            `compat_rank`, `bm25_rank` (1 is the best; NaN where the source did not return it),
            `engaged_match` (weight, 0 none), `name_share`, `name_cover`, `text_share` (NaN without
            words), `excluded` (NaN where the query excludes nothing), `counts` ((n, 6), by
            ACTIONS), `coverage`, `price`, `created_at` (seconds; 0 or NaN unknown),
            `language_match` (NaN unknown), `is_ad`.
            An absent column is NaN for all.

    Returns:
        float32 (n, len(FEATURES)), C order.
    """
    product = np.asarray(columns["entity"]) == 1
    n = len(product)

    def column(name: str) -> np.ndarray:
        values = columns.get(name)
        return np.full(n, np.nan, np.float32) if values is None else np.asarray(values)

    ranks = {source: column(f"{source}_rank") for source in SOURCES}
    returned = {source: ~np.isnan(rank) for source, rank in ranks.items()}
    counts = columns.get("counts")
    counts = np.full((n, len(ACTIONS)), np.nan) if counts is None else np.asarray(counts)
    by_action = dict(zip(ACTIONS, counts.astype(np.float32).T, strict=True))
    impressions = by_action["impression"]
    matched, created = column("engaged_match"), column("created_at").astype(np.float64)
    learned, compat, bm25 = (column(source) for source in SOURCES)
    with np.errstate(invalid="ignore"):
        values = {
            "is_product": product,
            "learned": learned,
            "compat": compat,
            "bm25": bm25,
            "learned_gap": learned - _best(learned, product),
            "compat_gap": compat - _best(compat, product),
            "bm25_share": bm25 / np.maximum(_best(bm25, product), 1e-6),
            **{
                f"{source}_rr": np.where(known, (RANK_OFFSET + 1) / (RANK_OFFSET + rank), 0)
                for (source, rank), known in zip(ranks.items(), returned.values(), strict=True)
            },
            "sources": np.sum(list(returned.values()), axis=0),
            "engaged_match": np.log1p(matched),
            "engaged": np.where(np.isnan(matched), np.nan, matched > 0),
            "name_share": column("name_share"),
            "name_cover": column("name_cover"),
            "text_share": column("text_share"),
            "excluded": column("excluded"),
            **{f"log_{action}": np.log1p(count) for action, count in by_action.items()},
            "save_rate": _rate(by_action["save"], impressions),
            "click_rate": _rate(by_action["click"] + by_action["long_click"], impressions),
            "cart_rate": _rate(by_action["add_to_cart"] + by_action["checkout"], impressions),
            "coverage": column("coverage"),
            "log_price": np.log1p(np.maximum(column("price"), 0)),
            "log_age": np.where(
                created > 0, np.log1p(np.maximum(query.now - created, 0) / _DAY), np.nan
            ),
            "language_match": column("language_match"),
            "is_ad": column("is_ad"),
            "query_words": np.full(n, query.words),
        }
    X = np.empty((len(FEATURES), n), dtype=np.float32)
    for row, name in enumerate(FEATURES):
        X[row] = values[name]
    return np.ascontiguousarray(X.T)


def _best(values: np.ndarray, product: np.ndarray) -> np.ndarray:
    """(n,) the highest known value among the candidates of the same entity type."""
    best = [np.fmax.reduce(values, where=mask, initial=-np.inf) for mask in (~product, product)]
    best = [value if value > -np.inf else np.nan for value in best]
    return np.where(product, best[1], best[0])


def _rate(count: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Smoothed rate; logs without impressions count each action as one."""
    views = np.maximum(impressions, count)
    return (count + PRIOR_RATE * PRIOR_VIEWS) / (views + PRIOR_VIEWS)
