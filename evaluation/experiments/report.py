"""The report of an experiment: each measure of each variant beside the control's."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.experiments.cuped import adjusted_difference
from omnisearch.evaluation.experiments.definition import INTERLEAVE
from omnisearch.evaluation.experiments.interleaving import (
    Preference,
    preference_of,
    wins_of,
)
from omnisearch.evaluation.experiments.measures import (
    FULFILLED,
    REVENUE,
    Measured,
    credits_of,
    measure,
)
from omnisearch.evaluation.experiments.percentiles import percentile_difference
from omnisearch.evaluation.experiments.ratio import Effect, Ratio, difference
from omnisearch.evaluation.experiments.relevance import Relevance, relevance_of
from omnisearch.evaluation.experiments.samples import (
    MISMATCH,
    detectable_effect,
    mismatch,
    planned_error,
)
from omnisearch.evaluation.experiments.scratch import Scratch, opened, unlogged
from omnisearch.evaluation.experiments.searches import DAY_MS, rows_by_user
from omnisearch.evaluation.experiments.segments import Segment, segments
from omnisearch.evaluation.experiments.sequential import always_valid, mixture_spread
from omnisearch.evaluation.experiments.several import corrected
from omnisearch.evaluation.experiments.store import Kept

FEW = 100  # users of a variant: with fewer the normal approximation does not hold
_LATENCY = "latency p99, ms"


@dataclass(frozen=True)
class Line:
    """A measure of a variant and of the control.

    Attributes:
        effect: of all data up to now, its intervals those of one look.
        p_value: of one look, corrected for the number of measures (the deciding one is alone).
    """

    measure: str
    effect: Effect
    p_value: float

    @property
    def share(self) -> bool:
        """Whether it is a share, of searches or of items; otherwise milliseconds, or money."""
        return not self.measure.startswith((_LATENCY, REVENUE))


@dataclass(frozen=True)
class Day:
    """The deciding measure's lift up to the end of a day, with an interval that holds at any look.

    `day` counts from the start, 0 the first.
    """

    day: int
    lift: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A variant beside the control.

    Attributes:
        deciding: fulfilment, with a p-value and intervals that hold however often one looks, and
            adjusted by what the same users did before the start.
        removed: the share of its variance that the adjustment removed.
        detectable: the smallest lift of fulfilment that as many users would show in 80% of cases.
        course: day by day.
    """

    variant: str
    deciding: Effect
    removed: float
    detectable: float
    lines: list[Line]
    course: list[Day]


@dataclass(frozen=True)
class Report:
    """An experiment up to now.

    Attributes:
        users, searches: variant → how many.
        split: the p-value of the planned shares of users; below `samples.MISMATCH` the figures are
            not to be trusted. NaN without users.
        unknown: searches that events name and the log lacks. mixed, robots: as in `Measured`.
        comparisons: empty with fewer than FEW users in a variant, and for an interleaving.
        preference: of an interleaving, how users prefer the second variant.
        segments: of all variants; exploratory. left_out: kind of segments → how many of them have
            too few users.
        relevance: of what the variants showed, by judges; None if nothing was drawn for them.
    """

    name: str
    state: str
    days: int
    users: dict[str, int]
    searches: dict[str, int]
    split: float
    unknown: int
    mixed: int
    robots: int
    comparisons: list[Comparison]
    preference: Preference | None = None
    segments: list[Segment] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    relevance: Relevance | None = None

    @property
    def split_as_planned(self) -> bool:
        return not self.split < MISMATCH

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "split_as_planned": self.split_as_planned}


def report(workspace: Workspace, kept: Kept) -> Report:
    """The report of an experiment that was started.

    Raises:
        InputError: it was not, or no searches are logged. Corrupt: a log is damaged.
    """
    name = kept.experiment.name
    if kept.began is None:
        raise InputError(
            f"The experiment {name!r} has not been started.",
            how=f"Run `omnisearch experiment start {name}`.",
        )
    with opened(workspace) as scratch:
        if kept.experiment.mode == INTERLEAVE:
            return _interleaved(workspace, kept, scratch)
        found = reported(kept, measure(workspace, kept, scratch), unlogged(workspace, scratch))
        compared, left_out = segments(workspace, kept, scratch)
    relevance = relevance_of(workspace, kept)
    return replace(found, segments=compared, left_out=left_out, relevance=relevance)


