"""Combines single judgments into verdicts on pairs, and these into metrics of queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.judging.answers import Answers
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.scale import RELEVANT_FROM, VALUES, WANTED


@dataclass(frozen=True)
class Verdict:
    """The answers about one pair.

    Attributes:
        counts: number of judges who gave each grade of the form, the lowest first.
        cannot_tell: number of judges who could not tell.
    """

    counts: tuple[int, ...]
    cannot_tell: int

    @property
    def judgments(self) -> int:
        return sum(self.counts)

    @property
    def settled(self) -> bool:
        """Whether WANTED or more judges have answered, including "cannot tell"."""
        return self.judgments + self.cannot_tell >= WANTED

    @property
    def undecided(self) -> bool:
        """Whether all WANTED judges could not tell: the pair counts for neither system."""
        return self.settled and not self.judgments

    @property
    def relevant(self) -> bool:
        """Whether more than half of the judgments of a result are relevant; a tie is not a
        majority."""
        agreeing = sum(
            count
            for value, count in zip(VALUES, self.counts, strict=True)
            if value >= RELEVANT_FROM
        )
        return 2 * agreeing > self.judgments

    @property
    def grade(self) -> float:
        """The median grade of a result; the mean of the middle two if their number is even."""
        return float(np.median(np.repeat(VALUES, self.counts)))


def verdicts_of(judging: Judging, answers: Mapping[str, Answers]) -> dict[str, Verdict]:
    """pair → verdict, of all pairs."""
    said: dict[str, list[int | None]] = {pair: [] for pair in judging.pairs}
    for of_judge in answers.values():
        for pair, grade in of_judge.items():
            said[pair].append(grade)
    values = judging.form.values
    return {
        pair: Verdict(tuple(given.count(value) for value in values), given.count(None))
        for pair, given in said.items()
    }


def query_values(
    judging: Judging, verdicts: Mapping[str, Verdict]
) -> dict[str, dict[str, np.ndarray]]:
    """query → metric → (2,), a value for each system in the design's order.

    The metrics are 'relevant' and 'grade' (`means_of`). Queries with an unsettled pair, or with
    only undecided pairs, are left out.
    """
    k, systems = judging.design.k, judging.design.systems
    places: dict[str, dict[str, list[str]]] = {}
    for shown in judging.shown:
        places.setdefault(shown.query, {})[shown.system] = shown.pairs
    values = {}
    for query, by_system in places.items():
        found = {s: [verdicts[pair] for pair in pairs] for s, pairs in by_system.items()}
        if not all(verdict.settled for row in found.values() for verdict in row):
            continue
        means = np.array([means_of(found[system], k) for system in systems])  # (2, 2)
        if not np.isnan(means).any():
            values[query] = {"relevant": means[:, 0], "grade": means[:, 1]}
    return values


def means_of(shown: list[Verdict], k: int) -> tuple[float, float]:
    """The share of the first k places with a relevant result, and the mean of their median grades.

    An empty place counts as irrelevant with the lowest grade; one with an undecided pair is left
    out. NaN if no place is left.
    """
    decided = [verdict for verdict in shown if not verdict.undecided]
    places = k - len(shown) + len(decided)
    if not places:
        return float("nan"), float("nan")
    empty = (k - len(shown)) * VALUES[0]
    relevant = sum(verdict.relevant for verdict in decided)
    return relevant / places, (sum(verdict.grade for verdict in decided) + empty) / places
