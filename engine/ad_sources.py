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
from omnisearch.engine.index import TOKENS, Index, SourceResult
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
    items = running.items
    scores: dict[str, np.ndarray] = {}
    if query.vector is not None:
        cosines = index.cosines(query, items, LEARNED)
        scores[LEARNED] = np.where(cosines >= floor, cosines, np.nan)
    if len(query.wanted):
        shares = index.columns(query, items, ("text_share",))["text_share"]
        scores[TOKENS] = np.where(shares >= LEAST_WORDS, shares, np.nan)
    may = {
        entity: _may_be_shown(index, running, entity, filters, acting) for entity in ITEM_ENTITIES
    }
    found = {}
    for source in AD_SOURCES:
        if source.space not in scores or not depths[source.name]:
            continue
        part = items.part(source.entity)
        values = scores[source.space][part]
        allowed = may[source.entity]
        usable = ~np.isnan(values) if allowed is None else ~np.isnan(values) & allowed
        rows, values = items.row[part][usable], values[usable]
        best = np.argsort(-values, kind="stable")[: depths[source.name]]
        if len(best):
            found[source.name] = SourceResult(source.entity, rows[best], values[best])
    return found


def _may_be_shown(
    index: Index, running: Running, entity: str, filters: Filters, acting: Acting | None
) -> np.ndarray | None:
    """Bool (n,) over the running ads of an entity type: those that nothing forbids; None: all."""
    rows = running.items.row[running.items.part(entity)]
    masks = []
    if (allowed := index.allowed(filters, entity)) is not None:
        masks.append(allowed[rows])
    if filters.out_of_stock != "show" and index.attributes.out_of_stock:
        gone = index.allowed(OUT_OF_STOCK, entity)
        masks.append(np.zeros(len(rows), bool) if gone is None else ~gone[rows])
    if acting is not None:
        if (hidden := acting.hidden(entity)) is not None:
            masks.append(~hidden[rows])
        if pinned := [pin.row for pin in acting.pins if pin.entity == entity]:
            masks.append(~np.isin(rows, pinned))
    return np.logical_and.reduce(masks) if masks else None
