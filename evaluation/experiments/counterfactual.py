"""What pages that nobody was shown would bring, from a log of other pages (off-policy estimates).

Users are taken to choose an item with the probability that they look at its place, times the
probability that they like the item for the query (the position-based model). What was shown was not
chosen by lot with known chances; the chances are the shares of a query's searches in which the log
has an item at a place. So an item's weight is its place's probability to be looked at in the new
pages, over that of the places where it was shown (Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay
and Wen, "Offline Evaluation of Ranking Policies with Click Models", 2018):

- `same place` compares an item with itself at the same place only. It needs no probability to be
  looked at; what was never shown at its new place brings nothing.
- `any place` corrects for places. What was never shown for the query brings nothing.
- `self-normalised` counts what was never shown as the average of what was (Swaminathan and
  Joachims, 2015).
- `model` knows only how often each item was liked, drawn towards the query's average.
- `doubly robust` starts from the model, and corrects it where the log has the item (Dudík,
  Langford and Li, 2011). Where it does not, the model alone remains.

Weights are clipped at CLIP. Standard errors leave out one group of sessions after another
(jackknife), and estimate all again, also the probabilities to be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnisearch.evaluation.experiments.ratio import Estimate, critical_value, estimate
from omnisearch.evaluation.experiments.shown import GROUPS, PLACES, Shown
from omnisearch.ranker.examination import examination
from omnisearch.ranker.labels import PRIOR_VIEWS

CLIP = 10.0
METHODS = ("same place", "any place", "self-normalised", "model", "doubly robust")
NEVER, NOTHING = -1, -2  # in place of a pair: never shown for the query; the page is shorter


@dataclass(frozen=True, eq=False)
class Counts:
    """A log in counts: of q queries and p pairs at k places (PLACES).

    Attributes:
        searches: float64 (q,). views, choices: float64 (p, k) of pairs.
        query_views: float64 (q, k). query_choices: float64 (q,).
    """

    searches: np.ndarray
    views: np.ndarray
    choices: np.ndarray
    query_views: np.ndarray
    query_choices: np.ndarray

    def without(self, other: Counts) -> Counts:
        return Counts(*(vars(self)[name] - values for name, values in vars(other).items()))


def counts_of(shown: Shown, group: int | None = None) -> Counts:
    """The counts of a log, or of one group of its sessions."""
    searches, rows = np.ones(len(shown.query), bool), np.ones(len(shown.search), bool)
    if group is not None:
        searches = shown.group == group
        rows = searches[shown.search]
    queries, pairs = len(shown.queries), len(shown.pairs)
    pair, place, chosen = shown.pair[rows], shown.place[rows], shown.chosen[rows]
    query = shown.query[shown.search[rows]]

    def table(numbers: np.ndarray, at: np.ndarray, size: int) -> np.ndarray:
        counts = np.bincount(numbers * PLACES + at, minlength=size * PLACES)
        return counts.reshape(size, PLACES).astype(np.float64)

    return Counts(
        searches=np.bincount(shown.query[searches], minlength=queries).astype(np.float64),
        views=table(pair, place, pairs),
        choices=table(pair[chosen], place[chosen], pairs),
        query_views=table(query, place, queries),
        query_choices=np.bincount(query[chosen], minlength=queries).astype(np.float64),
    )


@dataclass(frozen=True, eq=False)
class _Slots:
    """The places of a variant's pages, (q, k) each, in searches: 0 where the page is shorter.

    Attributes:
        asked: the searches, times the probability that the place is looked at.
        kept: the part of `asked` that the log answers for, after clipping.
        weight: before clipping; inf for what was never shown.
        liked, modelled: the probability to be liked, by the log (0 if never shown), and by the
            model.
    """

    asked: np.ndarray
    kept: np.ndarray
    weight: np.ndarray
    liked: np.ndarray
    modelled: np.ndarray


def _slots(counts: Counts, looked: np.ndarray, target: np.ndarray) -> _Slots:
    n, at = counts.searches[:, None], looked[: target.shape[1]]
    pair = np.maximum(target, 0)
    known = target >= 0
    views = np.where(known, (counts.views @ looked)[pair], 0)
    choices = np.where(known, counts.choices.sum(axis=1)[pair], 0)
    asked = np.where(target == NOTHING, 0, n * at)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(views > 1e-9, n * at / views, np.inf)
        liked = np.where(views > 1e-9, choices / views, 0)
    average = _average(counts, looked)[:, None]
    return _Slots(
        asked=asked,
        kept=asked * np.minimum(1, CLIP / np.maximum(weight, 1e-9)),
        weight=weight,
        liked=liked,
        modelled=(choices + PRIOR_VIEWS * average) / (views + PRIOR_VIEWS),
    )


def _average(counts: Counts, looked: np.ndarray) -> np.ndarray:
    """(q,) how often items shown for a query are liked, drawn towards all queries'."""
    views = counts.query_views @ looked
    every = counts.query_choices.sum() / max(views.sum(), 1e-9)
    return (counts.query_choices + PRIOR_VIEWS * every) / (views + PRIOR_VIEWS)


