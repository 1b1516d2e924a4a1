"""The interface below the engine: what it needs of one published state of the indexes.

`engine.local_index` implements it for a generation on this machine; a cluster can too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.engine.attributes import Attributes
from omnisearch.engine.filters import Filters
from omnisearch.engine.query import Query

TOKENS = "tokens"  # the space of BM25 scores


@dataclass
class Items:
    """Items by the rows of their entity types' tables.

    Attributes:
        entity: uint8 (n,), 0 pin and 1 product: positions in ITEM_ENTITIES.
        row: int64 (n,).
    """

    entity: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def part(self, entity: str) -> slice:
        """The positions of an entity type's items, which must be in (entity, row) order."""
        return self._parts[entity]

    @cached_property
    def _parts(self) -> dict[str, slice]:
        pins = int(np.searchsorted(self.entity, 1))
        return dict(zip(ITEM_ENTITIES, (slice(0, pins), slice(pins, len(self))), strict=True))


@dataclass(frozen=True)
class SourceRequest:
    """One requested ranking.

    Attributes:
        entity: 'pin', 'product' or 'query'.
        space: TOKENS, or the vector space to search with `query.vector`.
        depth: how many rows; ef: breadth of the graph search, at least the depth.
        filters: which items may be returned; None for all.
        hidden: bool (n,) over the entity's rows, those that a shop's rules hide; None for none.
    """

    entity: str
    space: str
    query: Query
    depth: int
    ef: int
    filters: Filters | None = None
    hidden: np.ndarray | None = None


@dataclass(frozen=True)
class SourceResult:
    """A ranking, best first; equal scores by row.

    Attributes:
        rows: int64 (m,) rows of the entity's table; scores: float32 (m,), cosines or BM25.
        left_out: whether the cluster was not there to search, so that little or nothing is found.
    """

    entity: str
    rows: np.ndarray
    scores: np.ndarray
    left_out: bool = False


class Index(Protocol):
    """One published state of the indexes, here or in a cluster. Safe for several threads.

    Attributes:
        one_trip: whether all requests of a `search` cost about as much time as one.
    """

    one_trip: bool

    def search(self, requests: Iterable[SourceRequest]) -> Iterator[SourceResult]:
        """One result per request, in order.

        A local index starts a request when the previous result has been consumed, so that a late
        search can stop in between; a cluster sends all of them in one round trip.
        """
        ...

    def allowed(self, filters: Filters | None, entity: str) -> np.ndarray | None:
        """Bool (n,) over the rows of a table: which may be returned; None for all."""
        ...

    def having(self, query: Query, entity: str) -> np.ndarray:
        """int64 (m,), ascending: the rows of a table that have all needed words of a query, each in
        any form, or are what it is a code of; none if there are no such words."""
        ...

    @property
    def attributes(self) -> Attributes:
        """What items are filtered and counted by."""
        ...

    def cosines(self, query: Query, items: Items, space: str) -> np.ndarray:
        """Float32 (n,): exact cosines with the query; NaN if an item has no such vector."""
        ...

    def columns(self, query: Query, items: Items, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Columns that rankers read (`ranker.features`): those of `names` that it knows."""
        ...

    def display(self, items: Items) -> list[dict[str, Any]]:
        """What a page shows of each item: its id, is_ad, and the fields it has; in any order."""
        ...
