"""Retrieval of ads: in the learned space and by words, among those that may be shown (§5.3).

They are sources of their own, not filters of the others: what is advertised is a small part of the
items, of which the nearest are found however many others are nearer. Both are exact, and both have
a floor: an ad that is no nearer to the query than random letters, or has less than half of its
words, is not looked at any further.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.ads.running import Running
from omnisearch.engine.filters import OUT_OF_STOCK, Filters
from omnisearch.engine.index import TOKENS, Index, Items, SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.rules.acting import Acting
from omnisearch.engine.sources import AD_SOURCES

LEAST_WORDS = 0.5  # of the query's words, weighted by idf


def retrieve_ads(
    index: Index,
    query: Query,
    running: Running,
    depths: Mapping[str, int],
    filters: Filters,
    acting: Acting | None,
    floor: float,
) -> dict[str, SourceResult]:
    """The result of each source of AD_SOURCES that found something.

    Scores are exact cosines, and shares of the query's words. Items that filters or rules leave
    out, that a rule pins, or that are out of stock are no ads.

    Args:
        depths: of each source. floor: the least cosine.
    """
    items, found = running.items, dict[str, SourceResult]()
    pins = items.part(ITEM_ENTITIES[0]).stop
    may = _may_be_shown(index, items, filters, acting)
    for space, values, least in (
        (LEARNED, running.index.cosines(query, floor), floor),
        (TOKENS, running.index.shares(query), LEAST_WORDS),
    ):
        if values is None:
            continue
        values = values[running.at]
        fits = values >= least  # false for NaN
        places = (fits if may is None else fits & may).nonzero()[0]
        split = int(places.searchsorted(pins))
        for entity, part in zip(ITEM_ENTITIES, (places[:split], places[split:]), strict=True):
            if not len(part):
                continue
            source = _BY_KIND[entity, space]
            scores = values[part]
            best = np.argsort(-scores, kind="stable")[: depths[source.name]]
            if len(best):
                found[source.name] = SourceResult(entity, items.row[part[best]], scores[best])
    return found


_BY_KIND = {(source.entity, source.space): source for source in AD_SOURCES}


def _may_be_shown(
    index: Index, items: Items, filters: Filters, acting: Acting | None
) -> np.ndarray | None:
    """Bool (n,): the ads that nothing forbids; None for all."""
    parts = []
    for entity in ITEM_ENTITIES:
        rows = items.row[items.part(entity)]
        may = np.ones(len(rows), bool)
        if (allowed := index.allowed(filters, entity)) is not None:
            may &= allowed[rows]
        if filters.out_of_stock != "show" and index.attributes.out_of_stock:
            gone = index.allowed(OUT_OF_STOCK, entity)
            may &= False if gone is None else ~gone[rows]
        if acting is not None:
            if (hidden := acting.hidden(entity)) is not None:
                may &= ~hidden[rows]
            if pinned := [pin.row for pin in acting.pins if pin.entity == entity]:
                may &= ~np.isin(rows, pinned)
        parts.append(may)
    both = np.concatenate(parts)
    return None if both.all() else both
