"""Retrieval: the merged results of a system's sources for a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from omnisearch.engine.candidates import Candidates, merge
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import SearchContext
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import SourceRequest, SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import Source


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
            found = source.search(snapshot, query, config.depth(source), allowed)
            # A plug-in may not know of deleted items, which keep their rows until a rebuild.
            live = ~snapshot.generation.tables[source.entity].deleted[found.rows]
            context.results[source.name] = SourceResult(
                found.entity, found.rows[live], found.scores[live]
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
