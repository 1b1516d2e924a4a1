"""Searching one snapshot with any system, page by page (Figure 4)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.advertising import find_ads, with_ads
from omnisearch.engine.auction import only_ads
from omnisearch.engine.blend import Shares
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import NoDeadline, SearchContext
from omnisearch.engine.explain import explain_hit
from omnisearch.engine.facets import Facet, facet_names, facets_of
from omnisearch.engine.filters import NO_FILTERS, Filters
from omnisearch.engine.fitting import NOTHING_FITS, tried, unfit
from omnisearch.engine.hits import hits_of
from omnisearch.engine.index import Items, SourceResult
from omnisearch.engine.matching import Rows, meeting, size, with_all_words
from omnisearch.engine.placing import placed, shares_of
from omnisearch.engine.query import Query
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.ranking import (
    ONLY_AD,
    Ranking,
    Stages,
    moved,
    rank_candidates,
)
from omnisearch.engine.related import choose_related
from omnisearch.engine.response import Related, Response
from omnisearch.engine.retrieval import (
    check_whole,
    needs_vector,
    pinned_alone,
    request_of,
    retrieve,
    sources_in,
    unanswered,
)
from omnisearch.engine.rules.acting import Acting
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sorting import (
    MATCHES_SINK,
    NAMED_SINKS,
    check_sort,
    matches_sink,
    named_sinks,
    sinking,
    sorted_by,
    sorted_matches,
)
from omnisearch.engine.sources import RELATED
from omnisearch.engine.systems import SYSTEMS, System
from omnisearch.indexer.cluster.nodes import Unreachable

WORDS_ALONE = "There are no embeddings yet: the results are found by their words alone."


class Searcher:
    """Answers from one snapshot, whatever is published meanwhile; safe for several threads."""

    def __init__(self, snapshot: Snapshot, cache: QueryCache, config: EngineConfig) -> None:
        self.snapshot, self.cache, self.config = snapshot, cache, config

    def search(
        self,
        query: str | Query,
        k: int = 20,
        page: int = 1,
        filters: Filters | None = None,
        explain: bool = False,
        system: str = "full",
        context: SearchContext | None = None,
        query_language: str | None = None,
        sort: str | None = None,
        facets: Sequence[str] = (),
        user_country: str | None = None,
    ) -> Response:
        """One page of results for a query, with related queries beside them.

        Depths do not depend on `k` or `page`: within a generation a result has one position, and
        pages neither repeat nor lose results. A page beyond the end is empty. Queries longer than
        512 characters are cut, with a note.

        Args:
            query: a text, or a query of this snapshot, with its vector if there was time for it.
            k: results per page, at least 1. page: 1 is the first.
            explain: add the scores of all stages and sources to each hit.
            system: one of `engine.systems.SYSTEMS`.
            context: enforces a deadline; None for no deadline.
            query_language: the code of a text's language, such as 'de'; None if the caller does not
                know it.
            sort: 'newest', or a number attribute such as 'price' ('-price': from the highest), in
                place of relevance (`engine.sorting`).
            facets: names of attributes whose values are counted (`engine.facets`), 'auto' for the
                usual ones.
            user_country: the code of the country that the user is in, such as 'US', for the ads
                of campaigns; None if the caller does not know it.

        Raises:
            InputError: an empty query, k or page below 1, an unknown system, a filter, facet or
                sort by what there is not, or `query_language` is no code.
            NoEmbeddings: all sources of the system need embeddings, and the index has none.
        """
        start, stages = time.perf_counter(), Stages()
        for name, value in (("k", k), ("page", page)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name} must be a positive integer, got {value!r}.", where=name)
        chosen = SYSTEMS.named(system, "system")
        snapshot, context = self.snapshot, context or NoDeadline()
        filters = self._with_stock(filters)
        names = facet_names(snapshot.index, facets)
        if sort is not None:
            check_sort(snapshot, sort)
        read, cached = self._read(query, chosen, query_language)
        stages.lap("query")
        if needs_vector(snapshot, chosen) and read.vector is None:
            context.left_out.append("query_embedding")
        acting = snapshot.acting(read)
        having = with_all_words(snapshot.index, read, acting)
        matches = meeting(snapshot.index, having, filters)
        first = {} if sort is None else sorted_matches(snapshot, read, matches, sort)
        stages.lap("matching")
        ranking, near = self._rank(
            *(read, chosen, filters, page * k, context, stages, acting, sort, first),
            shown=True,
            country=user_country,
        )
        notes = list(read.notes)
        if not snapshot.embeds and chosen.sources is None:
            notes.append(WORDS_ALONE)
        if chosen.order in ("l1", "full") and snapshot.rankers is None:
            notes.append("No rankers are trained: the starter ranker orders the results.")
        if sort is None and named_sinks(snapshot, read, ranking, filters):
            notes.append(NAMED_SINKS)
        elif sort is None and matches_sink(snapshot, matches, filters, ranking.total):
            notes.append(MATCHES_SINK)
        wanted = names if near is None else ()
        counted = self._facets(read, chosen, wanted, filters, having, ranking, context, acting)
        stages.lap("facets")
        shown = range((page - 1) * k, min(page * k, len(ranking.order)))
        floor = snapshot.generation.related_floor
        related = self.related(read, self.config.related, context)
        related = [each for each in related if floor is None or each.score >= floor]
        if near is not None:
            notes.append(NOTHING_FITS)
        stages.lap("related")
        hits = hits_of(snapshot, *ranking.first(shown), first_rank=shown.start + 1, query=read)
        if len(ranking.ads.order):
            of = ranking.ads.by_candidate()
            sold = [of.get(at) for at in ranking.order[shown.start : shown.stop].tolist()]
            hits = [
                hit if campaign is None else replace(hit, is_ad=True, campaign=campaign)
                for hit, campaign in zip(hits, sold, strict=True)
            ]
        if explain:
            hits = [
                replace(hit, explain=explain_hit(snapshot.rankers, ranking, place, acting))
                for hit, place in zip(hits, shown, strict=True)
            ]
        stages.lap("response")
        return Response(
            query=read.typed,
            searched=read.text,
            language=read.language,
            language_source=read.language_source,
            hits=hits,
            related=related,
            generation=snapshot.generation.number,
            took_ms=(time.perf_counter() - start) * 1000,
            total=ranking.total,
            matching=size(matches),
            page=page,
            system=system,
            cached=cached,
            stages=stages.ms,
            notes=notes,
            degraded=context.left_out,
            rules=_named(read, acting) if explain else [],
            nothing_fits=near is not None,
            tried=[] if near is None else tried(read, near, len(related)),
            facets=counted,
        )

    def rank(
        self,
        query: str | Query,
        system: str = "full",
        k: int = 100,
        filters: Filters | None = None,
    ) -> list[tuple[str, str, float]]:
        """The first k results as (entity, id, score), in the order of `search`: without texts, and
        without the ads of campaigns, which are not what a search is measured by.

        Raises InputError and NoEmbeddings like `search`, and Unreachable if a cluster leaves
        something out: what is measured must not depend on that.
        """
        chosen = SYSTEMS.named(system, "system")
        read, _ = self._read(query, chosen)
        filters, acting = self._with_stock(filters), self.snapshot.acting(read)
        context = NoDeadline()
        ranking, _ = self._rank(read, chosen, filters, k, context, Stages(), acting)
        check_whole(context)
        items, scores = ranking.first(range(min(k, len(ranking.order))))
        ids = [self.snapshot.generation.tables[entity].ids for entity in ITEM_ENTITIES]
        places = zip(items.entity.tolist(), items.row.tolist(), scores.tolist(), strict=True)
        return [(ITEM_ENTITIES[code], ids[code][row], score) for code, row, score in places]

    def related(
        self, query: Query, most: int, context: SearchContext | None = None
    ) -> list[Related]:
        """At most `most` queries near this one; none without its vector or time left."""
        if query.vector is None or not most:
            return []
        found = None if context is None else context.results.get(RELATED.name)
        if found is None:
            if context is not None and not context.may_begin(RELATED.name):
                return []
            (found,) = self.snapshot.index.search((request_of(RELATED, query, self.config),))
            if found.left_out and context is not None:
                context.left_out.append(RELATED.name)
        if not len(found.rows):
            return []
        ids = self.snapshot.generation.tables["query"].ids
        texts = [ids[row] for row in found.rows.tolist()]
        return choose_related(query.text, texts, found.scores, most)

    def _read(
        self, query: str | Query, system: System, language: str | None = None
    ) -> tuple[Query, bool | None]:
        """The query, with its vector if the system needs one, and whether that was cached."""
        if isinstance(query, Query):
            needed = needs_vector(self.snapshot, system)
            return (query if needed else query.with_vector(None)), None
        read = self.snapshot.query(query, language)
        if not needs_vector(self.snapshot, system):
            return read, None
        vector, cached = self.cache.vector(self.snapshot.encoder, read.text)
        return read.with_vector(vector), cached

    def _rank(
        self,
        query: Query,
        system: System,
        filters: Filters,
        places: int,
        context: SearchContext,
        stages: Stages,
        acting: Acting | None,
        sort: str | None = None,
        matches: Mapping[str, SourceResult] | None = None,
        shown: bool = False,
        country: str | None = None,
    ) -> tuple[Ranking, float | None]:
        """The ranking, and where nothing fits the query the highest cosine of any item.

        Args:
            matches: the `sorted_matches`, if the results are sorted.
            shown: whether this is for a page, with the ads of campaigns and what stands beside.
            country: of the user.
        """
        snapshot, config = self.snapshot, self.config
        sources = sources_in(snapshot, system)
        blends = system.order == "full" and sort is None
        ads, also = None, dict(matches or {})
        if blends and shown:
            ads = find_ads(snapshot, query, config, filters, acting, country, context)
            also |= ads.results if ads else {}
            stages.lap("ads")
        beside = (RELATED,) if shown and config.related and snapshot.index.one_trip else ()
        candidates = retrieve(
            *(snapshot, query, sources, config, filters, context, acting, also, beside)
        )
        floor, near = snapshot.generation.floor, None
        by_meaning = any(source.space == LEARNED for source in sources)
        if floor is not None and query.vector is not None and by_meaning and not context.left_out:
            near = unfit(snapshot.index, query, candidates, floor, config.ef, context)
        if near is not None:
            candidates, ads = pinned_alone(snapshot.index, filters, acting), None
        if ads is not None:
            candidates.columns[ONLY_AD] = only_ads(candidates, sources)
        stages.lap("retrieve")
        ranking = rank_candidates(
            snapshot, candidates, query, system.order, sources, config, context, stages
        )
        pins = acting.pins if acting and sort is None else []
        moves = acting.moves(ranking.candidates) if acting else None
        if sort is not None:
            ranking = sorted_by(snapshot, query, ranking, sort, matches or {})
        elif moves is not None:
            ranking = moved(ranking, moves)
        if ads is not None:
            ranking = with_ads(ranking, ads, snapshot, config)
            stages.lap("ads")
        shares = shares_of(config, filters) if blends else Shares() if pins else None
        sinks = sinking(snapshot, ranking.candidates, filters)
        ranking = placed(snapshot, query, ranking, sinks, shares, places, pins)
        stages.lap("blend" if blends else "order")
        return ranking, near

    def _with_stock(self, filters: Filters | None) -> Filters:
        """The filters, with the setting's treatment of what is out of stock if they name none."""
        given = filters or NO_FILTERS
        if given.out_of_stock is not None:
            return given
        return replace(given, out_of_stock=self.config.out_of_stock)

    def _facets(
        self,
        query: Query,
        system: System,
        names: Sequence[str],
        filters: Filters,
        having: Rows,
        ranking: Ranking,
        context: SearchContext,
        acting: Acting | None,
    ) -> list[Facet]:
        if not names or not context.may_begin("facets"):
            return []
        snapshot, config = self.snapshot, self.config
        sources = sources_in(snapshot, system)

        def again(others: Filters) -> Items:
            alone = NoDeadline()
            items = retrieve(snapshot, query, sources, config, others, alone, acting)
            if missing := unanswered(alone):
                raise Unreachable(f"The cluster did not answer for {', '.join(missing)}.")
            return items

        found: Items = ranking.candidates
        if (only := ranking.candidates.columns.get(ONLY_AD)) is not None:
            found = Items(found.entity[~only], found.row[~only])
        try:
            return facets_of(snapshot.index, having, found, names, filters, again)
        except Unreachable:  # counts of what was found here alone would be wrong
            context.left_out.append("facets")
            return []


def _named(query: Query, acting: Acting | None) -> list[str]:
    """The names of the rules that act on a query, each once."""
    others = [rule.said for rule in acting.rules] if acting else []
    return list(dict.fromkeys([*query.rules, *others]))
