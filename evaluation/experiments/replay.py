"""What an experiment's variants would have brought, from the log alone: nobody sees them.

Each variant answers the log's queries now; `counterfactual` says what its pages would have brought
in the log's searches, and what of that the log can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY, last_days, time_split
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.searcher import Searcher
from omnisearch.evaluation.experiments.counterfactual import (
    METHODS,
    NEVER,
    NOTHING,
    Counts,
    Trust,
    counts_of,
    interval,
    jackknifed,
    looked_at_in,
    trust,
)
from omnisearch.evaluation.experiments.definition import Experiment
from omnisearch.evaluation.experiments.ratio import Estimate
from omnisearch.evaluation.experiments.running import Arm, open_arms
from omnisearch.evaluation.experiments.shown import Shown, shown_in, shown_of

MOST_UNANSWERED = 0.02  # of what would be looked at: more, and the log does not answer
FEWEST_SEARCHES = 1000  # effective
_FEW_MOVED = 0.1  # of the choices
DECIDING = "doubly robust"
FULFILMENT = "fulfilment"


@dataclass(frozen=True)
class Replayed:
    """A variant on the log's searches.

    Attributes:
        values: method (METHODS, FULFILMENT) → items with an action in a search, or the share of
            searches with one.
        apart: method → the same, variant less control; empty for the control.
        trust: what the log can say of it. why_not: sentences; empty if it answers.
    """

    variant: str
    values: dict[str, Estimate]
    apart: dict[str, Estimate]
    trust: Trust
    why_not: list[str]


@dataclass(frozen=True)
class Replay:
    """All variants of an experiment on one log.

    Attributes:
        days: of the log. learned: whether variants may have learned from these days.
        searches, queries: replayed. of_all: their share of the searches in those days.
        first: results of a page that count.
        logged: items with an action in a replayed search, and the share of searches with one, among
            the first places of the pages that users saw.
        looked_at: the probability that a place is looked at, from the first place on.
        moved: the share of choices of items that were shown at several places.
    """

    name: str
    days: int
    learned: bool
    searches: int
    queries: int
    of_all: float
    first: int
    logged: tuple[float, float]
    looked_at: list[float]
    moved: float
    variants: list[Replayed]

    @property
    def places_known(self) -> bool:
        """Whether the log tells how places differ; otherwise a usual decline is supposed."""
        return self.moved >= _FEW_MOVED

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "places_known": self.places_known}


def replay(
    workspace: Workspace,
    experiment: Experiment,
    days: int | None = None,
    queries: int = 1000,
    first: int = 8,
    progress: Progress | None = None,
) -> Replay:
    """Replay the variants of an experiment on what users saw and did.

    Args:
        days: the last days of the log; None for those that are measured and never learned from (the
            whole of a log that is too short to have them).
        queries: the most frequent ones are replayed. first: results of a page that count, at most
            PLACES.
        progress: counts answered queries.

    Raises:
        NotReady: the log has no impressions with a session and a position, or there is no index.
        InputError: the workspace lacks what a variant names.
    """
    shown, spent, learned = _read(workspace, experiment, days)
    asked = np.bincount(shown.query)
    chosen = np.argsort(-asked, kind="stable")[:queries]
    engine = SearchEngine.open(workspace)
    try:
        arms = open_arms(workspace, experiment, engine.snapshot)
        done = iter(range(1, len(arms) * len(chosen) + 1))
        targets = []
        for arm in arms.values():
            target = np.full((len(shown.queries), first), NOTHING)
            for query, page in _pages(engine, arm, shown, chosen, first):
                target[query, : len(page)] = page
                if progress:
                    progress(next(done), len(arms) * len(chosen))
            targets.append(target)
    finally:
        engine.close()
    counts = counts_of(shown)
    counted = np.isin(np.arange(len(shown.queries)), chosen)
    replayed = counted[shown.query]
    return Replay(
        name=experiment.name,
        days=spent,
        learned=learned,
        searches=int(replayed.sum()),
        queries=len(chosen),
        of_all=float(replayed.mean()),
        first=first,
        logged=_logged(shown, replayed, first),
        looked_at=[round(float(share), 4) for share in looked_at_in(counts)],
        moved=_moved(counts),
        variants=_compared(list(arms), shown, targets, counted),
    )


def _read(
    workspace: Workspace, experiment: Experiment, days: int | None
) -> tuple[Shown, int, bool]:
    """The log, its days, and whether they are more than those that are kept from learning."""
    db = open_catalogue(workspace.catalogue)
    with closing(db.conn):
        window, learned = last_days(time_split(db), days)
        shown = shown_of(shown_in(db, window, experiment.actions))
        ((first,),) = db.conn.execute(
            "SELECT MIN(time) FROM engagements WHERE time >= ?", window[:1]
        )
    if not len(shown.query):
        raise NotReady(
            "The log does not say what users were shown.",
            where=str(workspace.catalogue),
            how="Send or import impressions with `session` and `position`.",
        )
    return shown, -(-(window[1] - first) // DAY), learned


def _pages(
    engine: SearchEngine, arm: Arm, shown: Shown, chosen: np.ndarray, first: int
) -> Iterator[tuple[int, list[int]]]:
    """Query number → the pairs of a variant's page."""
    searcher = Searcher(arm.snapshot, engine.cache, arm.config)
    for query in chosen.tolist():
        found = searcher.rank(shown.queries[query], arm.system, first)
        yield query, [shown.pairs.get((query, entity, key), NEVER) for entity, key, _ in found]


def _logged(shown: Shown, replayed: np.ndarray, first: int) -> tuple[float, float]:
    counted = shown.chosen & (shown.place < first) & replayed[shown.search]
    acted = np.bincount(shown.search[counted], minlength=len(shown.query))[replayed]
    return float(acted.mean()), float((acted > 0).mean())


def _moved(counts: Counts) -> float:
    choices = counts.choices.sum(axis=1)
    several = (counts.views > 0).sum(axis=1) > 1
    return float(choices[several].sum() / max(choices.sum(), 1))


def _compared(
    names: list[str], shown: Shown, targets: list[np.ndarray], replayed: np.ndarray
) -> list[Replayed]:
    counts = counts_of(shown)
    looked = looked_at_in(counts)
    whole, parts = jackknifed(shown, targets, replayed)
    methods = (*METHODS, FULFILMENT)
    found = []
    for place, name in enumerate(names):
        values = {
            method: interval(whole[place, at], parts[:, place, at])
            for at, method in enumerate(methods)
        }
        apart = {
            method: interval(whole[place, at] - whole[0, at], parts[:, place, at] - parts[:, 0, at])
            for at, method in enumerate(methods)
        }
        sure = trust(shown, counts, looked, targets[place], replayed)
        found.append(Replayed(name, values, apart if place else {}, sure, list(why_not(sure))))
    return found


def why_not(found: Trust) -> Iterator[str]:
    if found.never + found.clipped > MOST_UNANSWERED:
        yield (
            f"{found.never:.1%} of what users would look at was never shown for its query, and "
            f"{found.clipped:.1%} too rarely: the log cannot say how it would do."
        )
    if found.effective < FEWEST_SEARCHES:
        yield (
            f"The log is worth {found.effective:,.0f} searches of this variant: too few to tell."
        )
