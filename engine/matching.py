"""Which items match a query: those that have all its words, meet the filters, and no rule hides.

`Response.matching` is how many these are; facets count them, and sorting orders them.
"""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import Index
from omnisearch.engine.query import Query
from omnisearch.engine.rules.acting import Acting

Rows = dict[str, np.ndarray]  # entity type → int64 (m,) rows of its table, ascending


def with_all_words(index: Index, query: Query, acting: Acting | None) -> Rows:
    """The items that have all needed words of a query, whatever the filters."""
    found = {}
    for entity in ITEM_ENTITIES:
        rows, hidden = index.having(query, entity), acting.hidden(entity) if acting else None
        found[entity] = rows if hidden is None else rows[~hidden[rows]]
    return found


def meeting(index: Index, rows: Rows, filters: Filters) -> Rows:
    """Those of the rows that meet the filters."""
    met = {}
    for entity, each in rows.items():
        allowed = index.allowed(filters, entity)
        met[entity] = each if allowed is None else each[allowed[each]]
    return met


def size(rows: Rows) -> int:
    """How many rows there are of all entity types."""
    return sum(map(len, rows.values()))
