"""Explains the position of a hit: the score of every source and every stage."""

from __future__ import annotations

import math
from typing import Any

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.candidates import by_signal
from omnisearch.engine.ranking import Ranking
from omnisearch.engine.rules.acting import Acting
from omnisearch.engine.sources import AD_SOURCES, SOURCES
from omnisearch.ranker.training import Rankers


def explain_hit(
    rankers: Rankers | None, ranking: Ranking, place: int, acting: Acting | None = None
) -> dict[str, Any]:
    """Everything known about the hit at a position of the feed (0 is the first).

    `sources` holds, for each source that returned it, its `rank` there and its `score` (a cosine
    or BM25). `learned` and `compat` are its exact cosines, `bm25` its token score. `rrf`, `l1`
    and `l2` are scores of these stages; `l2_heads` those of the heads before mixing; `teacher` is
    the teacher's grade if it re-ranked the hit. `blend` says whether the score or a bound (of ads
    or an entity type) decided the position. `rules` names the shop's rules that pinned the hit or
    moved it. `ad`, of the ads of campaigns alone, says what was bid, the predicted rate of long
    clicks, the probability of being relevant, and the place in the auction. Values that are
    unknown, or not computed by this system, are None.
    """
    candidates, at = ranking.candidates, int(ranking.order[place])
    columns = candidates.columns
    entity = ITEM_ENTITIES[int(candidates.entity[at])]

    def value(name: str) -> float | None:
        return _known(columns[name][at]) if name in columns else None

    sources = {
        source.name: {
            "rank": int(columns[f"{source.name}_rank"][at]),
            "score": value(f"{source.name}_score"),
        }
        for source in (*SOURCES.values(), *AD_SOURCES)
        if source.entity == entity and value(f"{source.name}_rank") is not None
    }
    found: dict[str, float | None] = {  # as the candidate's sources returned
        signal: next((sources[s.name]["score"] for s in group if s.name in sources), None)
        for signal, group in by_signal(SOURCES.values()).items()
    }
    heads: dict[str, float | None] | None = None
    if rankers is not None and ranking.features is not None and value("l2") is not None:
        row = ranking.features[at : at + 1]
        heads = {name: _known(score[0]) for name, score in rankers.l2.scores(row).items()}
    ad = ranking.ads.explained(at)
    return {
        **({"ad": ad} if ad else {}),
        "sources": sources,
        "learned": value("learned") if "learned" in columns else found["learned"],
        "compat": value("compat") if "compat" in columns else found["compat"],
        "bm25": found["bm25"],
        "rrf": value("rrf"),
        "l1": value("l1"),
        "l2": value("l2"),
        "l2_heads": heads,
        "teacher": value("teacher"),
        "score": _known(ranking.scores[at]),
        "blend": "bound" if ranking.bounded[place] else "score",
        "rules": acting.said_of(entity, int(candidates.row[at])) if acting else [],
    }


def _known(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
