"""Whether anything fits a query: an item has a word of it, or is nearer to it than to noise."""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.candidates import Candidates
from omnisearch.engine.context import NOTHING_FITS as STAGE
from omnisearch.engine.context import SearchContext
from omnisearch.engine.index import TOKENS, Index, SourceRequest
from omnisearch.engine.query import Query
from omnisearch.engine.sources import SOURCES

_NONE = np.zeros(0, np.float32)
NOTHING_FITS = "Nothing in the catalogue fits this query."


def unfit(
    index: Index,
    query: Query,
    candidates: Candidates,
    floor: float,
    ef: int,
    context: SearchContext,
) -> float | None:
    """The highest cosine of any item, if nothing fits; None if something does.

    Something fits if an item has a word of the query, in any form that is searched, or if its
    cosine reaches the floor; also one that filters or rules leave out, since they decide what is
    shown, not what fits. Where a cluster does not say, something may, and the stage is left out.
    """
    for source in SOURCES.values():
        scores = candidates.columns.get(f"{source.name}_score", _NONE)
        best_here = float(np.fmax.reduce(scores, initial=-np.inf))
        if best_here >= {TOKENS: 0.0, LEARNED: floor}.get(source.space, np.inf):
            return None
    best = -1.0
    for space in (TOKENS, LEARNED):
        requests = [SourceRequest(entity, space, query, 1, ef) for entity in ITEM_ENTITIES]
        for found in index.search(requests):
            if found.left_out:
                context.left_out.append(STAGE)
                return None
            if len(found.rows) and (space == TOKENS or found.scores[0] >= floor):
                return None
            best = max(best, float(found.scores.max(initial=-1)))
    return best


def tried(query: Query, best: float, related: int) -> list[str]:
    """What was tried for a query that nothing fits, in sentences."""
    respelled = query.text != query.typed
    told = ["Its words: no item has one of them, in any form."]
    if query.length > 1:
        told[0] = "Its words, all together and each alone: no item has one of them, in any form."
    told.append(
        f"Its spelling: ‘{query.text}’ was searched."
        if respelled
        else "Its spelling: no word of the catalogue is one letter away."
    )
    told.append(
        f"Its meaning: no item is nearer to it than to random letters (cosine {best:.2f} at most)."
    )
    told.append(
        "Related searches: those that are near are listed."
        if related
        else "Related searches: none is near."
    )
    return told
