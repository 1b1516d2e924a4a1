"""The findings of a judging of captions (§3.2.1): which shares are relevant and of high quality,
and how far the judges agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnisearch.evaluation.judging.answers import Answers, all_answers
from omnisearch.evaluation.judging.findings import (
    Agreement,
    agreement_of,
    agreement_whether,
    agrees_with_others,
    grades_of,
    mean_of,
)
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.scale import CAPTIONS, FORMS, WANTED
from omnisearch.evaluation.judging.verdicts import verdicts_of
from omnisearch.evaluation.significance import bootstrap_interval, wilson_interval
from omnisearch.evaluation.systems import Estimate

GOOD, POOR = 4, 1  # relevant and of high quality; irrelevant and of poor quality
PAPER = {GOOD: 0.8784, POOR: 0.0116}  # shares of 10,000 pictures, three ratings each (§3.2.1)

_VALUES = np.array(FORMS[CAPTIONS].values)
_RELEVANT, _HIGH_QUALITY = np.isin(_VALUES, (3, 4)), np.isin(_VALUES, (2, 4))


@dataclass(frozen=True)
class GradeRow:
    """One of the four answers.

    Attributes:
        pictures: the share of pictures of which more than half of the judgments are this one, with
            Wilson's interval.
        judgments: the share of all judgments of these pictures, with a bootstrap over pictures.
        paper: the paper's share; None where it gives none.
    """

    grade: int
    name: str
    pictures: Estimate
    judgments: Estimate
    paper: float | None


@dataclass(frozen=True)
class CategoryRow:
    """The pictures of one category; `good` and `poor` are shares by majority."""

    category: str
    pictures: int
    good: Estimate
    poor: Estimate


@dataclass(frozen=True)
class CaptionJudge:
    """One judge; `good` and `poor` are shares of this judge's own judgments, and `agrees` is the
    share of other judges' judgments of the same pictures that are the same."""

    judge: str
    judgments: int
    cannot_tell: int
    good: float
    poor: float
    agrees: float


@dataclass(frozen=True)
class CaptionReport:
    """All figures of `omnisearch judge report` on captions.

    Attributes:
        measured: number of pictures with WANTED answers and at least one judgment; `grades`,
            `no_majority` and `categories` are over these.
        lacking: number of pictures with fewer than WANTED judgments.
        undecided: number of pictures for which WANTED or more judges all answered "cannot tell".
        judgments: given by all judges. more: pictures with more than WANTED judgments.
        no_majority: the share of pictures of which no answer has more than half of the judgments.
        answers, relevant, quality: agreement on the four answers, on relevance, and on quality.
    """

    name: str
    pictures: int
    measured: int
    judgments: int
    lacking: int
    more: int
    undecided: int
    grades: list[GradeRow]
    no_majority: Estimate
    categories: list[CategoryRow]
    answers: Agreement
    relevant: Agreement
    quality: Agreement
    judges: list[CaptionJudge]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def caption_report(judging: Judging, seed: int = 0) -> CaptionReport:
    """The report on a judging of captions, finished or not; figures without data are NaN."""
    answers = all_answers(judging)
    verdicts = verdicts_of(judging, answers)
    counts = np.array([verdicts[pair].counts for pair in judging.pairs], np.int64)
    counts = counts.reshape(-1, len(_VALUES))
    judged = counts.sum(axis=1)
    settled = np.array([verdicts[pair].settled for pair in judging.pairs], bool)
    measured = settled & (judged > 0)
    categories = np.array([pair.category for pair in judging.pairs.values()])[measured]
    majority = 2 * counts[measured] > judged[measured, None]
    return CaptionReport(
        name=judging.name,
        pictures=len(judging.pairs),
        measured=int(measured.sum()),
        judgments=int(judged.sum()),
        lacking=int((judged < WANTED).sum()),
        more=int((judged > WANTED).sum()),
        undecided=int((settled & (judged == 0)).sum()),
        grades=_grades(counts[measured], majority, seed),
        no_majority=_share(~majority.any(axis=1)),
        categories=[
            _category(category, majority[categories == category])
            for category in sorted(set(categories.tolist()))
        ],
        answers=agreement_of(counts, _VALUES, ("nominal",)),
        relevant=agreement_whether(counts, _RELEVANT),
        quality=agreement_whether(counts, _HIGH_QUALITY),
        judges=[_judge(judge, answers) for judge in answers],
        notes=judging.design.notes,
    )


def _grades(counts: np.ndarray, majority: np.ndarray, seed: int) -> list[GradeRow]:
    """`counts` int64 and `majority` bool are (pictures, 4), a column for each grade."""
    judged = counts.sum(axis=1)
    rows = []
    for grade in FORMS[CAPTIONS].grades:
        column = grade.value - 1
        share = counts[:, column].sum() / judged.sum() if len(judged) else float("nan")
        interval = bootstrap_interval(counts[:, column], judged, seed)
        rows.append(
            GradeRow(
                grade=grade.value,
                name=grade.name,
                pictures=_share(majority[:, column]),
                judgments=Estimate(float(share), *interval),
                paper=PAPER.get(grade.value),
            )
        )
    return rows


def _category(name: str, majority: np.ndarray) -> CategoryRow:
    good, poor = (_share(majority[:, grade - 1]) for grade in (GOOD, POOR))
    return CategoryRow(name, len(majority), good, poor)


def _share(hits: np.ndarray) -> Estimate:
    """The share of bool (pictures,) with Wilson's interval."""
    return Estimate(mean_of(hits), *wilson_interval(int(hits.sum()), len(hits)))


def _judge(judge: str, answers: Mapping[str, Answers]) -> CaptionJudge:
    grades = grades_of(answers[judge])
    return CaptionJudge(
        judge=judge,
        judgments=len(grades),
        cannot_tell=len(answers[judge]) - len(grades),
        good=mean_of(grades == GOOD),
        poor=mean_of(grades == POOR),
        agrees=agrees_with_others(judge, answers),
    )
