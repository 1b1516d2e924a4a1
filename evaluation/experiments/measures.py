"""What the logs of a service say of an experiment, in sums of each user.

One user's rows are in memory at a time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from types import MappingProxyType

import numpy as np
import orjson

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.searches import Logged
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments.definition import Experiment
from omnisearch.evaluation.experiments.new_items import NEW, Item, created_of, new_among
from omnisearch.evaluation.experiments.percentiles import Times
from omnisearch.evaluation.experiments.scratch import Events, Scratch
from omnisearch.evaluation.experiments.searches import (
    DAY_MS,
    Search,
    has,
    is_mixed,
    is_robot,
    rows_by_user,
    searches_of,
)
from omnisearch.evaluation.experiments.store import Kept

REFORMULATED_MS = 5 * 60 * 1000  # in which another query, after one in vain, is its new wording
REVENUE = "revenue"
FULFILLED, GCTR, ZERO, REFORMULATED = "fulfilment", "gctr", "no results", "reformulated"
ACTED = {name.replace("_", " "): name for name in ("click", "save", "add_to_cart", "checkout")}


@dataclass(frozen=True)
class Prices:
    """Product → its price, of those with prices in one currency."""

    currency: str
    of: Mapping[str, float]


NO_PRICES = Prices("", {})


@dataclass(frozen=True, eq=False)
class Measured:
    """What n users did in an experiment since it was started.

    Attributes:
        variant: int (n,) place of each user's variant.
        searches: float64 (n,).
        values: measure → float64 (n,), the sum over each user's searches: of those in which it
            happened; of one that begins with REVENUE, the prices of what was bought; of NEW, the
            new items that were shown.
        known: float64 (n,) how many items were shown of which is known whether they are new.
        days: int (d, 4) of each user and day with a search: user, day since the start, fulfilled
            searches, searches.
        times: how long searches took, of each variant.
        before: float64 (n, 2) of each user before the start: fulfilled searches, and searches.
        mixed: users of several variants, or of one that the experiment does not have, whose
            searches are left out. robots: and those with more than MOST_A_DAY searches in a day.
    """

    variant: np.ndarray
    searches: np.ndarray
    values: Mapping[str, np.ndarray]
    known: np.ndarray
    days: np.ndarray
    times: Sequence[Times]
    before: np.ndarray
    mixed: int
    robots: int

    @property
    def last_day(self) -> int:
        """The last day with a search; -1 without any."""
        return int(self.days[:, 1].max(initial=-1))

    def sums(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """(n,) sum of a measure of each user, and (n,) what it is a share of: the user's
        searches, or of NEW the items that were shown."""
        return self.values[measure], self.known if measure == NEW else self.searches

    def fulfilled(self, until: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) fulfilled searches of each user, and (n,) all, up to the end of a day."""
        user, _, fulfilled, searches = self.days[self.days[:, 1] <= until].T
        n = len(self.variant)
        return np.bincount(user, fulfilled, n), np.bincount(user, searches, n)


def measure(workspace: Workspace, kept: Kept, scratch: Scratch) -> Measured:
    """Read the log of an experiment's searches, user by user.

    Args:
        scratch: with the events; it takes the times of searches.

    Raises:
        InputError: no searches are logged. Corrupt: a log is damaged.
    """
    experiment = kept.experiment
    begin = 1000 * (kept.began or kept.history[0].time)
    by_user = rows_by_user(workspace, experiment.name, begin)
    created = created_of(workspace, scratch.items("impression"))
    return measured(experiment, by_user, scratch, begin, prices_of(workspace, scratch), created)


def prices_of(workspace: Workspace, scratch: Scratch) -> Prices:
    """The catalogue's prices of what was bought, in the currency that most of it has."""
    bought = [key for entity, key in scratch.items("checkout") if entity == "product"]
    db = open_catalogue(workspace.catalogue)
    with closing(db.conn):
        rows = db.conn.execute(
            "SELECT id, currency, price FROM products "
            "WHERE price > 0 AND currency IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
            [orjson.dumps(sorted(bought)).decode()],
        ).fetchall()
    if not rows:
        return NO_PRICES
    ((currency, _),) = Counter(currency for _, currency, _ in rows).most_common(1)
    return Prices(currency, {key: price for key, given, price in rows if given == currency})


