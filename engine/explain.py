"""Why a hit stands where it stands: the score of every source and every stage."""

from __future__ import annotations

import math
from typing import Any

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.candidates import KINDS
from omnisearch.engine.scoring import Ranking
from omnisearch.engine.sources import SOURCE_NAMES
from omnisearch.ranker.training import Rankers


def explain_hit(rankers: Rankers | None, ranking: Ranking, place: int) -> dict[str, Any]:
    """Everything known of the hit at a place of the feed (0 is the first), as plain values.

    `sources` holds, for each source that returned it, its `rank` there and its `score` (a cosine
    or BM25). `learned` and `compat` are its exact cosines, `bm25` its token score. `rrf`, `fused`,
    `l1` and `l2` are scores of these stages; `l2_heads` those of the heads before they are mixed.
    `blend` says whether the score or a bound (of ads, or of an entity type) decided the place.
    What is unknown, or did not run for this system, is None.
    """
    candidates, at = ranking.candidates, int(ranking.order[place])
    columns = candidates.columns
    entity = ITEM_ENTITIES[int(candidates.entity[at])]

    def value(name: str) -> float | None:
        return _known(columns[name][at]) if name in columns else None

    sources = {
        SOURCE_NAMES[entity, kind]: {
            "rank": int(columns[f"{kind}_rank"][at]),
            "score": value(f"{kind}_score"),
        }
        for kind in KINDS
        if value(f"{kind}_rank") is not None
    }
    heads: dict[str, float | None] | None = None
    if rankers is not None and ranking.features is not None and value("l2") is not None:
        row = ranking.features[at : at + 1]
        heads = {name: _known(score[0]) for name, score in rankers.l2.scores(row).items()}
    return {
        "sources": sources,
        "learned": value("learned") if "learned" in columns else value("learned_score"),
        "compat": value("compat") if "compat" in columns else value("compat_score"),
        "bm25": value("token_score"),
        "rrf": value("rrf"),
        "fused": value("fused"),
        "l1": value("l1"),
        "l2": value("l2"),
        "l2_heads": heads,
        "score": _known(ranking.scores[at]),
        "blend": "bound" if ranking.bounded[place] else "score",
    }


def _known(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
