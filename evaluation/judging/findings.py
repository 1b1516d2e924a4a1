"""The findings of a judging: agreement of the judges, and which system is more relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from omnisearch.evaluation.judging.agreement import (
    LEVELS,
    fleiss_kappa,
    krippendorff_alpha,
    raw_agreement,
)
from omnisearch.evaluation.judging.answers import Answers, all_answers
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.queries import STRATA, UNLOGGED
from omnisearch.evaluation.judging.scale import RELEVANT_FROM, VALUES, WANTED
from omnisearch.evaluation.judging.verdicts import query_values, verdicts_of
from omnisearch.evaluation.significance import Difference, bootstrap_interval, compare_paired
from omnisearch.evaluation.systems import Estimate

ALL, WEIGHTED = "all queries", "weighted to traffic"
METRICS = ("relevant", "grade")


@dataclass(frozen=True)
class Agreement:
    """Agreement on the grades, or on whether a grade is one of some.

    Attributes:
        pairs: number of pairs with two or more judgments, used for `raw` and `alpha`.
        kappa_pairs: number of pairs with exactly WANTED judgments, used for `kappa`.
        alpha: level of measurement → Krippendorff's alpha.
    """

    pairs: int
    raw: float
    kappa: float
    kappa_pairs: int
    alpha: dict[str, float]


@dataclass(frozen=True)
class JudgeRow:
    """One judge.

    Attributes:
        agrees: the share of other judges' judgments of the same pairs with the same grade.
        relevant: the share of this judge's grades that count as relevant.
    """

    judge: str
    judgments: int
    cannot_tell: int
    mean_grade: float
    relevant: float
    agrees: float


@dataclass(frozen=True)
class GroupRow:
    """Both systems on one group of queries; `difference` is the second minus the first, `gain` is
    that divided by the first's mean."""

    group: str
    queries: int
    systems: dict[str, Estimate]
    difference: Difference
    gain: float


@dataclass(frozen=True)
class JudgingReport:
    """All figures of `omnisearch judge report`.

    Attributes:
        measured: number of queries whose pairs are all decided; the figures are over these.
        lacking: number of pairs with fewer than WANTED judgments.
        undecided: number of pairs for which WANTED or more judges all answered "cannot tell".
        judgments: grades given by all judges. more: pairs with more than WANTED judgments.
        metrics: 'relevant' (the share of the first k results that a majority found relevant) and
            'grade' (the mean of their median grades). Empty of an experiment, whose own report has
            them.
    """

    name: str
    systems: list[str]
    k: int
    queries: int
    measured: int
    pairs: int
    judgments: int
    lacking: int
    more: int
    undecided: int
    grades: Agreement
    relevant: Agreement
    judges: list[JudgeRow]
    metrics: dict[str, list[GroupRow]]
    notes: list[str]
    experiment: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def report(judging: Judging, seed: int = 0) -> JudgingReport:
    """The report on a judging, finished or not; figures without data are NaN."""
    design, answers = judging.design, all_answers(judging)
    verdicts = verdicts_of(judging, answers)
    counts = np.array([verdicts[pair].counts for pair in judging.pairs], np.int64)
    counts = counts.reshape(-1, len(VALUES))
    judged = counts.sum(axis=1)
    values = {} if design.experiment else query_values(judging, verdicts)
    metrics = () if design.experiment else METRICS
    waiting = {pair.query for key, pair in judging.pairs.items() if not verdicts[key].settled}
    return JudgingReport(
        name=judging.name,
        systems=design.systems,
        k=design.k,
        queries=len(judging.queries),
        measured=len(judging.queries) - len(waiting) if design.experiment else len(values),
        pairs=len(judging.pairs),
        judgments=int(judged.sum()),
        lacking=int((judged < WANTED).sum()),
        more=int((judged > WANTED).sum()),
        undecided=sum(verdict.undecided for verdict in verdicts.values()),
        grades=agreement_of(counts, np.array(VALUES), LEVELS),
        relevant=agreement_whether(counts, np.array(VALUES) >= RELEVANT_FROM),
        judges=[_judge(judge, answers) for judge in answers],
        metrics={name: _groups(judging, values, name, seed) for name in metrics},
        notes=design.notes,
        experiment=design.experiment,
    )


