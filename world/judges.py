"""Three simulated judges who grade results 0 to 3 and disagree in known ways.

The true grade follows from the true relevance. j1 is careful, j2 lenient, j3 strict and biased
against text in another language than the query's; each sometimes errs by one grade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.world.itemtext import item_id
from omnisearch.world.population import END, NO_TEXT, Population
from omnisearch.world.production import Production
from omnisearch.world.relevance import ThemeTree
from omnisearch.world.showcase import SHOWCASES

GRADES = (0.05, 0.25, 0.75)  # lowest relevance of the true grades 1, 2, 3


@dataclass(frozen=True)
class Judge:
    """How a judge deviates from the true grade.

    Attributes:
        slip: probability of an error of one grade in either direction.
        lenient, strict: probability of one grade above, or below, the truth.
        foreign: probability of one grade less for text in another language.
    """

    slip: float
    lenient: float = 0.0
    strict: float = 0.0
    foreign: float = 0.0


JUDGES = {
    "j1": Judge(slip=0.06),
    "j2": Judge(slip=0.08, lenient=0.25),
    "j3": Judge(slip=0.10, strict=0.18, foreign=0.3),
}
TOP, RANDOM_CANDIDATES, BEST, RANDOM_ITEMS = 12, 6, 8, 4  # number of each that are judged
MOST_LOOKED_AT = 4_000  # items of a theme from which the best are chosen


def judgments(
    production: Production, judged: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """The import rows for `judged` queries, sampled by frequency, and the showcases.

    A query's pool: the first production candidates, some of the others, the most relevant items
    of its theme, retrieved or not, and a few random items.
    """
    items, queries = production.items, production.queries
    members = _members(production.tree, items)
    judged = min(judged, len(queries))
    chosen = rng.choice(len(queries), judged, replace=False, p=queries.weight)
    chosen = np.union1d(chosen, np.arange(min(len(SHOWCASES), len(queries))))
    candidates = production.retrieve(chosen, END, rng).rows
    for query, rows in zip(chosen.tolist(), candidates, strict=True):
        rows = rows[rows >= 0]
        extra = rng.permutation(rows[TOP:])[:RANDOM_CANDIDATES]
        anything = rng.integers(0, len(items), RANDOM_ITEMS)
        own = members(int(queries.theme[query]))
        own = own if len(own) <= MOST_LOOKED_AT else rng.choice(own, MOST_LOOKED_AT, replace=False)
        fit = production.relevance(np.array([query]), own)
        best = own[np.argsort(-fit, kind="stable")[:BEST]]
        pool = np.unique(np.concatenate([rows[:TOP], extra, best, anything]))
        truth = production.relevance(np.array([query]), pool)
        grade = np.digitize(truth, GRADES)
        foreign = (items.language[pool] != queries.language[query]) & (items.text[pool] != NO_TEXT)
        for name, judge in JUDGES.items():
            given = grade_by(judge, grade, foreign, rng)
            for row, value in zip(pool.tolist(), given.tolist(), strict=True):
                yield {
                    "query": queries.text[query],
                    "entity": "pin" if row < items.pins else "product",
                    "item_id": item_id(items, row),
                    "grade": value,
                    "judge": name,
                    "time": END,
                }


def _members(tree: ThemeTree, items: Population) -> Callable[[int], np.ndarray]:
    """theme number → the rows of its items."""
    order = np.argsort(items.concept, kind="stable")
    bounds = np.searchsorted(items.concept[order], np.arange(len(tree.level) + 1))

    def members(theme: int) -> np.ndarray:
        level = (np.arange(len(tree.level)), tree.family, tree.interest)[tree.level[theme]]
        concepts = np.flatnonzero(level == theme)
        return np.concatenate([order[bounds[c] : bounds[c + 1]] for c in concepts])

    return members


def grade_by(
    judge: Judge, grade: np.ndarray, foreign: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n,) grades 0..3 that a judge gives to items with these true grades."""
    n = len(grade)
    given = grade.astype(np.int64)
    given += rng.random(n) < judge.lenient
    given -= rng.random(n) < judge.strict
    given -= foreign & (rng.random(n) < judge.foreign)
    given += np.where(rng.random(n) < judge.slip, rng.choice([-1, 1], n), 0)
    return given.clip(0, 3)
