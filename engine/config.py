"""How deep each source is read and how the results are put together."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.settings import check_ranges, load_section

_DEPTHS = (
    *("token_pins", "token_products", "learned_pins", "learned_products"),
    *("pinsage_pins", "itemsage_products", "related_queries", "related"),
)


@dataclass(frozen=True)
class EngineConfig:
    """The settings of a search engine; the `[engine]` table of `omnisearch.toml`.

    Depths are fixed here and never follow from `k` or the page, so that a query's candidates and
    their scores are the same for every page.

    Attributes:
        token_pins, token_products, learned_pins, learned_products, pinsage_pins,
            itemsage_products: candidates read from each source; 0 switches it off.
        related_queries: neighbours read in the query space; `related` of them are shown.
        ef: breadth of the HNSW search; at least the depth is used.
        l1_keep: candidates that L1 passes on to L2: the length of the full feed.
        relevance_weight: share of the relevance head in the L2 score, 0 to 1.
        ad_share: largest share of ads in the feed, unless a filter asks for ads.
        min_share: least share of each entity type, as long as it has candidates.
        rrf_k: the constant of reciprocal rank fusion.
        cache_days: time to live of a cached query embedding.
        cache_entries: most embeddings the cache on disk holds.
        cache_memory: most embeddings held in memory in front of it.
        model_threads: threads of one call of an exported query tower; 0 takes all cores.
    """

    token_pins: int = 150
    token_products: int = 150
    learned_pins: int = 150
    learned_products: int = 150
    pinsage_pins: int = 100
    itemsage_products: int = 100
    related_queries: int = 32
    related: int = 8
    ef: int = 150
    l1_keep: int = 200
    relevance_weight: float = 0.5
    ad_share: float = 0.3
    min_share: float = 0.05
    rrf_k: int = 60
    cache_days: float = 30.0
    cache_entries: int = 200_000
    cache_memory: int = 65_536
    model_threads: int = 0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            **dict.fromkeys(_DEPTHS, (0, 100_000)),
            "ef": (1, 100_000),
            "l1_keep": (1, 100_000),
            "rrf_k": (1, 1_000_000),
            "cache_entries": (1, 1_000_000_000),
            "cache_memory": (1, 1_000_000_000),
            "model_threads": (0, 1024),
            "relevance_weight": (0, 1),
            "ad_share": (0, 1),
            "min_share": (0, 0.5),
        }
        check_ranges("engine", self, ranges)


@dataclass(frozen=True)
class CacheConfig:
    """Where query embeddings are shared; the `[cache]` table of `omnisearch.toml`.

    Attributes:
        url: of a Redis server, such as redis://localhost:6379/0; empty is the workspace's own
            SQLite file.
    """

    url: str = ""


def cache_config(workspace: Workspace, **options: object) -> CacheConfig:
    """As `engine_config`, of the `[cache]` table."""
    return load_section("cache", CacheConfig(), workspace.settings, options)


def engine_config(workspace: Workspace, **options: object) -> EngineConfig:
    """The settings of a workspace: defaults, `omnisearch.toml`, environment, then `options`."""
    return load_section("engine", EngineConfig(), workspace.settings, options)
