"""The index of a generation whose build is in a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.cluster.conditions import Conditions
from omnisearch.engine.filters import NO_FILTERS
from omnisearch.engine.index import TOKENS, Items, SourceRequest, SourceResult
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.query import Query
from omnisearch.indexer.cluster.nodes import Unreachable
from omnisearch.indexer.cluster.segment import RemoteSpace, RemoteTokens, in_order
from omnisearch.indexer.cluster.trips import Asked, Ranked
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.layout import Layout
from omnisearch.indexer.parts.token_index import empty_result
from omnisearch.indexer.parts.tokens_stacked import StackedTokens, scored
from omnisearch.indexer.parts.vectors import EXACT_ROWS
from omnisearch.indexer.parts.vectors_stacked import StackedSpace


class ClusterIndex(LocalIndex):
    """`engine.index.Index` over a generation whose build is in a cluster.

    A search makes two round trips: for the rankings of all sources, and for the exact cosines of
    what they found. What lies above the build is searched here, and so are the columns.
    """

    one_trip = True

    def __init__(self, generation: Generation, kinds: Mapping[str, str] | None = None) -> None:
        super().__init__(generation, kinds)
        self._build = generation.segments[0]
        assert self._build.collections is not None
        self._collections = self._build.collections
        self._conditions = {
            entity: Conditions(self.attributes, self._build.tables[entity].attributes)
            for entity in ITEM_ENTITIES
        }
        self._gone: dict[str, int] = {}  # places of the build that no longer count
        self._last = threading.local()

    def search(self, requests: Iterable[SourceRequest]) -> Iterator[SourceResult]:
        wanted = list(requests)
        asked = [self._asked(each) for each in wanted]
        try:
            found = iter(self._collections.ranked([each for each in asked if each is not None]))
        except Unreachable:
            for request in wanted:
                yield replace(self._joined(request, empty_result()), left_out=True)
            return
        for request, there in zip(wanted, asked, strict=True):
            result = self._joined(request, empty_result() if there is None else next(found))
            if request.space != TOKENS and not self._collections.nodes.config.int8:
                self._known(request.query)[request.entity, request.space] = result
            yield result

    def cosines(self, query: Query, items: Items, space: str) -> np.ndarray:
        last = getattr(self._last, "of", None)
        if last is None or last[0] is not items or last[1] is not query.vector:
            # All spaces in one trip: whoever asks for one asks for the others next.
            self._last.of = (items, query.vector, self._cosines(query, items))
        columns: dict[str, np.ndarray] = self._last.of[2]
        return columns.get(space, np.full(len(items), np.nan, np.float32))

    def _asked(self, request: SourceRequest) -> Asked | None:
        """What to ask the cluster for a request; None if nothing can be found there."""
        entity, depth = request.entity, request.depth
        allowed = self.allowed(request.filters, entity)
        if not depth or (allowed is not None and not allowed.any()):
            return None
        found = self._plain(request, depth + self._in_vain(entity, depth, request.hidden))
        if found is None or entity not in self._conditions:
            return found
        within = None
        if request.filters is not None and request.filters != NO_FILTERS:
            within = self._conditions[entity].of(request.filters)
        few = allowed is not None and int(np.count_nonzero(allowed)) <= EXACT_ROWS
        return replace(found, within=within, exact=few and request.space != TOKENS)

    def _plain(self, request: SourceRequest, depth: int) -> Asked | None:
        """What to ask without filters."""
        entity = request.entity
        if request.space == TOKENS:
            tokens = self._build.tokens.get(entity)
            every = self._generation.tokens.get(entity)
            if not isinstance(tokens, RemoteTokens) or not isinstance(every, StackedTokens):
                return None
            return tokens.asked(request.query.terms, scored(depth), every.among)
        space, vector = self._build.spaces.get((entity, request.space)), request.query.vector
        if not isinstance(space, RemoteSpace) or vector is None or not space.count:
            return None
        depth = min(depth, space.count)
        return Asked(entity, request.space, vector, depth, max(request.ef, depth))

    def _in_vain(self, entity: str, depth: int, hidden: np.ndarray | None) -> int:
        """How many more to ask for, since some that are found no longer count or are hidden."""
        if entity not in self._gone:
            self._gone[entity] = int(np.count_nonzero(self._layout(entity).rows[0] < 0))
        gone = self._gone[entity] + (0 if hidden is None else int(np.count_nonzero(hidden)))
        return min(gone, depth)

    def _joined(self, request: SourceRequest, first: Ranked) -> SourceResult:
        """What the cluster found and what lies above the build, best first."""
        entity, query, depth = request.entity, request.query, request.depth
        allowed, hidden = self.allowed(request.filters, entity), request.hidden
        if hidden is not None:
            allowed = ~hidden if allowed is None else allowed & ~hidden
        layout = self._layout(entity)
        places, scores = first
        kept = layout.rows[0][places] >= 0
        if allowed is not None:
            kept &= allowed[layout.rows[0][places]]
        places, scores = places[kept], scores[kept]
        rows, found = empty_result()
        if request.space == TOKENS:
            tokens = self._generation.tokens.get(entity)
            if isinstance(tokens, StackedTokens):
                rows, found = tokens.search(query.terms, depth, allowed, first=places)
        else:
            space = self._generation.spaces.get((entity, request.space))
            if isinstance(space, StackedSpace) and query.vector is not None:
                ef = max(request.ef, depth)
                above = (places, scores), query.vector, depth, ef, allowed
                rows, found = space.search_above(*above)
        return SourceResult(entity, np.asarray(rows, np.int64), np.asarray(found, np.float32))

    def _cosines(self, query: Query, items: Items) -> dict[str, np.ndarray]:
        """Space → float32 (n,) cosines, NaN where an item has no such vector."""
        columns: dict[str, np.ndarray] = {}
        asked: list[Asked] = []
        wheres: list[tuple[str, np.ndarray, np.ndarray]] = []
        for (entity, name), stacked in self._generation.spaces.items():
            if entity not in ITEM_ENTITIES or query.vector is None:
                continue
            column = columns.setdefault(name, np.full(len(items), np.nan, np.float32))
            part = items.part(entity)
            rows = items.row[part]
            if (known := self._known(query).get((entity, name))) is not None:
                column[part] = _scores_of(rows, known)
            for segment, which, places in self._split(entity, rows):
                space, which = segment.space(entity, name, stacked.dim), part.start + which
                asks = space.present[places] & np.isnan(column[which])
                which, places = which[asks], places[asks]
                if isinstance(space, RemoteSpace) and len(places):
                    asked.append(space.asked_cosines(places, query.vector))
                    wheres.append((name, which, places))
                else:
                    column[which] = space.cosines(places, query.vector)
        for (name, which, places), found in zip(
            wheres, self._collections.ranked(asked), strict=True
        ):
            columns[name][which] = in_order(places, found)
        return columns

    def _known(self, query: Query) -> dict[tuple[str, str], SourceResult]:
        """The rankings by this vector that this thread was last given: their scores are cosines."""
        last = getattr(self._last, "known", None)
        if last is None or last[0] is not query.vector:
            last = self._last.known = (query.vector, {})
        found: dict[tuple[str, str], SourceResult] = last[1]
        return found

    def _layout(self, entity: str) -> Layout:
        """How an entity type's segments are laid out."""
        tokens = self._generation.tokens.get(entity)
        if isinstance(tokens, StackedTokens):
            return tokens.layout
        space = self._generation.spaces[entity, LEARNED]
        assert isinstance(space, StackedSpace)
        return space.layout

    def _split(self, entity: str, rows: np.ndarray) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """The segments that have some of the rows, which of these, and their places there."""
        layout = self._layout(entity)
        having = [each for each in self._generation.segments if entity in each.tables]
        for segment, which, places in layout.split(rows):
            yield having[segment], which, places


def _scores_of(rows: np.ndarray, known: SourceResult) -> np.ndarray:
    """float32 (n,): what a ranking gave rows int64 (n,); NaN where they are not in it."""
    order = np.argsort(known.rows)
    sought = known.rows[order]
    at = np.minimum(np.searchsorted(sought, rows), max(len(sought) - 1, 0))
    if not len(sought):
        return np.full(len(rows), np.nan, np.float32)
    return np.where(sought[at] == rows, known.scores[order[at]], np.float32(np.nan))
