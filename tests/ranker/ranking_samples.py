"""Small ranking data with a known truth."""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features import QueryInfo, feature_matrix
from omnisearch.ranker.lists import RankingData
from omnisearch.ranker.network import NetworkOptions
from omnisearch.ranker.training import RankerConfig

NOW = 1_700_000_000

# A small network, so that a test takes a moment.
FAST = RankerConfig(network=NetworkOptions(members=2, hidden=8))


def candidate_columns(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """All columns that retrieval fills, with holes where retrieval leaves them."""

    def sometimes(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(n) < share, values, np.nan)

    entity = rng.integers(0, 2, n).astype(np.uint8)
    return {
        "entity": entity,
        "learned": rng.random(n).astype(np.float32),
        "compat": sometimes(rng.random(n), 0.8),
        "bm25": sometimes(rng.random(n) * 20, 0.4),
        "learned_rank": sometimes(rng.integers(1, 150, n), 0.5),
        "compat_rank": sometimes(rng.integers(1, 100, n), 0.4),
        "bm25_rank": sometimes(rng.integers(1, 150, n), 0.4),
        "engaged_match": np.where(rng.random(n) < 0.1, rng.random(n) * 5, 0),
        "price": np.where(entity == 1, rng.random(n) * 100, np.nan),
        "language_match": sometimes(rng.integers(0, 2, n), 0.9),
        "is_ad": rng.random(n) < 0.1,
    }


def ranking_data(queries: int, n: int = 40, seed: int = 0) -> RankingData:
    """Engagement follows the learned cosine where the language matches, and engaged queries.

    Relevance follows the learned and the compatible cosine. A fifth of the rows is judged.
    """
    rng = np.random.default_rng(seed)
    parts, engagement, relevance = [], [], []
    for _ in range(queries):
        columns = candidate_columns(n, rng)
        parts.append(feature_matrix(columns, QueryInfo.of("boho bedroom", NOW)))
        same = np.nan_to_num(columns["language_match"])
        liked = 3 * columns["learned"] * (0.3 + same) + 0.1 * columns["engaged_match"]
        liked = liked + rng.normal(0, 0.2, n)
        engagement.append(np.where(liked >= np.sort(liked)[-5], 3.0, 0.0))
        grade = columns["learned"] + np.nan_to_num(columns["compat"]) + rng.normal(0, 0.1, n)
        relevance.append(np.where(rng.random(n) < 0.2, np.clip(np.round(2 * grade), 0, 3), np.nan))
    return RankingData(
        X=np.concatenate(parts),
        groups=np.repeat(np.arange(queries), n),
        engagement=np.concatenate(engagement).astype(np.float32),
        relevance=np.concatenate(relevance).astype(np.float32),
    )
