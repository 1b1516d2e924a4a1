"""The search engine: one entry point to every system, over the published indexes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.no_encoder import NoEncoder
from omnisearch.engine.attributes import attribute_kinds
from omnisearch.engine.config import EngineConfig, engine_config
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import TOKENS
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.response import Response
from omnisearch.engine.rules.published import load_rules
from omnisearch.engine.searcher import Searcher
from omnisearch.engine.snapshot import Snapshot, data_time, open_snapshot
from omnisearch.engine.sources import sources_of
from omnisearch.engine.suggest import Suggester, Suggestion
from omnisearch.engine.systems import SYSTEMS, System
from omnisearch.indexer.generation import Generation


class SearchEngine:
    """Searches the live generation of a workspace. Safe to call from several threads.

    Every search uses one snapshot from start to end. `reload` makes the newest one available to
    searches that begin after it.
    """

    def __init__(
        self,
        workspace: Workspace,
        snapshot: Snapshot,
        cache: QueryCache,
        config: EngineConfig,
        token_backend: str = "tantivy",  # noqa: S107
        system: str | None = None,
    ) -> None:
        self.workspace, self.cache, self.config = workspace, cache, config
        self._snapshot, self._token_backend = snapshot, token_backend
        self._only = system
        self._reloading = threading.Lock()

    @classmethod
    def open(
        cls,
        workspace: Workspace | Path | str,
        config: EngineConfig | None = None,
        token_backend: str = "tantivy",  # noqa: S107
        number: int | None = None,
        with_rankers: bool = True,
        system: str | None = None,
        with_rules: bool = True,
        with_ads: bool = True,
    ) -> SearchEngine:
        """Open a generation, its checkpoint and the rankers, each verified.

        Args:
            workspace: the workspace or its folder.
            config: None reads the workspace's settings.
            token_backend: 'tantivy', or 'rank-bm25' (in memory).
            number: of the generation; None is the live one.
            with_rankers: False ranks as without trained rankers.
            with_rules: False answers as without the shop's rules.
            with_ads: False answers as without campaigns.
            system: the only one that will be searched, for a process that searches once: what it
                does not need is not opened.

        Raises:
            InputError: there is no such system.
            NotReady: there is no catalogue, checkpoint or generation yet, or they do not fit.
            Corrupt: a file was damaged.
        """
        if not isinstance(workspace, Workspace):
            workspace = Workspace.open(workspace)
        config = config or engine_config(workspace)
        chosen = None if system is None else SYSTEMS.named(system, "system")
        snapshot = open_snapshot(
            workspace,
            token_backend,
            with_rankers and (chosen is None or chosen.order in ("l1", "full")),
            config.model_threads,
            number,
            config.rerank > 0,
            spaces=chosen is None or not _by_words_alone(chosen),
            later=chosen is not None,
            with_rules=with_rules,
            with_ads=with_ads,
            hides_out_of_stock=config.out_of_stock == "hide",
        )
        cache = QueryCache.open_default(workspace, config)
        return cls(workspace, snapshot, cache, config, token_backend, system)

    @property
    def generation(self) -> int:
        """The number of the generation that the next search answers from."""
        return self._snapshot.generation.number

    @property
    def snapshot(self) -> Snapshot:
        """What the next search answers from; use `at` for several consistent steps."""
        return self._snapshot

    def at(self, snapshot: Snapshot) -> Searcher:
        """A searcher of this snapshot, whatever is published meanwhile."""
        return Searcher(snapshot, self.cache, self.config)

    def search(
        self,
        query: str,
        k: int = 20,
        page: int = 1,
        filters: Filters | None = None,
        explain: bool = False,
        system: str = "full",
        query_language: str | None = None,
        sort: str | None = None,
        facets: Sequence[str] = (),
        user_country: str | None = None,
    ) -> Response:
        """One page of results from the newest snapshot: see `Searcher.search`."""
        self._check(system)
        return self.at(self._snapshot).search(
            query,
            k,
            page,
            filters,
            explain,
            system,
            query_language=query_language,
            sort=sort,
            facets=facets,
            user_country=user_country,
        )

    def rank(
        self, query: str, system: str = "full", k: int = 100, filters: Filters | None = None
    ) -> list[tuple[str, str, float]]:
        """The first k results of the newest snapshot as (entity, id, score)."""
        self._check(system)
        return self.at(self._snapshot).rank(query, system, k, filters)

    def suggest(self, prefix: str, k: int = 8, language: str | None = None) -> list[Suggestion]:
        """What somebody who has typed `prefix` may mean: see `Suggester.suggest`."""
        return self._snapshot.suggester.suggest(prefix, k, language)

    def _check(self, system: str) -> None:
        if self._only not in (None, system):
            raise InputError(
                f"This engine was opened for {self._only!r} alone, got {system!r}.",
                where="system",
                how="Open one without `system` for several.",
            )

    def warm(self, queries: Sequence[str]) -> int:
        """Cache the embeddings of these queries; returns how many were not cached.

        Without embeddings (`Snapshot.embeds`) there is nothing to do.
        """
        snapshot = self._snapshot
        if not snapshot.embeds:
            return 0
        return self.cache.warm(snapshot.encoder, [snapshot.query(text).text for text in queries])

    def reload(self) -> bool:
        """Load the generation, rankers, rules and ads that are live; returns whether any changed.

        Running searches keep their snapshot. On an error the engine keeps its snapshot, and the
        error is raised: NotReady or Corrupt, as for `open`.
        """
        with self._reloading:
            old = self._snapshot
            new = self.open_next()
            self.swap(new)
        return (
            old.generation.number != new.generation.number
            or old.encoder.checkpoint != new.encoder.checkpoint
            or old.rankers_id != new.rankers_id
            or _version(old) != _version(new)
            or old.ads_seen != new.ads_seen
        )

    def open_next(self) -> Snapshot:
        """The generation, rankers, rules and ads that are live, verified; raises like `open`."""
        config = self.config
        return open_snapshot(
            self.workspace,
            self._token_backend,
            threads=config.model_threads,
            rerank=config.rerank > 0,
            like=None if self._only else self._snapshot,
            hides_out_of_stock=config.out_of_stock == "hide",
        )

    def swap(self, snapshot: Snapshot) -> None:
        """Use this snapshot for searches that begin from now on."""
        self._snapshot, self._only = snapshot, None

    def close(self) -> None:
        """Write the cache's counters and close its file."""
        self.cache.close()


def open_suggester(workspace: Workspace) -> Suggester:
    """What suggests from the live generation, without what else searches need.

    Raises:
        NotReady: there is no generation. Corrupt: a file of it or of the rules is damaged.
    """
    generation = Generation.open(workspace, spaces=False, encoder=False)
    hides = engine_config(workspace).out_of_stock == "hide"
    return Snapshot(
        generation,
        NoEncoder(),
        None,
        data_time(generation),
        rules=load_rules(workspace),
        kinds=attribute_kinds(workspace),
        hides_out_of_stock=hides,
    ).suggester


def _version(snapshot: Snapshot) -> int | None:
    return snapshot.rules.number if snapshot.rules else None


def _by_words_alone(system: System) -> bool:
    """Whether all sources of a system are token indexes."""
    sources = sources_of(system.sources)
    return all(source.space == TOKENS and source.search is None for source in sources)
