"""Features from the sources of a candidate: cosines, BM25, ranks."""

from __future__ import annotations

import numpy as np

from omnisearch.ranker.features.group import Columns, Feature, FeatureGroup, QueryInfo

SOURCES = ("learned", "compat", "bm25")
RANK_OFFSET = 60  # the usual k of reciprocal rank fusion; the sum of the three *_rr is RRF's order


def _compute(columns: Columns, query: QueryInfo) -> dict[str, np.ndarray]:
    """`<source>_rank` is 1 for the best, NaN if the source did not return the candidate."""
    product = columns["entity"] == 1
    scores = np.array([columns[source] for source in SOURCES])  # (3, n), as all below
    ranks = np.array([columns[f"{source}_rank"] for source in SOURCES])
    returned = ~np.isnan(ranks)
    reciprocal = np.where(returned, (RANK_OFFSET + 1) / (RANK_OFFSET + ranks), 0)
    best = np.where(product, _best(scores, product), _best(scores, ~product))
    return {
        **dict(zip(SOURCES, scores, strict=True)),
        "learned_gap": scores[0] - best[0],
        "compat_gap": scores[1] - best[1],
        "bm25_share": scores[2] / np.maximum(best[2], 1e-6),
        **{f"{source}_rr": reciprocal[row] for row, source in enumerate(SOURCES)},
    }


def _best(scores: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(3, 1) the highest known score of each source among the candidates of a mask (n,)."""
    return np.fmax.reduce(scores, axis=1, where=among, initial=-np.inf, keepdims=True)


_RR = "61 / (60 + rank) in the {}, 0 if that did not return it"

RETRIEVAL = FeatureGroup(
    "retrieval",
    (
        Feature("learned", "cosine in the learned space, exact for every candidate", l1=True),
        Feature("compat", "cosine in the item's pre-existing space (PinSage or ItemSage), exact"),
        Feature("bm25", "BM25 score, where the token index returned it", l1=True),
        Feature(
            "learned_gap", "`learned` less that of the query's best candidate of the entity type"
        ),
        Feature("compat_gap", "the same for `compat`", l1=True),
        Feature("bm25_share", "`bm25` over that of the best candidate of the entity type", l1=True),
        Feature("learned_rr", _RR.format("learned space"), l1=True),
        Feature("compat_rr", _RR.format("pre-existing space"), l1=True),
        Feature("bm25_rr", _RR.format("token index"), l1=True),
    ),
    reads=("entity", *SOURCES, *(f"{source}_rank" for source in SOURCES)),
    compute=_compute,
)
