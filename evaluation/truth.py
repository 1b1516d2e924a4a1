"""Systems measured by the truth of a sample world, which no real catalogue has.

The log knows only what its search showed, and judges only what they were given. A sample world
knows the grade of every item for every query, and how likely a user is to engage with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.significance import Difference, compare_paired
from omnisearch.evaluation.systems import Estimate, Rankings, Values, estimates
from omnisearch.world.sessions import fulfilment
from omnisearch.world.truth import Truth

NDCG, FULFILMENT = "nDCG@10 by all true grades", "true fulfilment@8"
SHOWN = 8  # results that a user is shown
_DISCOUNT = 1.0 / np.log2(np.arange(2, 12))


@dataclass(frozen=True)
class TrueTable:
    """Every system by a sample world's truth.

    Attributes:
        queries: number of measured queries.
        metrics: system → measure → mean with its interval.
        ceiling: measure → its mean for the best possible order of all items.
        against: measure → each other system → the last system's mean minus that one's.
    """

    queries: int
    metrics: dict[str, dict[str, Estimate]]
    ceiling: dict[str, float]
    against: dict[str, dict[str, Difference]]


def true_table(
    truth: Truth, rankings: Rankings, queries: Sequence[str], seed: int = 0
) -> TrueTable | None:
    """`rankings` of all systems by the truth, the last system against each of the others.

    Queries that the world does not know are left out; None if it knows none.
    """
    known = [query for query in queries if query in truth.query_of]
    if not known:
        return None
    values, ceilings = true_values(truth, rankings, known)
    *others, last = rankings
    return TrueTable(
        queries=len(known),
        metrics=estimates(values, seed),
        ceiling={name: float(column.mean()) for name, column in ceilings.items()},
        against={
            name: {
                other: compare_paired(values[other][name], values[last][name], seed)
                for other in others
            }
            for name in ceilings
        },
    )


def true_values(
    truth: Truth, rankings: Rankings, queries: Sequence[str]
) -> tuple[Values, dict[str, np.ndarray]]:
    """Each measure for each query: of every system, and of the best possible order.

    Results that are not items of the world are skipped.
    """
    values: Values = {
        system: {name: np.zeros(len(queries)) for name in (NDCG, FULFILMENT)} for system in rankings
    }
    ceilings = {name: np.zeros(len(queries)) for name in (NDCG, FULFILMENT)}
    for place, query in enumerate(queries):
        grades, chances = truth.of_query(query)
        # Examination falls with the position, so the best order is that of the chances themselves.
        ideal, best = -np.sort(-grades)[:10], -np.sort(-chances)[:SHOWN]
        ceilings[NDCG][place] = float(ideal[0] > 0)
        ceilings[FULFILMENT][place] = fulfilment(best)
        for system, found in rankings.items():
            keys = [key for _, key in found[query] if key in truth.item_of]
            rows = [truth.item_of[key] for key in keys[:10]]
            if ideal[0] > 0:
                values[system][NDCG][place] = _dcg(grades[rows]) / _dcg(ideal)
            values[system][FULFILMENT][place] = fulfilment(chances[rows[:SHOWN]])
    return values, ceilings


def _dcg(grades: np.ndarray) -> float:
    return float(grades @ _DISCOUNT[: len(grades)])
