"""Settings of retrieval depths, ranking, the blend and the query cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import check_ranges, load_section
from omnisearch.engine.filters import STOCK
from omnisearch.engine.sources import AD_SOURCES, RELATED, SOURCES, Source


def default_depths() -> dict[str, int]:
    """The depth of each source, of those of ads, and of the related queries."""
    return {source.name: source.depth for source in (*SOURCES.values(), *AD_SOURCES, RELATED)}


@dataclass(frozen=True)
class EngineConfig:
    """The settings of a search engine; the `[engine]` table of `omnisearch.toml`.

    Depths never depend on `k` or the page, so that a query's candidates and their scores are the
    same for every page.

    Attributes:
        depths: source → candidates read from it, if not the source's default depth; 0 disables it.
            `related_queries` are neighbours in the query space.
        related: how many related queries are shown.
        ef: breadth of the HNSW search; at least the depth is used.
        l1_keep: candidates that L1 passes to L2, the length of the full feed.
        rerank: first results of L2 that an exported teacher re-ranks; 0 for none.
        relevance_weight: share of the relevance head in the L2 score, 0 to 1.
        campaigns: whether the ads of campaigns are shown.
        ad_share: maximum share of ads in the feed, unless a filter asks for ads.
        ad_relevance: probability of being relevant that an ad of a campaign needs.
        min_share: minimum share of each entity type while it has candidates.
        rrf_k: the constant of reciprocal rank fusion.
        cache_days: time to live of a cached query embedding.
        cache_entries: maximum number of embeddings in the cache on disk.
        cache_memory: maximum number of embeddings in the cache in memory.
        out_of_stock: what becomes of items that are out of stock, unless a request says it:
            'hide', 'sink' (after all other results) or 'show'.
        model_threads: threads of one call of an exported query tower; 0 uses all cores.
    """

    depths: Mapping[str, int] = field(default_factory=default_depths)
    related: int = 8
    ef: int = 150
    l1_keep: int = 200
    rerank: int = 0
    relevance_weight: float = 0.5
    campaigns: bool = True
    ad_share: float = 0.3
    ad_relevance: float = 0.5
    min_share: float = 0.05
    rrf_k: int = 60
    cache_days: float = 30.0
    cache_entries: int = 200_000
    cache_memory: int = 65_536
    model_threads: int = 0
    out_of_stock: str = "sink"

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "ef": (1, 100_000),
            "l1_keep": (1, 100_000),
            "rerank": (0, 1000),
            "rrf_k": (1, 1_000_000),
            "cache_entries": (1, 1_000_000_000),
            "cache_memory": (1, 1_000_000_000),
            "model_threads": (0, 1024),
            "relevance_weight": (0, 1),
            "ad_share": (0, 1),
            "ad_relevance": (0, 1),
            "min_share": (0, 0.5),
        }
        check_ranges("engine", vars(self), ranges)
        if self.out_of_stock not in STOCK:
            raise InputError(
                f"out_of_stock must be one of {', '.join(STOCK)}, got {self.out_of_stock!r}.",
                where="[engine] out_of_stock",
            )
        check_ranges("engine.depths", self.depths, dict.fromkeys(self.depths, (0, 100_000)))

    def depth(self, source: Source) -> int:
        """How many candidates are read from a source."""
        return self.depths.get(source.name, source.depth)


@dataclass(frozen=True)
class CacheConfig:
    """Where query embeddings are shared; the `[cache]` table of `omnisearch.toml`.

    Attributes:
        url: of a Redis server, such as redis://localhost:6379/0; empty for the workspace's SQLite
            file.
    """

    url: str = ""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise InputError(
                "The cache's URL cannot be used.",
                where="cache url",
                how="Write it as redis://host:6379/0.",
            )


def cache_config(workspace: Workspace, **options: object) -> CacheConfig:
    """Like `engine_config`, for the `[cache]` table."""
    return load_section("cache", CacheConfig(), workspace.settings, options)


def engine_config(workspace: Workspace, **options: object) -> EngineConfig:
    """The settings of a workspace: defaults, `omnisearch.toml`, environment, then `options`."""
    return load_section("engine", EngineConfig(), workspace.settings, options)
