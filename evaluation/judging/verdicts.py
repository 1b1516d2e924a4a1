"""From single judgments to what holds of a pair, and from there to a query's first results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.judging.answers import Answers
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.scale import RELEVANT_FROM, VALUES, WANTED


@dataclass(frozen=True)
class Verdict:
    """What is said about one pair.

    Attributes:
        counts: how many judges gave each of VALUES.
        cannot_tell: how many could not tell.
    """

    counts: tuple[int, ...]
    cannot_tell: int

    @property
    def judgments(self) -> int:
        return sum(self.counts)

    @property
    def settled(self) -> bool:
        """Whether WANTED judges or more have answered, even if not all of them could tell."""
        return self.judgments + self.cannot_tell >= WANTED

    @property
    def undecided(self) -> bool:
        """Whether all those asked could not tell: the pair counts for neither system."""
        return self.settled and not self.judgments

    @property
    def relevant(self) -> bool:
        """Whether more than half of the judgments say so; a tie is no majority."""
        agreeing = sum(
            count
            for value, count in zip(VALUES, self.counts, strict=True)
            if value >= RELEVANT_FROM
        )
        return 2 * agreeing > self.judgments

    @property
    def grade(self) -> float:
        """The median grade, halfway between the middle two where their number is even."""
        return float(np.median(np.repeat(VALUES, self.counts)))


def verdicts_of(judging: Judging, answers: Mapping[str, Answers]) -> dict[str, Verdict]:
    """pair → verdict, of all pairs."""
    said: dict[str, list[int | None]] = {pair: [] for pair in judging.pairs}
    for of_judge in answers.values():
        for pair, grade in of_judge.items():
            said[pair].append(grade)
    return {
        pair: Verdict(tuple(given.count(value) for value in VALUES), given.count(None))
        for pair, given in said.items()
    }


def query_values(
    judging: Judging, verdicts: Mapping[str, Verdict]
) -> dict[str, dict[str, np.ndarray]]:
    """query → metric → (2,), a value for each system in the order of the design.

    'relevant' is the share of the first k places with a relevant result, 'grade' the mean over
    them of the median grade. A place that a system leaves empty is irrelevant and of the lowest
    grade; one with an undecided pair is left out. Queries with a pair that is not settled are not
    in it, nor those with nothing but undecided pairs.
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
        means = np.array([_means(found[system], k) for system in systems])  # (2, 2)
        if not np.isnan(means).any():
            values[query] = {"relevant": means[:, 0], "grade": means[:, 1]}
    return values


def _means(shown: list[Verdict], k: int) -> tuple[float, float]:
    decided = [verdict for verdict in shown if not verdict.undecided]
    places = k - len(shown) + len(decided)
    if not places:
        return float("nan"), float("nan")
    empty = (k - len(shown)) * VALUES[0]
    relevant = sum(verdict.relevant for verdict in decided)
    return relevant / places, (sum(verdict.grade for verdict in decided) + empty) / places
