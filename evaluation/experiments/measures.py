"""What the logs of a service say of an experiment: searches, by user, and what came of each.

A search is what one user asked: the same query on further pages, or again within half an hour, is
the same search. Events belong to it by the request id that its answers had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from omnisearch.data.catalogue.feedback import events_of_searches, shown_by_searches
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.searches import Logged, reading_searches
from omnisearch.data.catalogue.splits import DAY
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments.definition import Experiment
from omnisearch.evaluation.experiments.new_items import NEW, Item, created_of, new_among
from omnisearch.evaluation.experiments.store import Kept

SAME_SEARCH_MS = 30 * 60 * 1000  # in which the same query of a user is the same search
REFORMULATED_MS = 5 * 60 * 1000  # in which another query, after one in vain, is its new wording
DAY_MS = 1000 * DAY
MOST_A_DAY = 500  # searches of a user in a day: who makes more is a robot
Events = Mapping[str, set[tuple[str, str, str]]]  # request id → (action, entity, id)
REVENUE = "revenue"
FULFILLED, GCTR, ZERO, REFORMULATED = "fulfilment", "gctr", "no results", "reformulated"


@dataclass(frozen=True)
class Prices:
    """Product → its price, of those with prices in one currency."""

    currency: str
    of: Mapping[str, float]


NO_PRICES = Prices("", {})


@dataclass
class Search:
    """One search. `began`, `ended`: milliseconds since 1970. `ids`: of its requests."""

    user: int
    variant: int
    query: str
    began: int
    ended: int
    total: int
    took_ms: float
    ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Measured:
    """The searches of an experiment since it was started, u of them, by n users.

    Attributes:
        variant: int (n,) place of each user's variant.
        user, day: int (u,) of each search its user, and the day since the start.
        values: measure → float64 (u,): what each search adds to the measure, 0 or 1; to one that
            begins with REVENUE, the prices of what was bought; to NEW, the new items it showed.
        known: float64 (u,) how many items it showed of which is known whether they are new.
        took_ms: float64 (u,).
        before: float64 (n, 2) of each user before the start: fulfilled searches, and searches.
        mixed: users of several variants, whose searches are left out. robots: and those with more
            than MOST_A_DAY searches in a day.
    """

    variant: np.ndarray
    user: np.ndarray
    day: np.ndarray
    values: Mapping[str, np.ndarray]
    known: np.ndarray
    took_ms: np.ndarray
    before: np.ndarray
    mixed: int
    robots: int

    def sums(self, measure: str, until: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(n,) sum of a measure of each user, and (n,) what it is a share of: the user's
        searches, or of NEW the items that were shown.

        Args:
            until: the last day that counts; None for all.
        """
        taken = slice(None) if until is None else self.day <= until
        user, n = self.user[taken], len(self.variant)
        sums = np.bincount(user, self.values[measure][taken], minlength=n)
        counted = self.known[taken] if measure == NEW else None
        return sums, np.bincount(user, counted, minlength=n).astype(np.float64)


def measure(workspace: Workspace, kept: Kept, events: Events) -> Measured:
    """Read the log of an experiment's searches.

    Args:
        events: of `events_of`.

    Raises:
        InputError: no searches are logged. Corrupt: a log is damaged.
    """
    experiment = kept.experiment
    begin = 1000 * (kept.began or kept.history[0].time)
    rows = rows_of(workspace, "experiment = ?", experiment.name)
    theirs = "time < ? AND user IN (SELECT user FROM searches WHERE experiment = ?)"
    earlier = rows_of(workspace, theirs, begin, experiment.name)
    shown = shown_by_searches(workspace) if workspace.feedback.exists() else {}
    created = created_of(workspace, chain.from_iterable(shown.values()))
    prices = prices_of(workspace, events)
    return measured(experiment, rows, earlier, events, begin, prices, shown, created)


def rows_of(workspace: Workspace, condition: str, *values: object) -> list[Logged]:
    """Rows of the log of searches, by user and time."""
    query = f"SELECT * FROM searches WHERE {condition} ORDER BY user, time, request_id"
    with reading_searches(workspace.searches) as db:
        return [Logged(*row) for row in db.execute(query, values)]


def events_of(workspace: Workspace) -> Events:
    """The events of the feedback log that name a search."""
    return events_of_searches(workspace) if workspace.feedback.exists() else {}


