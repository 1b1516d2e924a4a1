"""Orders other than relevance: by a number, by newness, and what is out of stock at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.candidates import Candidates, best_first
from omnisearch.engine.filters import OUT_OF_STOCK, Filters
from omnisearch.engine.index import Items, SourceResult
from omnisearch.engine.matching import Rows, size
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import KIND_WORDS, NAMESAKES, Ranking
from omnisearch.engine.snapshot import Snapshot

NEWEST = "newest"
NAMED_SINKS = "What has this name is out of stock, and comes after all that can be bought."
MATCHES_SINK = "All that match are out of stock, and come after what can be bought."
MOST = 500  # items of each entity type that are sorted


def check_sort(snapshot: Snapshot, sort: str) -> None:
    """Raise InputError unless the results can be sorted so."""
    name = sort.removeprefix("-")
    attributes = snapshot.index.attributes
    if sort == NEWEST or (attributes.has(name) and attributes.named(name).kind == "number"):
        return
    numbers = [each for each in attributes.names if attributes.named(each).kind == "number"]
    raise InputError(
        f"Results cannot be sorted by {name[:100]!r}.",
        where="sort",
        how=f"Use one of {', '.join([NEWEST, *numbers])}; -price begins with the highest.",
    )


def sorted_matches(
    snapshot: Snapshot, query: Query, matches: Rows, sort: str
) -> dict[str, SourceResult]:
    """Of each entity type the first MOST in this order that match (`engine.matching`).

    What is only near it in meaning is left out: sorted by price, a cheap shirt would come before
    all sofas. Empty if no item matches.
    """
    found = {}
    for code, entity in enumerate(ITEM_ENTITIES):
        rows = matches[entity]
        if len(rows):
            items = Items(np.full(len(rows), code, np.uint8), rows)
            first = rows[_order(_values(snapshot, query, items, sort), sort)[:MOST]]
            found[f"sorted_{entity}"] = SourceResult(entity, first, np.zeros(len(first), "f4"))
    return found


def sorted_by(
    snapshot: Snapshot,
    query: Query,
    ranking: Ranking,
    sort: str,
    matches: Mapping[str, SourceResult],
) -> Ranking:
    """The matches, by a number attribute ('price', or '-price' from the highest), or 'newest'; all
    results of the ranking if there are no matches.

    Equal ones stay in the order of relevance, and those without the value come last.
    """
    candidates, order = ranking.candidates, ranking.order
    if matches:
        kept = np.zeros(len(candidates), bool)
        for match in matches.values():
            part = candidates.part(match.entity)
            kept[part] = np.isin(candidates.row[part], match.rows)
        order = best_first(ranking.scores)
        order = order[kept[order]]
    order = order[_order(_values(snapshot, query, candidates, sort)[order], sort)]
    return replace(ranking, order=order, bounded=np.zeros(len(order), bool), total=len(order))


def _order(values: np.ndarray, sort: str) -> np.ndarray:
    downwards = sort == NEWEST or sort.startswith("-")
    return np.argsort(-values if downwards else values, kind="stable")  # NaN comes last


def _values(snapshot: Snapshot, query: Query, items: Items, sort: str) -> np.ndarray:
    """float64 (n,) what items in (entity, row) order are sorted by, NaN where one has none."""
    if not len(items):
        return np.zeros(0)
    if sort == NEWEST:
        times = snapshot.index.columns(query, items, ("created_at",))["created_at"]
        return np.where(times > 0, times, np.nan)
    attribute = snapshot.index.attributes.named(sort.removeprefix("-"))
    parts = []
    for entity in ITEM_ENTITIES:
        rows = items.row[items.part(entity)]
        size = len(snapshot.generation.tables[entity])
        parts.append(attribute.by_row(entity, size)[rows])
    return np.concatenate(parts)


def sinking(snapshot: Snapshot, candidates: Candidates, filters: Filters) -> np.ndarray | None:
    """Bool (n,): the candidates that come after all others; None if there are none."""
    if filters.out_of_stock != "sink" or not snapshot.index.attributes.out_of_stock:
        return None
    parts = []
    for entity in ITEM_ENTITIES:
        rows = candidates.row[candidates.part(entity)]
        out = snapshot.index.allowed(OUT_OF_STOCK, entity)
        parts.append(np.zeros(len(rows), bool) if out is None else out[rows])
    found = np.concatenate(parts)
    return found if found.any() else None


def sunk(order: np.ndarray, sinks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The order without what sinks, and what sinks, in the same order."""
    if sinks is None:
        return order, order[:0]
    return order[~sinks[order]], order[sinks[order]]


def named_sinks(snapshot: Snapshot, query: Query, ranking: Ranking, filters: Filters) -> bool:
    """Whether the items whose name or code is typed all come after others, being out of stock."""
    named = ranking.candidates.columns.get("named")
    if named is None or not named.any():
        return False
    if query.length <= KIND_WORDS and np.count_nonzero(named) > NAMESAKES:
        return False  # they are what somebody looks for, and not which item
    sinks = sinking(snapshot, ranking.candidates, filters)
    return sinks is not None and bool(sinks[named == named.max()].all() and not sinks.all())


def matches_sink(snapshot: Snapshot, matches: Rows, filters: Filters, total: int) -> bool:
    """Whether all items that match come after others, being out of stock.

    Args:
        total: how many results there are.
    """
    if filters.out_of_stock != "sink" or not snapshot.index.attributes.out_of_stock:
        return False
    if total <= size(matches):
        return False
    for entity, rows in matches.items():
        out = snapshot.index.allowed(OUT_OF_STOCK, entity)
        if len(rows) and (out is None or not out[rows].all()):
            return False
    return any(map(len, matches.values()))
