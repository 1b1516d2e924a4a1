"""Systems measured by the truth of a sample world, which no real catalogue has.

The log knows only what its search showed, and judges only what they were given. A sample world
knows the grade of every item for every query, and how likely a user is to engage with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnisearch.evaluation.systems import Rankings, Values
from omnisearch.world.sessions import fulfilment
from omnisearch.world.truth import Truth

NDCG, FULFILMENT = "nDCG@10 by all true grades", "true fulfilment@8"
SHOWN = 8  # results that a user is shown
_DISCOUNT = 1.0 / np.log2(np.arange(2, 12))


def true_values(
    truth: Truth, rankings: Rankings, queries: Sequence[str], among: np.ndarray | None = None
) -> tuple[Values, dict[str, np.ndarray]]:
    """Each measure for each query: of every system, and of the best possible order.

    Results that are not items of the world are skipped. With `among`, (n,) bool, the world's other
    items are irrelevant.
    """
    values: Values = {
        system: {name: np.zeros(len(queries)) for name in (NDCG, FULFILMENT)} for system in rankings
    }
    ceilings = {name: np.zeros(len(queries)) for name in (NDCG, FULFILMENT)}
    for place, query in enumerate(queries):
        row = truth.query_of[query]
        grades, chances = truth.grades_of_all(row), truth.chances(row)
        if among is not None:
            grades, chances = grades * among, chances * among
        # Examination falls with the position, so the best order is that of the chances themselves.
        ideal, best = -np.sort(-grades)[:10], -np.sort(-chances)[:SHOWN]
        ceilings[NDCG][place] = float(ideal[0] > 0)
        ceilings[FULFILMENT][place] = fulfilment(best)
        for system, found in rankings.items():
            keys = [key for _, key in found[query] if key in truth.item_of]
            rows = [truth.item_of[key] for key in keys[:10]]
            if ideal[0] > 0:
                values[system][NDCG][place] = dcg(grades[rows]) / dcg(ideal)
            values[system][FULFILMENT][place] = fulfilment(chances[rows[:SHOWN]])
    return values, ceilings


def dcg(grades: np.ndarray) -> float:
    """Discounted cumulative gain of at most 10 grades, best place first."""
    return float(grades @ _DISCOUNT[: len(grades)])
