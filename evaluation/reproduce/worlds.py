"""What only a sample world can be asked: a busier week, the grade of every item, and ceilings.

All of it comes from the world's truth. It is held in memory while models are measured; the
workspaces that models are trained in have no truth to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.splits import evaluation_window, time_split
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.reproduce.pairs import Column, Pair
from omnisearch.evaluation.truth import dcg
from omnisearch.world.busy_week import busy_week
from omnisearch.world.truth import Truth

TRAFFIC = 20  # times the log's: about 8,000 saves of pins in a world of 20,000
GRADED_QUERIES = 3_000
K = 10


@dataclass(frozen=True)
class Graded:
    """A column whose value is nDCG@10 by the true grades of all items of a type.

    Attributes:
        queries: q of them, each with an item of grade 1 or more.
        ideal: (q,) float64, the best DCG@10 that there is.
    """

    entity: str
    queries: list[str]
    ideal: np.ndarray
    truth: Truth

    def values(self, first: Sequence[Sequence[str]]) -> np.ndarray:
        """(q,) nDCG@10 of the ids found for each query, best first."""
        found = np.zeros(len(self.queries))
        for place, (query, keys) in enumerate(zip(self.queries, first, strict=True)):
            grades, _ = self.truth.grades([(query, key) for key in keys[:K]])
            found[place] = dcg(grades) / self.ideal[place]
        return found

    def only(self, queries: set[str]) -> Graded:
        """The column of some of its queries."""
        kept = [place for place, query in enumerate(self.queries) if query in queries]
        chosen = [self.queries[place] for place in kept]
        return Graded(self.entity, chosen, self.ideal[kept], self.truth)


AnyColumn = Column | Graded


def truth_of(base: Workspace) -> Truth | None:
    """The truth of a base, which it has if it is a sample world."""
    return Truth.read(base.truth) if base.truth.exists() else None


def week_of(db: sqlite_utils.Database, truth: Truth, seed: int) -> dict[str, list[Pair]]:
    """'<entity>/<action>' → the pairs of the evaluation week, with TRAFFIC times the searches."""
    return busy_week(truth, seed, evaluation_window(time_split(db)), TRAFFIC)


def graded_columns(
    db: sqlite_utils.Database, truth: Truth, week: Mapping[str, list[Pair]]
) -> dict[str, Graded]:
    """'pin/ndcg' and the like, over queries drawn from those of the week, and by country."""
    asked = sorted({query for pairs in week.values() for query, _ in pairs})
    drawn = np.random.default_rng(0).permutation(len(asked))[:GRADED_QUERIES]
    queries = [asked[place] for place in np.sort(drawn)]
    ideal = np.array([_ideals(truth, query) for query in queries]).reshape(-1, 2)
    country = dict(db.conn.execute("SELECT id, country FROM queries"))
    columns: dict[str, Graded] = {}
    for entity, best in zip(ITEM_ENTITIES, ideal.T, strict=True):
        some = np.flatnonzero(best > 0)
        whole = Graded(entity, [queries[place] for place in some], best[some], truth)
        columns[f"{entity}/ndcg"] = whole
        for code in sorted({str(country.get(query)) for query in whole.queries}):
            mine = {query for query in whole.queries if str(country.get(query)) == code}
            columns[f"{entity}/ndcg {code}"] = whole.only(mine)
    return {name: column for name, column in columns.items() if column.queries}


def _ideals(truth: Truth, query: str) -> tuple[float, float]:
    """The best DCG@10 among pins and among products."""
    grades, pins = truth.grades_of_all(truth.query_of[query]), truth.items.pins
    return dcg(-np.sort(-grades[:pins])[:K]), dcg(-np.sort(-grades[pins:])[:K])


def ceilings(truth: Truth, columns: Mapping[str, AnyColumn]) -> dict[str, np.ndarray]:
    """Column → the value of each pair or query that the truth itself reaches; none of queries.

    Engaged items are ranked by the probability that a user who examines them engages, and those
    that the simulated search never shows come last. Judged items are ranked by their true
    relevance. Items that are equal so far are in random order: the value of a pair is the
    probability that its item is among the first ten. No search knows all this; who was shown what
    by chance is not in it either, so a ceiling is below 1.
    """
    found: dict[str, np.ndarray] = {}
    by_query: dict[str, list[tuple[str, int, int]]] = {}  # column, place, item row
    for name, column in columns.items():
        if isinstance(column, Graded):
            found[name] = np.ones(len(column.queries))
        elif column.entity in ITEM_ENTITIES:
            found[name] = np.zeros(len(column.pairs))
            for place, (query, key) in enumerate(column.pairs):
                by_query.setdefault(query, []).append((name, place, truth.item_of[key]))
    pins = truth.items.pins
    for query, wanted in by_query.items():
        number = truth.query_of[query]
        relevant = truth.relevance_of_all(number)
        likely = truth.chances(number) * ~truth.items.dark
        for name, place, row in wanted:
            scores = relevant if "/relevance" in name else likely
            scores = scores[:pins] if row < pins else scores[pins:]
            own = scores[row if row < pins else row - pins]
            above, equal = np.count_nonzero(scores > own), np.count_nonzero(scores == own)
            found[name][place] = min(1.0, max(0.0, (K - above) / equal))
    return found
