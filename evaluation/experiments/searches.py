"""The searches of an experiment's users, from the rows of the log.

A search is what one user asked: the same query on further pages, or again within half an hour, is
the same search. Events belong to it by the request id that its answers had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from omnisearch.data.catalogue.searches import Logged, reading_searches
from omnisearch.data.catalogue.splits import DAY
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments.scratch import Events

SAME_SEARCH_MS = 30 * 60 * 1000  # in which the same query of a user is the same search
DAY_MS = 1000 * DAY
MOST_A_DAY = 500  # searches of a user in a day: who makes more is a robot


@dataclass
class Search:
    """One search. `began`, `ended`: milliseconds since 1970. `ids`: of its requests."""

    variant: int
    query: str
    began: int
    ended: int
    total: int
    took_ms: float
    ids: list[str] = field(default_factory=list)


def rows_by_user(workspace: Workspace, name: str, begin: int) -> Iterator[list[Logged]]:
    """The rows of each user of an experiment, with all before its start (milliseconds), by time."""
    query = (
        "SELECT * FROM searches WHERE (experiment = ? OR time < ?) "
        "AND user IN (SELECT user FROM searches WHERE experiment = ?) "
        "ORDER BY user, time, request_id"
    )
    with reading_searches(workspace.searches) as db:
        rows = (Logged(*row) for row in db.execute(query, (name, begin, name)))
        for _, theirs in groupby(rows, lambda row: row.user):
            yield list(theirs)


def is_mixed(searches: Sequence[Search]) -> bool:
    """Whether a user's searches had several variants, or one that the experiment does not have: a
    damaged log may say so."""
    found = {search.variant for search in searches}
    return len(found) > 1 or -1 in found


def is_robot(searches: Sequence[Search]) -> bool:
    """Whether a user searches more than anybody would."""
    return max(Counter(search.began // DAY_MS for search in searches).values()) > MOST_A_DAY


def searches_of(rows: Iterable[Logged], places: Mapping[str, int]) -> list[Search]:
    """The searches of a user's rows, in the order of their times; -1 for a variant that is not in
    `places`."""
    found: list[Search] = []
    for row in rows:
        variant = places.get(row.variant, -1)
        if found and _goes_on(found[-1], variant, row):
            found[-1].ended = row.time
            found[-1].ids.append(row.request_id)
            continue
        part = (variant, row.query, row.time, row.time, row.total, row.took_ms)
        found.append(Search(*part, [row.request_id]))
    return found


def _goes_on(search: Search, variant: int, row: Logged) -> bool:
    """Whether a request is of a search that has begun."""
    same = (search.variant, search.query) == (variant, row.query)
    return same and row.time - search.ended <= SAME_SEARCH_MS


def has(search: Search, events: Events, actions: Sequence[str]) -> bool:
    return any(
        action in actions for request_id in search.ids for action, *_ in events.get(request_id, ())
    )
