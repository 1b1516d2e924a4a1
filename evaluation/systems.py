"""Several systems on the same queries: their rankings, metrics and overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.compare import DEPTH, Engine
from omnisearch.evaluation.judged import RELEVANT, Item, ItemGains
from omnisearch.evaluation.metrics import measure
from omnisearch.evaluation.significance import bootstrap_interval

Rankings = dict[str, dict[str, list[Item]]]  # system → query → items, best first
Values = dict[str, dict[str, np.ndarray]]  # system → metric → one value per query

METRICS = {
    "nDCG@10": "ndcg_cut_10",
    "Recall@10": "recall_10",
    "Recall@100": "recall_100",
    "MRR": "recip_rank",
}
# Where relevance is judged, most results may be unknown. These measures are of the judged alone.
UNJUDGED, CONDENSED = "unjudged@10", "condensed nDCG@10"
JUDGED_METRICS = METRICS | {
    CONDENSED: "condensed_ndcg_cut_10",
    "bpref": "bpref",
    UNJUDGED: "unjudged_10",
}


@dataclass(frozen=True)
class Estimate:
    """A mean, over queries or pictures, with its 95% interval."""

    mean: float
    low: float
    high: float


def rank_all(
    engine: Engine,
    queries: Sequence[str],
    systems: Sequence[str],
    progress: Progress | None = None,
) -> Rankings:
    """The first DEPTH items of every system for every query."""
    rankings: Rankings = {system: {} for system in systems}
    engine.warm(queries)  # encode in batches, not one by one
    for done, query in enumerate(queries, 1):
        for system in systems:
            found = engine.rank(query, system, DEPTH)
            rankings[system][query] = [(entity, key) for entity, key, _ in found]
        if progress:
            progress(done, len(queries))
    return rankings


def values_of(
    rankings: Rankings,
    gains: Mapping[str, ItemGains],
    queries: Sequence[str],
    level: float,
    metrics: Mapping[str, str] = METRICS,
) -> Values:
    """Each metric for each of `queries`, all of which must have gains."""
    return {
        system: {
            name: np.array([measure(key)(found[query], gains[query], level) for query in queries])
            for name, key in metrics.items()
        }
        for system, found in rankings.items()
    }


def best_means(metrics: Mapping[str, Mapping[str, Estimate]]) -> dict[str, float]:
    """Each metric's highest mean over the systems; NaN for the share of unjudged results, of which
    no value is better in itself."""
    names = next(iter(metrics.values()), {})
    return {
        name: max(float("nan") if name == UNJUDGED else of[name].mean for of in metrics.values())
        for name in names
    }


def has_relevant(gains: ItemGains, level: float = RELEVANT) -> bool:
    """Whether a query can be measured: it has a relevant item."""
    return any(gain >= level for gain in gains.values())


def estimates(values: Values, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """system → metric → mean and interval; all NaN if there are no queries."""
    return {
        system: {name: _estimate(column, seed) for name, column in columns.items()}
        for system, columns in values.items()
    }


def _estimate(column: np.ndarray, seed: int) -> Estimate:
    if not len(column):
        return Estimate(float("nan"), float("nan"), float("nan"))
    return Estimate(float(column.mean()), *bootstrap_interval(column, seed=seed))


def overlap(a: Sequence[Item], b: Sequence[Item], k: int) -> float:
    """The share of the first k results that two rankings have in common, in any order.

    If both are shorter than k, the share of the longer one; 1 for two empty rankings.
    """
    first, second = set(a[:k]), set(b[:k])
    places = max(len(first), len(second))
    return len(first & second) / places if places else 1.0
