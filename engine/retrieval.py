"""Retrieval: the merged results of a system's sources for a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.engine.candidates import Candidates, merge
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import SearchContext
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import SourceRequest
from omnisearch.engine.query import Query
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import Source, sources_of
from omnisearch.engine.systems import SYSTEMS, System


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
    """Those of the named systems that a snapshot has a source of."""
    systems = [SYSTEMS.named(name, "system") for name in names]
    return [system.name for system in systems if _sources_in(snapshot, system)]


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
) -> Candidates:
    """The merged candidates of the sources, without those that the context does not let begin.

    Each source is read to its fixed depth, and filters apply inside it, so that a filtered search
    is as deep as any other. Sources whose results the context already has are not searched again.
    """
    index = snapshot.index
    asked: list[Source] = []

    def requests() -> Iterator[SourceRequest]:
        for source in sources:
            if source.search is None and _begins(source, query, context):
                asked.append(source)
                depth = config.depth(source)
                yield SourceRequest(source.entity, source.space, query, depth, config.ef, filters)

    for at, result in enumerate(index.search(requests())):
        context.results[asked[at].name] = result
    for source in sources:
        if source.search is not None and _begins(source, query, context):
            allowed = index.allowed(filters, source.entity)
            context.results[source.name] = source.search(
                snapshot, query, config.depth(source), allowed
            )
    context.retrieved = True
    return merge({s.name: context.results[s.name] for s in sources if s.name in context.results})


def _begins(source: Source, query: Query, context: SearchContext) -> bool:
    if source.name in context.results:
        return False
    if source.needs_vector and query.vector is None:
        context.left_out.append(source.name)
        return False
    return context.may_begin(source.name)
