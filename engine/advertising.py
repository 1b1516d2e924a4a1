"""The ads of one search: found before the ranking, auctioned after it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from omnisearch.engine.ad_sources import retrieve_ads
from omnisearch.engine.ads.running import Running
from omnisearch.engine.auction import auction
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.context import SearchContext
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import SourceResult
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import Ranking
from omnisearch.engine.rules.acting import Acting
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sources import AD_SOURCES


@dataclass(frozen=True)
class FoundAds:
    """What the sources of ads found, and among what."""

    running: Running
    results: dict[str, SourceResult]


def find_ads(
    snapshot: Snapshot,
    query: Query,
    config: EngineConfig,
    filters: Filters,
    acting: Acting | None,
    country: str | None,
    context: SearchContext,
) -> FoundAds | None:
    """The ads that fit a query; None if there are none, or no time, or the query is not encoded.

    Args:
        country: of the user; None if it is not known.
    """
    ads = snapshot.ads_of_items
    if ads is None or not config.campaigns or filters.ads is False:
        return None
    running = ads.running(time.time(), country, query.language)
    if running is None or (snapshot.embeds and query.vector is None):
        return None
    if not context.may_begin("ads"):
        return None
    depths = {source.name: config.depth(source) for source in AD_SOURCES}
    floor = snapshot.generation.floor or 0.0
    others = replace(filters, ads=None)  # whether items are nothing but ads is not asked here
    results = retrieve_ads(snapshot.index, query, running, depths, others, acting, floor)
    return FoundAds(running, results) if results else None


def with_ads(
    ranking: Ranking, found: FoundAds, snapshot: Snapshot, config: EngineConfig
) -> Ranking:
    """The ranking with its ads, if its candidates have features."""
    if ranking.features is None:
        return ranking
    X, models = ranking.features, snapshot.ad_models
    engagement = models.engagement if models else None
    relevance = models.relevance if models else None
    least = config.ad_relevance
    ads = auction(ranking.candidates, X, X, found.running, engagement, relevance, least)
    return replace(ranking, ads=ads)