def _interleaved(workspace: Workspace, kept: Kept, scratch: Scratch) -> Report:
    name, begin = kept.experiment.name, 1000 * (kept.began or 0)
    users, searches, days, wins = 0, 0, 0, array("d")
    for every in rows_by_user(workspace, name, begin):
        rows = [row for row in every if row.experiment == name]
        events = scratch.events(row.request_id for row in rows)
        won, said = wins_of(*credits_of(rows, events, kept.experiment.actions))
        if said.any():
            wins.extend((won[said].sum(), said.sum()))
        users, searches = users + 1, searches + len(rows)
        days = max(days, (rows[-1].time - begin) // DAY_MS + 1)
    return Report(
        name=name,
        state=kept.state,
        days=days,
        users={INTERLEAVE: users},
        searches={INTERLEAVE: searches},
        split=1.0,
        unknown=unlogged(workspace, scratch),
        mixed=0,
        robots=0,
        comparisons=[],
        preference=preference_of(Ratio(*np.array(wins).reshape(-1, 2).T)),
    )


def reported(kept: Kept, found: Measured, unknown: int) -> Report:
    """The report of what was measured."""
    variants = kept.experiment.variants
    places = range(len(variants))
    users = np.bincount(found.variant, minlength=len(variants))
    searches = np.bincount(found.variant, found.searches, len(variants))
    few = min(users) < FEW
    return Report(
        name=kept.experiment.name,
        state=kept.state,
        days=found.last_day + 1,
        users={variants[place].name: int(users[place]) for place in places},
        searches={variants[place].name: int(searches[place]) for place in places},
        split=float(mismatch(users, kept.experiment.shares())),
        unknown=unknown,
        mixed=found.mixed,
        robots=found.robots,
        comparisons=[] if few else [_comparison(kept, found, place) for place in places[1:]],
    )


def _comparison(kept: Kept, found: Measured, place: int) -> Comparison:
    control, treatment = (found.variant == each for each in (0, place))
    before = found.before[control], found.before[treatment]
    sides = [Ratio(*each.T) for each in before]
    ratios = _ratios(found.sums(FULFILLED), control, treatment)
    adjusted = adjusted_difference(*ratios, *sides)
    both = Ratio(
        np.concatenate([each.numerator for each in ratios]),
        np.concatenate([each.denominator for each in ratios]),
    )
    spread = _spread(kept, both, place)
    lines = list(_lines(found, place))
    p_values = corrected({line.measure: line.effect.p_value for line in lines}, [FULFILLED])
    smallest = detectable_effect(both, (ratios[0].users, ratios[1].users))
    return Comparison(
        variant=kept.experiment.variants[place].name,
        deciding=always_valid(adjusted.effect, spread),
        removed=adjusted.removed,
        detectable=smallest / both.value if both.value else float("nan"),
        lines=[Line(line.measure, line.effect, p_values[line.measure]) for line in lines],
        course=list(_course(found, control, treatment, spread)),
    )


def _spread(kept: Kept, both: Ratio, place: int) -> float:
    """Of the mixture: for the narrowest interval when the expected users have come."""
    shares = kept.experiment.shares()
    users = [max(1, round(kept.experiment.users * shares[each])) for each in (0, place)]
    return max(mixture_spread(planned_error(both, (users[0], users[1]))), 1e-9)


def _ratios(
    sums: tuple[np.ndarray, np.ndarray], control: np.ndarray, treatment: np.ndarray
) -> tuple[Ratio, Ratio]:
    above, below = sums
    return Ratio(above[control], below[control]), Ratio(above[treatment], below[treatment])


def _lines(found: Measured, place: int) -> Iterator[Line]:
    control, treatment = (found.variant == each for each in (0, place))
    for name in found.values:
        effect = difference(*_ratios(found.sums(name), control, treatment))
        yield Line(name, effect, effect.p_value)
    effect = percentile_difference(found.times[0], found.times[place], 0.99)
    yield Line(_LATENCY, effect, effect.p_value)


def _course(
    found: Measured, control: np.ndarray, treatment: np.ndarray, spread: float
) -> Iterator[Day]:
    for day in range(found.last_day + 1):
        effect = difference(*_ratios(found.fulfilled(day), control, treatment))
        lift = always_valid(effect, spread).relative
        yield Day(day, lift.value, lift.low, lift.high)