def agreement_whether(counts: np.ndarray, chosen: np.ndarray) -> Agreement:
    """Agreement on whether a grade is one of some.

    Args:
        counts: int64 (pairs, values), how many judges gave each grade. chosen: bool (values,).
    """
    others = counts[:, ~chosen].sum(axis=1)
    two_ways = np.stack([others, counts[:, chosen].sum(axis=1)], axis=1)
    return agreement_of(two_ways, np.array([0, 1]), LEVELS[:1])


def agreement_of(counts: np.ndarray, values: np.ndarray, levels: Sequence[str]) -> Agreement:
    """Agreement on the grades, from `counts` int64 (pairs, values)."""
    judged = counts.sum(axis=1)
    return Agreement(
        pairs=int((judged > 1).sum()),
        raw=raw_agreement(counts),
        kappa=fleiss_kappa(counts, WANTED),
        kappa_pairs=int((judged == WANTED).sum()),
        alpha={level: krippendorff_alpha(counts, values, level) for level in levels},
    )


def _judge(judge: str, answers: Mapping[str, Answers]) -> JudgeRow:
    grades = grades_of(answers[judge])
    return JudgeRow(
        judge=judge,
        judgments=len(grades),
        cannot_tell=len(answers[judge]) - len(grades),
        mean_grade=mean_of(grades),
        relevant=mean_of(grades >= RELEVANT_FROM),
        agrees=agrees_with_others(judge, answers),
    )


def grades_of(answers: Answers) -> np.ndarray:
    """The grades among a judge's answers, float64 (judgments,)."""
    return np.array([grade for grade in answers.values() if grade is not None], np.float64)


def agrees_with_others(judge: str, answers: Mapping[str, Answers]) -> float:
    """The share of other judges' judgments of the same pairs with the same grade; NaN if none."""
    own = answers[judge]
    same = [
        own[pair] == grade
        for other, given in answers.items()
        for pair, grade in given.items()
        if other != judge and grade is not None and own.get(pair) is not None
    ]
    return mean_of(np.array(same, np.float64))


def mean_of(values: np.ndarray) -> float:
    """The mean; NaN of none."""
    return float(values.mean()) if len(values) else float("nan")


def _groups(
    judging: Judging, values: Mapping[str, dict[str, np.ndarray]], metric: str, seed: int
) -> list[GroupRow]:
    """A row per stratum, one for all queries and, if sampled, one weighted by traffic."""
    measured = [entry for entry in judging.queries if entry.query in values]
    table = np.array([values[entry.query][metric] for entry in measured]).reshape(-1, 2)
    strata = np.array([entry.stratum for entry in measured])
    weights = np.array([entry.weight for entry in measured])
    systems = judging.design.systems
    rows = [
        _group(stratum, systems, table[strata == stratum], None, seed)
        for stratum in (*STRATA, UNLOGGED)
        if (strata == stratum).any()
    ]
    rows.append(_group(ALL, systems, table, None, seed))
    if len(set(weights.tolist())) > 1:
        rows.append(_group(WEIGHTED, systems, table, weights / weights.mean(), seed))
    return rows


def _group(
    name: str, systems: Sequence[str], table: np.ndarray, weights: np.ndarray | None, seed: int
) -> GroupRow:
    """`table` is (queries, 2), one column per system; `weights` (queries,) have a mean of 1."""
    share = np.ones(len(table)) if weights is None else weights
    total = table * share[:, None]
    estimates = {}
    for system, column in zip(systems, total.T, strict=True):
        estimates[system] = Estimate(mean_of(column), *bootstrap_interval(column, share, seed))
    difference = compare_paired(total[:, 0], total[:, 1], seed)
    low, high = bootstrap_interval(total[:, 1] - total[:, 0], share, seed)
    first = estimates[systems[0]].mean
    return GroupRow(
        group=name,
        queries=len(table),
        systems=estimates,
        difference=replace(difference, low=low, high=high),
        gain=difference.mean / first if first else float("nan"),
    )
