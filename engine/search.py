"""The search engine: one entry point to every system (Figure 4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.normalise import MAX_QUERY_CHARS, normalise, normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.blend import Shares
from omnisearch.engine.config import EngineConfig, engine_config
from omnisearch.engine.explain import explain_hit
from omnisearch.engine.filters import Filters
from omnisearch.engine.given import Given
from omnisearch.engine.hits import hits_of
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.related import choose_related
from omnisearch.engine.response import Related, Response
from omnisearch.engine.scoring import Ranking, Stages, blended, rank_candidates, retrieve_all
from omnisearch.engine.snapshot import Live, open_live
from omnisearch.engine.sources import RELATED, Asked, retrieve
from omnisearch.engine.systems import System, system_named


@dataclass(frozen=True)
class _Answer:
    ranking: Ranking
    query: Asked


class SearchEngine:
    """Searches the live generation of a workspace. Safe to call from several threads.

    Every search holds on to one generation from its first step to its last. `reload` puts the
    newest one in place for the searches that begin after it.
    """

    def __init__(
        self,
        workspace: Workspace,
        live: Live,
        cache: QueryCache,
        config: EngineConfig,
        token_backend: str = "tantivy",  # noqa: S107
    ) -> None:
        self.workspace, self.cache, self.config = workspace, cache, config
        self._live, self._token_backend = live, token_backend
        self._reloading = threading.Lock()

    @classmethod
    def open(
        cls,
        workspace: Workspace | Path | str,
        config: EngineConfig | None = None,
        token_backend: str = "tantivy",  # noqa: S107
    ) -> SearchEngine:
        """Open the live generation, its checkpoint and the rankers, each verified.

        Args:
            workspace: the workspace or its folder.
            config: None reads the workspace's settings.
            token_backend: 'tantivy', or 'rank-bm25' held in memory.

        Raises:
            NotReady: there is no catalogue, checkpoint or generation yet, or they do not fit.
            Corrupt: a file was damaged.
        """
        if not isinstance(workspace, Workspace):
            workspace = Workspace.open(workspace)
        config = config or engine_config(workspace)
        live = open_live(workspace, token_backend, threads=config.model_threads)
        return cls(
            workspace, live, QueryCache.open_default(workspace, config), config, token_backend
        )

    @property
    def generation(self) -> int:
        """The number of the generation that the next search answers from."""
        return self._live.generation.number

    @property
    def live(self) -> Live:
        """What the next search answers from; hold on to it for several steps that must agree."""
        return self._live

    def reload(self) -> bool:
        """Take the generation and rankers that are live now; returns whether any are others.

        Searches under way finish with what they began with. On an error the engine goes on with
        what it has, and the error is raised: NotReady or Corrupt, as for `open`.
        """
        with self._reloading:
            old = self._live
            new = self.open_next()
            self.swap(new)
        return (
            old.generation.number != new.generation.number
            or old.encoder.checkpoint != new.encoder.checkpoint
            or old.rankers_id != new.rankers_id
        )

    def open_next(self) -> Live:
        """The generation and rankers that are live by now, verified; raises as `open` does."""
        return open_live(self.workspace, self._token_backend, threads=self.config.model_threads)

    def swap(self, live: Live) -> None:
        """Answer the searches that begin from now on from this view."""
        self._live = live

    def close(self) -> None:
        """Write the cache's counters and close its file."""
        self.cache.close()

    def search(
        self,
        query: str,
        k: int = 20,
        page: int = 1,
        filters: Filters | None = None,
        explain: bool = False,
        system: str = "full",
        given: Given | None = None,
    ) -> Response:
        """One page of results for a query, with related queries beside them.

        Depths do not follow from `k` or `page`: within a generation a result has one place, on
        whatever page it falls, and pages neither repeat nor lose results. A page beyond the end
        is empty. Queries longer than 512 characters are cut, and a note says so.

        Args:
            k: results a page, at least 1. page: 1 is the first.
            explain: give each hit the scores of all stages and sources.
            system: one of `omnisearch.engine.systems.SYSTEMS`.
            given: the view, embedding and deadline to search with; None takes the newest view,
                encodes the query, and has no deadline.

        Raises:
            InputError: an empty query, k or page below 1, a filter or system that is not known.
        """
        start = time.perf_counter()
        stages = Stages()
        text, notes = asked(query)
        for name, value in (("k", k), ("page", page)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(
                    f"{value!r} is not a number of results or a page.",
                    where=name,
                    how="Give a whole number from 1 on.",
                )
        chosen = system_named(system)
        given = given or self._given(text, chosen)
        stages.lap("query")
        live = given.live
        if chosen.needs_vector and given.vector is None:
            given.left_out.append("query_embedding")
        answer = self._answer(given, text, chosen, filters, page * k, stages)
        if chosen.order in ("l1", "full") and live.rankers is None:
            notes.append("No rankers are trained: results are ordered by cosine and shared words.")
        ranking, searched = answer.ranking, answer.query.text
        if searched != text:
            notes.append(f"Not every word is in the catalogue: searched for '{searched}'.")
        shown = range((page - 1) * k, min(page * k, len(ranking.order)))
        related = self._related(given, answer.query, self.config.related)
        stages.lap("related")
        hits = hits_of(live, *ranking.first(shown), first_rank=shown.start + 1)
        if explain:
            hits = [
                replace(hit, explain=explain_hit(live.rankers, ranking, place))
                for hit, place in zip(hits, shown, strict=True)
            ]
        stages.lap("response")
        return Response(
            query=text,
            searched=searched,
            hits=hits,
            related=related,
            generation=live.generation.number,
            took_ms=(time.perf_counter() - start) * 1000,
            total=ranking.total,
            page=page,
            system=system,
            cached=given.cached if chosen.needs_vector else None,
            stages=stages.ms,
            notes=notes,
            degraded=given.left_out,
        )

    def rank(
        self, query: str, system: str = "full", k: int = 100, filters: Filters | None = None
    ) -> list[tuple[str, str, float]]:
        """The first k results as (entity, id, score), in the order of `search`: without texts.

        Raises InputError as `search` does.
        """
        text, _ = asked(query)
        chosen = system_named(system)
        given = self._given(text, chosen)
        ranking = self._answer(given, text, chosen, filters, k, Stages()).ranking
        codes, rows, scores = ranking.first(range(min(k, len(ranking.order))))
        ids = [given.live.generation.tables[entity].ids for entity in ITEM_ENTITIES]
        return [
            (ITEM_ENTITIES[code], ids[code][row], score)
            for code, row, score in zip(codes.tolist(), rows.tolist(), scores.tolist(), strict=True)
        ]

    def warm(self, queries: Sequence[str]) -> int:
        """Cache the embeddings that searches for these need; returns how many were not cached."""
        live = self._live
        return self.cache.warm(live.encoder, list(map(live.searched, queries)))

    def related(self, query: str, given: Given, most: int) -> list[Related]:
        """The related queries of a query alone; none where its embedding is not given.

        At most `most`, of the neighbours that `EngineConfig.related_queries` reads.

        Raises InputError for an empty query.
        """
        text, _ = asked(query)
        return self._related(given, Asked(given.live.searched(text), given.vector, text), most)

    def _given(self, text: str, system: System) -> Given:
        """The newest view, and the query's embedding where the system needs it."""
        given = Given(self._live)
        if system.needs_vector:
            searched = given.live.searched(text)
            given.vector, given.cached = self.cache.vector(given.live.encoder, searched)
        return given

    def _answer(
        self,
        given: Given,
        text: str,
        system: System,
        filters: Filters | None,
        places: int,
        stages: Stages,
    ) -> _Answer:
        live = given.live
        vector = given.vector if system.needs_vector else None
        query = Asked(live.searched(text), vector, text)
        candidates = retrieve_all(query, system, self.config, filters, given)
        stages.lap("retrieve")
        ranking = rank_candidates(live, candidates, query, system, self.config, stages)
        if system.order == "full":
            ranking = blended(live, ranking, _shares(self.config, filters), places)
            stages.lap("blend")
        return _Answer(ranking, query)

    def _related(self, given: Given, query: Asked, most: int) -> list[Related]:
        if query.vector is None or not most or given.skips(RELATED):
            return []
        live = given.live
        found = retrieve(live.generation, RELATED, query, self.config, None)
        if not len(found.rows):
            return []
        ids = live.generation.tables["query"].ids
        texts = [ids[row] for row in found.rows.tolist()]
        return choose_related(query.text, texts, found.scores, most)


def asked(query: str) -> tuple[str, list[str]]:
    """The query as it is searched, and notes on what was done to it."""
    if not isinstance(query, str):
        raise InputError(f"A query is text, not {type(query).__name__}.", where="query")
    text = normalise_query(query.encode("utf-8", "replace").decode())
    if not any(sign.isprintable() and not sign.isspace() for sign in text):
        raise InputError(
            "The query is empty.", where="query", how="Give at least one word, such as a title."
        )
    if len(query) > 4 * MAX_QUERY_CHARS or len(normalise(query)) > MAX_QUERY_CHARS:
        return text, [f"The query was cut to its first {len(text)} characters."]
    return text, []


def _shares(config: EngineConfig, filters: Filters | None) -> Shares:
    """The bounds of the blend; those that a filter makes pointless are off."""
    if filters is None:
        return Shares(config.ad_share, config.min_share)
    return Shares(
        ad_share=1.0 if filters.ads else config.ad_share,
        min_share=0.0 if filters.entity else config.min_share,
    )
