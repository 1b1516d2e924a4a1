"""The auction: which of the retrieved ads are shown, and in which order (§5.3).

The relevance model is a gate: an ad that is probably irrelevant is not shown, whatever is bid. The
others are ordered by bid times predicted rate of long clicks, which is what showing one is worth.
Both models read what the rankers read of a candidate, the query's embedding first of all.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from omnisearch.engine.ads.placed import NO_ADS, Placed
from omnisearch.engine.ads.running import Running
from omnisearch.engine.candidates import Candidates
from omnisearch.engine.index import Items
from omnisearch.engine.ranking import ONLY_AD
from omnisearch.engine.sources import AD_SOURCES, Source
from omnisearch.ranker.calibrated import Calibrated
from omnisearch.ranker.features import feature_names

_FIRST = 10  # results


def only_ads(candidates: Candidates, sources: list[Source]) -> np.ndarray:
    """Bool (n,): the candidates that no source but those of ads has found, and no rule pinned."""
    names = [*(source.name for source in sources), "pinned_pin", "pinned_product"]
    columns = candidates.columns
    found = np.zeros(len(candidates), bool)
    for name in names:
        if (ranks := columns.get(f"{name}_rank")) is not None:
            found |= ~np.isnan(ranks)
    return ~found


def auction(
    candidates: Candidates,
    rated_by: np.ndarray,
    gated_by: np.ndarray,
    running: Running,
    engagement: Calibrated | None,
    relevance: Calibrated | None,
    least: float,
) -> Placed:
    """The ads among the candidates that pass the gate, the most valuable first.

    Without an engagement model they are ordered by their bids, and equal bids by relevance. Without
    a relevance model an ad has to be as good as the first results, by L1.

    Args:
        rated_by, gated_by: float32 (n, F), the features of the candidates that the engagement and
            the relevance model read. least: probability of being relevant.
    """
    ranks = [candidates.columns.get(f"{source.name}_rank") for source in AD_SOURCES]
    known = [~np.isnan(each) for each in ranks if each is not None]
    if not known:
        return NO_ADS
    at = np.flatnonzero(np.logical_or.reduce(known))
    unknown = np.full(len(at), np.nan, np.float32)
    relevances = unknown if relevance is None else relevance.predict(gated_by[at])
    fits = _like_first_results(candidates)[at] if relevance is None else relevances >= least
    # What the query excludes is no ad, however relevant it is for the rest of the query.
    passes = fits & ~(gated_by[at, _excluded()] > 0)
    at, relevances = at[passes], relevances[passes]
    if not len(at):
        return NO_ADS
    where = running.places(Items(candidates.entity[at], candidates.row[at]))
    bids = running.bids[where]
    first = np.zeros((len(at), 1), np.float32)  # the logarithm of position 1
    rates = unknown[: len(at)]
    if engagement is not None:
        rates = engagement.predict(np.hstack((rated_by[at], first)))
    values = bids if engagement is None else bids * rates
    best = np.lexsort((-np.nan_to_num(relevances), -values))
    campaigns = [running.campaigns[place] for place in where[best].tolist()]
    return Placed(at[best], campaigns, bids[best], rates[best], relevances[best])


def _like_first_results(candidates: Candidates) -> np.ndarray:
    """Bool (n,): which candidates L1 would have among the first of what was found without ads."""
    scores, others = candidates.columns["l1"], ~candidates.columns[ONLY_AD]
    first = np.sort(scores[others])[-_FIRST:]
    return scores >= (first[0] if len(first) else -np.inf)


@lru_cache(maxsize=1)
def _excluded() -> int:
    return feature_names().index("excluded")