def estimates(
    counts: Counts, looked: np.ndarray, target: np.ndarray, replayed: np.ndarray
) -> np.ndarray:
    """The values of METHODS, items with an action in a search; then the share of searches with one.

    The latter takes the doubly robust probability of each item, and items for independent.

    Args:
        looked: float64 (PLACES,), by `looked_at_in`.
        target: int64 (q, k) pairs of a variant's pages, k at most PLACES; or NEVER, or NOTHING.
        replayed: bool (q,) the queries that count; the pages of the others are NOTHING.
    """
    slots = _slots(counts, looked, target)
    searches = counts.searches[replayed].sum()
    robust = slots.modelled + _part(slots) * (slots.liked - slots.modelled)
    by_place = looked[: target.shape[1]]
    none = np.where(target == NOTHING, 1, 1 - by_place * robust).prod(axis=1)
    any_place = (slots.kept * slots.liked).sum()
    kept = slots.kept.sum()
    sums = [
        _same_place(counts, target),
        any_place,
        any_place * slots.asked.sum() / kept if kept else np.nan,
        (slots.asked * slots.modelled).sum(),
        (slots.asked * robust).sum(),
        (counts.searches * (1 - none)).sum(),
    ]
    return np.array(sums) / searches if searches else np.full(len(sums), np.nan)


def _part(slots: _Slots) -> np.ndarray:
    """(q, k) the part of a place that the log answers for, 0 to 1."""
    return np.divide(slots.kept, slots.asked, out=np.zeros_like(slots.kept), where=slots.asked > 0)


def _same_place(counts: Counts, target: np.ndarray) -> float:
    pair, place = np.maximum(target, 0), np.arange(target.shape[1])
    views = np.where(target >= 0, counts.views[pair, place], 0)
    choices = np.where(target >= 0, counts.choices[pair, place], 0)
    weight = counts.searches[:, None] / np.maximum(views, 1e-9)
    return float((choices * np.minimum(weight, CLIP)).sum())


@dataclass(frozen=True)
class Trust:
    """What the log can say of a variant.

    Attributes:
        searches: replayed. effective: as how many searches of the variant itself they are (Kish).
        never: the share of what would be looked at that was never shown for its query.
        clipped: the further share that clipped weights leave to the model. heaviest: weight.
        low, high: items with an action in a search, whatever the items that the log does not
            answer for are like.
    """

    searches: int
    effective: float
    never: float
    clipped: float
    heaviest: float
    low: float
    high: float


def trust(
    shown: Shown, counts: Counts, looked: np.ndarray, target: np.ndarray, replayed: np.ndarray
) -> Trust:
    """What the log can say of pages; arguments as for `estimates`."""
    slots = _slots(counts, looked, target)
    searches = counts.searches[replayed].sum()
    seen = np.isfinite(slots.weight) & (slots.asked > 0)
    asked = max(slots.asked.sum(), 1e-9)
    never = slots.asked[~seen].sum() / asked
    of_pair = np.zeros(len(shown.pairs))
    of_pair[target[seen]] = np.minimum(slots.weight[seen], CLIP)
    each = np.bincount(
        shown.search, of_pair[shown.pair] * looked[shown.place], len(shown.query)
    )  # (s,) a search's weight
    squares = (each**2).sum()
    low = (slots.kept * slots.liked).sum() / searches
    return Trust(
        searches=int(searches),
        effective=float(each.sum() ** 2 / squares) if squares else 0.0,
        never=float(never),
        clipped=max(0.0, float(1 - slots.kept.sum() / asked - never)),
        heaviest=float(slots.weight[seen].max(initial=0)),
        low=float(low),
        high=float(low + (slots.asked - slots.kept).sum() / searches),
    )


def jackknifed(
    shown: Shown, targets: list[np.ndarray], replayed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The `estimates` of pages (variants, METHODS + 1), and of each group left out (GROUPS, ..)."""
    counts = counts_of(shown)
    looked = looked_at_in(counts)
    whole = np.array([estimates(counts, looked, target, replayed) for target in targets])
    parts = []
    for group in range(GROUPS):
        others = counts.without(counts_of(shown, group))
        at = looked_at_in(others, looked)
        parts.append([estimates(others, at, target, replayed) for target in targets])
    return whole, np.array(parts)


def looked_at_in(counts: Counts, start: np.ndarray | None = None) -> np.ndarray:
    """float64 (PLACES,) the probability that a place is looked at: `examination` of the counts."""
    pair, place = np.nonzero(counts.views)
    views, choices = counts.views[pair, place], counts.choices[pair, place]
    return examination(pair, place, views, choices, PLACES, start)


def interval(value: float, parts: np.ndarray) -> Estimate:
    """A value with its jackknife interval; `parts` (GROUPS,) are without each group."""
    groups = len(parts)
    error = float(np.sqrt((groups - 1) * parts.var()))
    return estimate(float(value), error, critical_value(groups - 1))
