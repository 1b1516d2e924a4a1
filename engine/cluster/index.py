"""The index of a generation whose build is in a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.cluster.conditions import Conditions
from omnisearch.engine.filters import NO_FILTERS
from omnisearch.engine.index import TOKENS, Items, SourceRequest, SourceResult
from omnisearch.engine.local_index import LocalIndex, unhidden, without
from omnisearch.engine.query import Query
from omnisearch.indexer.cluster.nodes import Unreachable
from omnisearch.indexer.cluster.segment import RemoteSpace, RemoteTokens, in_order, sifted
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
    what they found; and one between them if rules hide much of that, or updates have replaced it.
    What lies above the build is searched here, and so are the columns.
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
        allowed = [self.allowed(each.filters, each.entity) for each in wanted]
        depths = [each.depth + self._in_vain(each.entity, each.depth) for each in wanted]
        asked = list(map(self._asked, wanted, allowed, depths))
        try:
            found = _each_of(asked, self._collections.ranked([each for each in asked if each]))
        except Unreachable:
            yield from self._left_out(wanted, [empty_result()] * len(wanted))
            return
        joined = map(self._joined, wanted, found, allowed)
        results = [
            without(each.hidden, of) if self._is_whole(each, first, there) else None
            for each, of, first, there in zip(wanted, joined, asked, found, strict=True)
        ]
        short = [at for at, result in enumerate(results) if result is None]
        others = iter(self._counting([wanted[at] for at in short], [found[at] for at in short]))
        for request, some in zip(wanted, results, strict=True):
            result = some or next(others)
            if request.space != TOKENS and not self._collections.nodes.config.int8:
                self._known(request.query)[request.entity, request.space] = result
            yield result

    def _is_whole(self, request: SourceRequest, asked: Asked | None, found: Ranked) -> bool:
        """Whether enough of what was found still counts, or there is no more."""
        more = self._in_vain(request.entity, request.depth)
        depth_of: Callable[[int], int] = scored if request.space == TOKENS else int
        if asked is None or not more or len(found[0]) < asked.depth:
            return True
        if asked.depth < depth_of(request.depth + more):
            return True  # all there are were asked for
        alive = np.count_nonzero(self._layout(request.entity).rows[0][found[0]] >= 0)
        return bool(alive >= depth_of(request.depth))

    def _counting(self, wanted: list[SourceRequest], found: list[Ranked]) -> list[SourceResult]:
        """What is to be found where much of what was `found` is hidden by rules, or no longer
        counts: one more trip, if the items can be named in it."""
        allowed = list(map(self._shown, wanted))
        depths = [each.depth for each in wanted]
        asked = list(map(self._asked, wanted, allowed, depths))
        masks = [self._in_build(each) for each in wanted]
        pairs = [(each, mask) for each, mask in zip(asked, masks, strict=True) if each]
        try:
            there = _each_of(asked, sifted(self._collections, pairs))
        except Unreachable:
            return self._left_out(wanted, found)
        return list(map(self._joined, wanted, there, allowed))

    def _left_out(self, wanted: list[SourceRequest], found: list[Ranked]) -> list[SourceResult]:
        """What is known without the answer of the cluster."""
        shown = map(self._shown, wanted)
        return [replace(each, left_out=True) for each in map(self._joined, wanted, found, shown)]

    def _shown(self, request: SourceRequest) -> np.ndarray | None:
        """Bool (n,) over the rows of a table: which may be shown; None for all."""
        return unhidden(request.hidden, self.allowed(request.filters, request.entity))

    def _in_build(self, request: SourceRequest) -> np.ndarray:
        """Bool (n,) over the points: which count and are not hidden, whatever the filters say."""
        return self._layout(request.entity).alive(0, unhidden(request.hidden, None))

    def cosines(self, query: Query, items: Items, space: str) -> np.ndarray:
        last = getattr(self._last, "of", None)
        if last is None or last[0] is not items or last[1] is not query.vector:
            # All spaces in one trip: whoever asks for one asks for the others next.
            self._last.of = (items, query.vector, self._cosines(query, items))
        columns: dict[str, np.ndarray] = self._last.of[2]
        return columns.get(space, np.full(len(items), np.nan, np.float32))

    def _asked(
        self, request: SourceRequest, allowed: np.ndarray | None, depth: int
    ) -> Asked | None:
        """What to ask the cluster for a request; None if nothing can be found there."""
        entity = request.entity
        if not depth or (allowed is not None and not allowed.any()):
            return None
        found = self._plain(request, depth)
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

    def _in_vain(self, entity: str, depth: int) -> int:
        """How many more to ask for, since some that are found no longer count."""
        if entity not in self._gone:
            self._gone[entity] = int(np.count_nonzero(self._layout(entity).rows[0] < 0))
        return min(self._gone[entity], depth)

    def _joined(
        self, request: SourceRequest, first: Ranked, allowed: np.ndarray | None
    ) -> SourceResult:
        """What the cluster found and what lies above the build, best first: allowed rows alone."""
        entity, query, depth = request.entity, request.query, request.depth
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
        having = self._generation.contents.having(entity)
        for segment, which, places in layout.split(rows):
            yield having[segment], which, places


def _each_of(asked: list[Asked | None], found: list[Ranked]) -> list[Ranked]:
    """The rankings, and an empty one where nothing was asked."""
    there = iter(found)
    return [empty_result() if each is None else next(there) for each in asked]


def _scores_of(rows: np.ndarray, known: SourceResult) -> np.ndarray:
    """float32 (n,): what a ranking gave rows int64 (n,); NaN where they are not in it."""
    order = np.argsort(known.rows)
    sought = known.rows[order]
    at = np.minimum(np.searchsorted(sought, rows), max(len(sought) - 1, 0))
    if not len(sought):
        return np.full(len(rows), np.nan, np.float32)
    return np.where(sought[at] == rows, known.scores[order[at]], np.float32(np.nan))
