"""The log of ads that were shown, a table of the log of searches (`data.catalogue.searches`).

Events of the feedback log name the search that they follow by its request id: the two together are
what a report counts, and what a system of budgets and bills charges.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shown_ads (
    request_id TEXT NOT NULL,
    place INTEGER NOT NULL,    -- in the feed; 1 is the first result of the first page
    time INTEGER NOT NULL,     -- milliseconds since 1970
    campaign TEXT NOT NULL,    -- its id, or the item's own `campaign`
    entity TEXT NOT NULL,
    item_id TEXT NOT NULL,
    query TEXT NOT NULL,       -- normalised
    PRIMARY KEY (request_id, place)
) WITHOUT ROWID
"""


class ShownAd(NamedTuple):
    """A row of the log; see the schema for units."""

    request_id: str
    place: int
    time: int
    campaign: str
    entity: str
    item_id: str
    query: str


def add_shown_ads(connection: sqlite3.Connection, rows: Iterable[ShownAd]) -> int:
    """Add ads in one transaction, each place of a search once; returns how many are new."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_SCHEMA)
        marks = ", ".join("?" * len(ShownAd._fields))
        insert = f"INSERT OR IGNORE INTO shown_ads VALUES ({marks})"
        added = connection.executemany(insert, rows).rowcount
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    return max(0, added)


def shown_ads(
    connection: sqlite3.Connection, since: int = 0, until: int | None = None
) -> Iterator[ShownAd]:
    """The ads that were shown from `since` on and before `until` (milliseconds)."""
    known = "SELECT 1 FROM sqlite_master WHERE name = 'shown_ads'"
    if connection.execute(known).fetchone() is None:
        return
    rows = connection.execute(
        "SELECT request_id, place, time, campaign, entity, item_id, query FROM shown_ads "
        "WHERE time >= ? AND (? IS NULL OR time < ?) ORDER BY time, request_id, place",
        [since, until, until],
    )
    yield from map(ShownAd._make, rows)
