"""The last step of a search: pins, the blend, and what is out of stock at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from omnisearch.engine.ads.placed import NO_ADS
from omnisearch.engine.blend import Shares
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.query import Query
from omnisearch.engine.ranking import Ranking, blended
from omnisearch.engine.rules.acting import Pin
from omnisearch.engine.snapshot import Snapshot
from omnisearch.engine.sorting import sunk


def placed(
    snapshot: Snapshot,
    query: Query,
    ranking: Ranking,
    sinks: np.ndarray | None,
    shares: Shares | None,
    places: int,
    pins: Sequence[Pin],
) -> Ranking:
    """The ranking with what sinks after all else but pins; both blended if there are shares."""
    first, last = sunk(ranking.order, sinks)
    upper = replace(ranking, order=first, bounded=np.zeros(len(first), bool), total=len(first))
    if shares is not None:
        upper = blended(snapshot, query, upper, shares, places, pins)
    if len(last):
        last = last[~np.isin(last, upper.order)]
    left = places - len(upper.order)
    if not len(last) or left <= 0:
        return replace(upper, total=upper.total + len(last))
    lower = replace(ranking, order=last, bounded=np.zeros(len(last), bool), ads=NO_ADS)
    if shares is not None:
        lower = blended(snapshot, query, lower, shares, left)
    return replace(
        upper,
        order=np.concatenate((upper.order, lower.order)),
        bounded=np.concatenate((upper.bounded, lower.bounded)),
        total=upper.total + len(last),
    )


def shares_of(config: EngineConfig, filters: Filters) -> Shares:
    """The bounds of the blend, without those that a filter makes pointless."""
    return Shares(
        ad_share=1.0 if filters.ads else config.ad_share,
        min_share=0.0 if filters.entity else config.min_share,
    )
