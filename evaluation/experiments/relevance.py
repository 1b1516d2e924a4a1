"""Relevance of the first results of each variant of an experiment, by judges (§5.1).

People judged what `judged` drew. A variant's relevance is the mean over its judged queries of each
segment (head, torso, tail), weighted by the searches that they stand for, and over the segments by
their searches. Errors come from the delta method over queries: what two variants showed for one
query is compared with itself, so that hard queries do not hide a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments.ratio import Estimate, critical_value, estimate
from omnisearch.evaluation.experiments.store import Kept
from omnisearch.evaluation.judging.answers import all_answers
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.queries import STRATA
from omnisearch.evaluation.judging.scale import WANTED
from omnisearch.evaluation.judging.verdicts import means_of, verdicts_of

# Judged queries of a variant in a segment: with fewer, unless no more were drawn of the segment for
# any, nothing is compared. One query has no spread, and its interval would be far too narrow.
FEW = 10
WEIGHTED = "weighted to traffic"
MEASURES = ("relevant", "grade")


@dataclass(frozen=True)
class RelevanceLine:
    """A variant beside the control, in one segment of queries or in all.

    Attributes:
        measure: 'relevant', the share of the first places with a result that a majority of its
            judges found relevant, or 'grade', the mean of their median grades (1 to 5).
        segment: of STRATA, or WEIGHTED. share: of the searches.
        judged: queries of the control and of the variant. both: those of them that are the same.
        difference: the variant minus the control. Estimates are NaN with fewer queries than FEW.
    """

    variant: str
    measure: str
    segment: str
    share: float
    judged: tuple[int, int]
    both: int
    control: Estimate
    treatment: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Relevance:
    """What judges say of an experiment.

    Attributes:
        k: how many first places are judged. queries: that were drawn. judged: those of them of
            which everything has been judged. lacking: pairs with fewer than WANTED judgments.
        lines: empty while nothing is judged.
    """

    k: int
    queries: int
    judged: int
    lacking: int
    lines: list[RelevanceLine]


@dataclass(frozen=True, eq=False)
class Judged:
    """The values of q queries for v variants.

    Attributes:
        segment: (q,) of STRATA.
        weight: float64 (q, v), 0 where a variant was not drawn.
        values: float64 (q, v, measures), NaN where it is not judged.
    """

    segment: np.ndarray
    weight: np.ndarray
    values: np.ndarray


def relevance_of(workspace: Workspace, kept: Kept) -> Relevance | None:
    """What judges say of an experiment; None if nothing was drawn for them.

    Raises Corrupt if a file of the judging is damaged.
    """
    name = kept.experiment.name
    if not workspace.judging_of(name).is_dir():
        return None
    judging = Judging.open(workspace, name)
    design = judging.design
    if design.experiment != name:
        return None
    verdicts = verdicts_of(judging, all_answers(judging))
    row = {entry.query: number for number, entry in enumerate(judging.queries)}
    column = {variant: number for number, variant in enumerate(design.systems)}
    weight = np.zeros((len(row), len(column)))
    values = np.full((*weight.shape, len(MEASURES)), nan)
    for shown in judging.shown:
        at = row[shown.query], column[shown.system]
        weight[at] = shown.weight
        found = [verdicts[pair] for pair in shown.pairs]
        if all(verdict.settled for verdict in found):
            values[at] = means_of(found, design.k)
    open_ = (weight > 0) & np.isnan(values[:, :, 0])
    segment = np.array([entry.stratum for entry in judging.queries])
    judged = Judged(segment, weight, values)
    return Relevance(
        k=design.k,
        queries=len(row),
        judged=int((~open_.any(axis=1)).sum()),
        lacking=sum(verdict.judgments < WANTED for verdict in verdicts.values()),
        lines=lines_of(judged, design.systems, design.searches)
        if (weight > 0)[~open_].any()
        else [],
    )


def lines_of(
    judged: Judged, variants: list[str], searches: Mapping[str, int]
) -> list[RelevanceLine]:
    """Each variant beside the first: both measures of all, then the first of each segment.

    Args:
        searches: segment → how many the experiment had.
    """
    every = max(sum(searches.values()), 1)
    shares = {name: searches[name] / every for name in STRATA if searches.get(name)}
    wanted = [(measure, WEIGHTED, shares) for measure in MEASURES]
    wanted += [(MEASURES[0], name, {name: 1.0}) for name in shares]
    lines = []
    for place, variant in enumerate(variants[1:], 1):
        two = [0, place]
        for measure, name, parts in wanted:
            values = judged.values[:, two, MEASURES.index(measure)]
            here = ~np.isnan(values) & np.isin(judged.segment, list(parts))[:, None]
            control, treatment, difference = compared(
                judged.segment, judged.weight[:, two], values, parts
            )
            lines.append(
                RelevanceLine(
                    variant=variant,
                    measure=measure,
                    segment=name,
                    share=shares.get(name, 1.0),
                    judged=(int(here[:, 0].sum()), int(here[:, 1].sum())),
                    both=int(here.all(axis=1).sum()),
                    control=control,
                    treatment=treatment,
                    difference=difference,
                )
            )
    return lines


def compared(
    segment: np.ndarray, weight: np.ndarray, values: np.ndarray, shares: Mapping[str, float]
) -> tuple[Estimate, Estimate, Estimate]:
    """The weighted means of two variants, and the second's minus the first's.

    Args:
        segment: (q,) of each query. weight, values: float64 (q, 2), NaN for what is not judged.
        shares: segment → its part of the whole.
    """
    means, variances = np.zeros(3), np.zeros(3)
    freedom = 0
    for name, share in shares.items():
        rows = segment == name
        known = ~np.isnan(values[rows])
        if (known.sum(axis=0) < np.clip(rows.sum(), 1, FEW)).any():
            return _UNKNOWN, _UNKNOWN, _UNKNOWN
        parts = np.where(known, weight[rows], 0)
        parts = share * parts / parts.sum(axis=0)
        filled = np.where(known, values[rows], 0)
        mean = (parts * filled).sum(axis=0)
        influence = parts * (filled - mean / share)  # (n, 2), of sum 0 each
        n = int(known.any(axis=1).sum())
        each = np.column_stack((influence, influence[:, 1] - influence[:, 0]))
        means += (*mean, mean[1] - mean[0])
        variances += n / max(n - 1, 1) * (each**2).sum(axis=0)
        freedom += n - 1
    critical = critical_value(freedom)
    control, treatment, difference = (
        estimate(float(mean), sqrt(variance), critical)
        for mean, variance in zip(means, variances, strict=True)
    )
    return control, treatment, difference


_UNKNOWN = Estimate(nan, nan, nan, nan)