def measured(
    experiment: Experiment,
    by_user: Iterable[Sequence[Logged]],
    scratch: Scratch,
    begin: int,
    prices: Prices = NO_PRICES,
    created: Mapping[Item, int] = MappingProxyType({}),
) -> Measured:
    """The measures of the rows of users, each user's by time, those before the start with them.

    Args:
        scratch: with the events; it takes the times of searches. begin: milliseconds.
        prices: of what was bought. created: of `created_of`.
    """
    places = {variant.name: place for place, variant in enumerate(experiment.variants)}
    variants, days, counts = array("q"), array("q"), array("d")
    values: dict[str, array[float]] = {}
    mixed = robots = 0
    for rows in by_user:
        searches = searches_of((row for row in rows if row.experiment == experiment.name), places)
        if is_mixed(searches):
            mixed += 1
            continue
        if is_robot(searches):
            robots += 1
            continue
        events, user = scratch.events(row.request_id for row in rows), len(variants)
        variants.append(searches[0].variant)
        scratch.add_times(variants[-1], user, [search.took_ms for search in searches])
        theirs = _values(searches, events, experiment, prices)
        for name, each in theirs.items():
            values.setdefault(name, array("d")).append(reduce(add, each, 0.0))
        on = [(search.began - begin) // DAY_MS for search in searches]
        done_on = Counter(day for day, done in zip(on, theirs[FULFILLED], strict=True) if done)
        for day, every in Counter(on).items():
            days.extend((user, day, done_on[day], every))
        new = (new_among(_shown(search, events), created, search.began) for search in searches)
        before = searches_of((row for row in rows if row.time < begin), {})
        done = sum(has(search, events, experiment.actions) for search in before)
        counts.extend((len(searches), *map(sum, zip(*new, strict=True)), done, len(before)))
    # (n, 5) searches, new items shown, those known to be or not; before: fulfilled, searches
    of_users = np.array(counts).reshape(-1, 5)
    sums = {name: np.array(each) for name, each in values.items()}
    sums = {name: each for name, each in sums.items() if name not in ACTED or each.any()}
    if of_users[:, 2].any():
        sums[NEW] = of_users[:, 1]
    return Measured(
        variant=np.array(variants),
        searches=of_users[:, 0],
        values=sums,
        known=of_users[:, 2],
        days=np.array(days).reshape(-1, 4),
        times=[scratch.times(place) for place in range(len(places))],
        before=of_users[:, 3:],
        mixed=mixed,
        robots=robots,
    )


def credits_of(
    rows: Iterable[Logged], events: Events, actions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """What each interleaved page brought the variants: float64 (p,) of each."""
    credits = []
    for row in rows:
        drafted = {(entity, key): of_b for entity, key, of_b in orjson.loads(row.drafted or "[]")}
        acted = {event[1:] for event in events.get(row.request_id, ()) if event[0] in actions}
        shares = [drafted[key] for key in acted if key in drafted]
        credits.append((sum(1 - share for share in shares), sum(shares)))
    both = np.array(credits, np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _shown(search: Search, events: Events) -> set[Item]:
    """The items whose impressions name a search."""
    every = (event for name in search.ids for event in events.get(name, ()))
    return {(entity, key) for action, entity, key in every if action == "impression"}


def _revenue(search: Search, events: Events, prices: Prices) -> float:
    every = (event for name in search.ids for event in events.get(name, ()))
    bought = {key for action, entity, key in every if (action, entity) == ("checkout", "product")}
    return sum(prices.of.get(key, 0.0) for key in sorted(bought))


def _values(
    found: Sequence[Search], events: Events, experiment: Experiment, prices: Prices
) -> dict[str, list[float]]:
    """Measure → what each of a user's searches adds to it."""

    def flags(actions: Sequence[str]) -> list[float]:
        return [float(has(search, events, actions)) for search in found]

    fulfilled = flags(experiment.actions)
    again = [0.0] * len(found)
    for place, (search, after) in enumerate(pairwise(found)):
        soon = after.began - search.ended <= REFORMULATED_MS
        again[place] = float(soon and not fulfilled[place])
    values = {FULFILLED: fulfilled, GCTR: flags(["long_click"])}
    values |= {name: flags([action]) for name, action in ACTED.items()}
    if prices.of:
        revenue = [float(_revenue(search, events, prices)) for search in found]
        values[f"{REVENUE}, {prices.currency}"] = revenue
    values[ZERO] = [float(search.total == 0) for search in found]
    values[REFORMULATED] = again
    return values
