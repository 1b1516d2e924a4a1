"""Orders other than relevance: by a number, by newness, and what is out of stock at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.candidates import Candidates
from omnisearch.engine.filters import OUT_OF_STOCK, Filters
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import Ranking
from omnisearch.engine.snapshot import Snapshot

NEWEST = "newest"


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


def sorted_by(snapshot: Snapshot, query: Query, ranking: Ranking, sort: str) -> Ranking:
    """The same results, by a number attribute ('price', or '-price' from the highest), or 'newest'.

    Equal ones stay in the order of relevance, and those without the value come last.
    """
    values = _values(snapshot, query, ranking.candidates, sort.removeprefix("-"))[ranking.order]
    downwards = sort == NEWEST or sort.startswith("-")
    order = np.argsort(-values if downwards else values, kind="stable")  # NaN comes last
    return replace(ranking, order=ranking.order[order], bounded=ranking.bounded[order])


def _values(snapshot: Snapshot, query: Query, candidates: Candidates, name: str) -> np.ndarray:
    """float64 (n,), NaN where a candidate has none."""
    if not len(candidates):
        return np.zeros(0)
    if name == NEWEST:
        times = snapshot.index.columns(query, candidates, ("created_at",))["created_at"]
        return np.where(times > 0, times, np.nan)
    attribute = snapshot.index.attributes.named(name)
    parts = []
    for entity in ITEM_ENTITIES:
        rows = candidates.row[candidates.part(entity)]
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