def prices_of(workspace: Workspace, events: Events) -> Prices:
    """The catalogue's prices of what was bought, in the currency that most of it has."""
    bought = {key for each in events.values() for key in _bought(each)}
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
    rows: Iterable[Logged],
    earlier: Iterable[Logged],
    events: Events,
    begin: int,
    prices: Prices = NO_PRICES,
    shown: Mapping[str, set[Item]] = MappingProxyType({}),
    created: Mapping[Item, int] = MappingProxyType({}),
) -> Measured:
    """The measures of rows of the log, in the order of users and times.

    Args:
        earlier: rows before the start. events: of `events_of_searches`. begin: milliseconds.
        prices: of what was bought. shown: request id → items. created: of `created_of`.
    """
    places = {variant.name: place for place, variant in enumerate(experiment.variants)}
    users: dict[bytes, int] = {}
    found = searches_of(rows, places, users)
    of_user: list[list[Search]] = [[] for _ in users]
    for search in found:
        of_user[search.user].append(search)
    mixed = {user for user, searches in enumerate(of_user) if is_mixed(searches)}
    robots = {user for user, searches in enumerate(of_user) if is_robot(searches)} - mixed
    found = [search for search in found if search.user not in mixed | robots]
    before = np.zeros((len(users), 2))
    for search in searches_of(earlier, {}, dict(users)):
        if search.user < len(users):
            before[search.user] += has(search, events, experiment.actions), 1
    new = [
        new_among(
            {item for name in search.ids for item in shown.get(name, ())}, created, search.began
        )
        for search in found
    ]
    values, known = _values(found, events, experiment, prices), np.zeros(len(found))
    if any(of for _, of in new):
        values[NEW], known = np.array(new, np.float64).T
    alone = sorted({search.user for search in found})
    number = {user: place for place, user in enumerate(alone)}
    return Measured(
        variant=np.array([of_user[user][0].variant for user in alone], np.int64),
        user=np.array([number[search.user] for search in found], np.int64),
        day=np.array([(search.began - begin) // DAY_MS for search in found], np.int64),
        values=values,
        known=known,
        took_ms=np.array([search.took_ms for search in found], np.float64),
        before=before[alone] if alone else np.zeros((0, 2)),
        mixed=len(mixed),
        robots=len(robots),
    )


def is_mixed(searches: Sequence[Search]) -> bool:
    """Whether a user's searches had several variants."""
    return len({search.variant for search in searches}) > 1


def is_robot(searches: Sequence[Search]) -> bool:
    """Whether a user searches more than anybody would."""
    return max(Counter(search.began // DAY_MS for search in searches).values()) > MOST_A_DAY


def unlogged(workspace: Workspace, events: Events) -> int:
    """How many of the searches that events name are not in the log."""
    with reading_searches(workspace.searches) as db:
        logged = {name for (name,) in db.execute("SELECT request_id FROM searches")}
    return len(events.keys() - logged)


def credits_of(
    rows: Iterable[Logged], events: Events, actions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each interleaved page brought the variants: float64 (p,) of each, and (p,) users."""
    credits, users = [], []
    for row in rows:
        drafted = {(entity, key): of_b for entity, key, of_b in orjson.loads(row.drafted or "[]")}
        acted = {event[1:] for event in events.get(row.request_id, ()) if event[0] in actions}
        shares = [drafted[key] for key in acted if key in drafted]
        credits.append((sum(1 - share for share in shares), sum(shares)))
        users.append(row.user.hex())
    both = np.array(credits, np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1], np.array(users)


def searches_of(
    rows: Iterable[Logged], places: Mapping[str, int], users: dict[bytes, int]
) -> list[Search]:
    """The searches of rows in the order of users and times; new `users` are added."""
    found: list[Search] = []
    for row in rows:
        user = users.setdefault(row.user, len(users))
        variant = places.get(row.variant, -1)
        if found and _goes_on(found[-1], user, variant, row):
            found[-1].ended = row.time
            found[-1].ids.append(row.request_id)
            continue
        found.append(
            Search(
                *(user, variant, row.query, row.time, row.time, row.total, row.took_ms),
                [row.request_id],
            )
        )
    return found


def _goes_on(search: Search, user: int, variant: int, row: Logged) -> bool:
    """Whether a request is of a search that has begun."""
    same = (search.user, search.variant, search.query) == (user, variant, row.query)
    return same and row.time - search.ended <= SAME_SEARCH_MS


def has(search: Search, events: Events, actions: Sequence[str]) -> bool:
    return any(
        action in actions for request_id in search.ids for action, *_ in events.get(request_id, ())
    )


def _bought(events: Iterable[tuple[str, str, str]]) -> set[str]:
    """The products that events bought."""
    return {key for action, entity, key in events if (action, entity) == ("checkout", "product")}


def _revenue(search: Search, events: Events, prices: Prices) -> float:
    bought = _bought(event for name in search.ids for event in events.get(name, ()))
    return sum(prices.of.get(key, 0.0) for key in bought)


def _values(
    found: list[Search], events: Events, experiment: Experiment, prices: Prices
) -> dict[str, np.ndarray]:
    """Measure → float64 (u,)."""

    def flags(actions: Sequence[str]) -> np.ndarray:
        return np.array([has(search, events, actions) for search in found], np.float64)

    fulfilled = flags(experiment.actions)
    again = np.zeros(len(found))
    for place, (search, after) in enumerate(pairwise(found)):
        soon = after.began - search.ended <= REFORMULATED_MS
        again[place] = after.user == search.user and soon and not fulfilled[place]
    values: dict[str, Any] = {FULFILLED: fulfilled, GCTR: flags(["long_click"])}
    for action in ("click", "save", "add_to_cart", "checkout"):
        if (had := flags([action])).any():
            values[action.replace("_", " ")] = had
    if prices.of:
        sums = [_revenue(search, events, prices) for search in found]
        values[f"{REVENUE}, {prices.currency}"] = np.array(sums, np.float64)
    values[ZERO] = np.array([search.total == 0 for search in found], np.float64)
    values[REFORMULATED] = again
    return values
