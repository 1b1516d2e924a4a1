"""Retrieval: the merged results of a system's sources for a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.engine.candidates import Candidates, merge
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import (
    COSINES,
    NOTHING_FITS,
    SPELLING,
    NoDeadline,
    SearchContext,
)
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import TOKENS, Index, SourceRequest, SourceResult
from omnisearch.engine.local_index import unhidden
from omnisearch.engine.query import Query
from omnisearch.engine.rules.acting import Acting
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import Source, sources_of
from omnisearch.engine.systems import SYSTEMS, System
from omnisearch.indexer.cluster.nodes import Unreachable


def sources_in(snapshot: Snapshot, system: System) -> list[Source]:
    """The sources of a system that a snapshot has; raises NoEmbeddings if it has none of them."""
    found = _sources_in(snapshot, system)
    if not found and not snapshot.embeds:
        raise NoEmbeddings
    return found


def needs_vector(snapshot: Snapshot, system: System) -> bool:
    """Whether any of these sources is searched by the query's embedding."""
    return any(source.needs_vector for source in sources_in(snapshot, system))


def answered(snapshot: Snapshot, names: Iterable[str]) -> list[str]:
    """Those of the named systems that can find something: one of their sources is indexed."""
    systems = [SYSTEMS.named(name, "system") for name in names]
    return [
        system.name
        for system in systems
        if any(_is_indexed(snapshot, source) for source in _sources_in(snapshot, system))
    ]


def _is_indexed(snapshot: Snapshot, source: Source) -> bool:
    """Whether there is an index for a source: a shop without pins has no PinSage vectors."""
    if source.search is not None:
        return True
    generation = snapshot.generation
    if source.space == TOKENS:
        return source.entity in generation.tokens
    return (source.entity, source.space) in generation.spaces


def _sources_in(snapshot: Snapshot, system: System) -> list[Source]:
    wanted = sources_of(system.sources)
    return [source for source in wanted if snapshot.embeds or not source.needs_vector]


def retrieve(
    snapshot: Snapshot,
    query: Query,
    sources: Sequence[Source],
    config: EngineConfig,
    filters: Filters | None,
    context: SearchContext,
    acting: Acting | None = None,
    also: Mapping[str, SourceResult] | None = None,
    beside: Sequence[Source] = (),
) -> Candidates:
    """The merged candidates of the sources, without those that the context does not let begin.

    Each source is read to its fixed depth, and filters apply inside it, so that a filtered search
    is as deep as any other. Sources whose results the context already has are not searched again.
    Items that the acting rules hide are not returned, and those that they pin are among the
    candidates if filters allow them. The results in `also` are merged as those of a source are.
    Those of the sources `beside` are left in the context for whoever asks for them later.
    """
    index, hidden = snapshot.index, _hidden(acting)
    asked: list[Source] = []
    if query.unspelled:
        context.left_out.append(SPELLING)

    def requests() -> Iterator[SourceRequest]:
        for source in sources:
            if source.search is None and _begins(source, query, context):
                asked.append(source)
                depth = config.depth(source)
                yield SourceRequest(
                    *(source.entity, source.space, query, depth, config.ef, filters),
                    hidden.get(source.entity),
                )
        for source in beside:
            if source.name not in context.results and query.vector is not None:
                asked.append(source)
                yield request_of(source, query, config)

    for at, result in enumerate(index.search(requests())):
        context.results[asked[at].name] = result
    for source in sources:
        if source.search is not None and _begins(source, query, context):
            allowed = unhidden(hidden.get(source.entity), index.allowed(filters, source.entity))
            context.results[source.name] = source.search(
                snapshot, query, config.depth(source), allowed
            )
    context.retrieved = True
    context.left_out += [n for n in unanswered(context) if n not in context.left_out]
    found = {s.name: context.results[s.name] for s in sources if s.name in context.results}
    return merge(found | dict(also or {}) | _pinned(index, filters, acting, hidden))


def retrieve_whole(
    snapshot: Snapshot,
    query: Query,
    sources: Sequence[Source],
    config: EngineConfig,
    also: Mapping[str, SourceResult] | None = None,
) -> Candidates:
    """`retrieve` for what is learned or measured, without filters and rules.

    Raises:
        Unreachable: a cluster did not answer.
    """
    context = NoDeadline()
    candidates = retrieve(snapshot, query, sources, config, None, context, also=also)
    check_whole(context)
    return candidates


def check_whole(context: SearchContext) -> None:
    """Raise Unreachable if a cluster did not answer for a source or a stage."""
    stages = [name for name in (SPELLING, NOTHING_FITS, COSINES) if name in context.left_out]
    if missing := unanswered(context) + stages:
        raise Unreachable(f"The cluster did not answer for {', '.join(missing)}.")


def unanswered(context: SearchContext) -> list[str]:
    """The sources that a cluster was not there to search."""
    return [name for name, result in context.results.items() if result.left_out]


def request_of(source: Source, query: Query, config: EngineConfig) -> SourceRequest:
    """What a source is asked without filters and rules."""
    return SourceRequest(source.entity, source.space, query, config.depth(source), config.ef)


def pinned_alone(index: Index, filters: Filters | None, acting: Acting | None) -> Candidates:
    """The items that the acting rules pin, where nothing else is to be shown."""
    return merge(_pinned(index, filters, acting, _hidden(acting)))


def _hidden(acting: Acting | None) -> dict[str, np.ndarray | None]:
    return {entity: acting.hidden(entity) if acting else None for entity in ITEM_ENTITIES}


def _pinned(
    index: Index,
    filters: Filters | None,
    acting: Acting | None,
    hidden: Mapping[str, np.ndarray | None],
) -> dict[str, SourceResult]:
    """The pinned items that may be shown, as the result of a source for each entity type."""
    found = {}
    pins = acting.pins if acting else []
    for entity in ITEM_ENTITIES if pins else ():
        rows = np.array([pin.row for pin in pins if pin.entity == entity], np.int64)
        allowed, unseen = index.allowed(filters, entity), hidden[entity]
        kept = np.ones(len(rows), bool) if allowed is None else allowed[rows]
        rows = rows[kept if unseen is None else kept & ~unseen[rows]]
        if len(rows):
            found[f"pinned_{entity}"] = SourceResult(entity, rows, np.zeros(len(rows), np.float32))
    return found


def _begins(source: Source, query: Query, context: SearchContext) -> bool:
    if source.name in context.results:
        return False
    if source.needs_vector and query.vector is None:
        context.left_out.append(source.name)
        return False
    return context.may_begin(source.name)
