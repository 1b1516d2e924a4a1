"""Where the log begins and ends, strays aside: the windows of `splits` are counted from there.

One click stamped now on a log of last year would leave one query to measure, and one event of 1970
would make a log of a week look long enough to keep its last week back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import sqlite_utils

FEWEST = 50  # queries that a window must measure to tell one search from another
_ALWAYS = 2**62  # later than any time
_STRAY = 200  # events apart from the others are stray if they are at most one in so many

# SQL: an event that is measured or learned from: not shown alone, and of something that is there.
ENGAGED = """action <> 'impression' AND (
    entity = 'pin' AND item_id IN (SELECT id FROM pins)
    OR entity = 'product' AND item_id IN (SELECT id FROM products)
    OR entity = 'query' AND item_id <> query)"""


class Log(Protocol):
    """What the windows are counted from; times are seconds since 1970, ends exclusive."""

    def first(self) -> int | None:
        """The time of the first event; None without any."""

    def last(self, before: int) -> int | None:
        """The time of the last event before a time; None without any."""

    def count(self, begins: int, ends: int) -> int:
        """How many events there are."""

    def few_queries(self, begins: int, ends: int) -> bool:
        """Whether fewer than FEWEST queries were engaged with (`ENGAGED`)."""


@dataclass(frozen=True)
class CatalogueLog:
    """The log of a catalogue."""

    db: sqlite_utils.Database

    def first(self) -> int | None:
        return self._number("SELECT MIN(time) FROM engagements")

    def last(self, before: int) -> int | None:
        return self._number("SELECT MAX(time) FROM engagements WHERE time < ?", before)

    def count(self, begins: int, ends: int) -> int:
        sql = "SELECT COUNT(*) FROM engagements WHERE time >= ? AND time < ?"
        return self._number(sql, begins, ends) or 0

    def few_queries(self, begins: int, ends: int) -> bool:
        return len(self.queries(begins, ends)) < FEWEST

    def queries(self, begins: int, ends: int) -> set[str]:
        """Queries that were engaged with, at most FEWEST of them."""
        sql = "SELECT DISTINCT query FROM engagements WHERE time >= ? AND time < ?"
        rows = self.db.conn.execute(f"{sql} AND {ENGAGED} LIMIT {FEWEST}", [begins, ends])
        return {query for (query,) in rows}

    def _number(self, sql: str, *values: int) -> int | None:
        ((found,),) = self.db.conn.execute(sql, values)
        return None if found is None else int(found)


def log_end(log: Log, days: int) -> int | None:
    """One past the time of the last event, in seconds since 1970; None without a log.

    The end of the log is where the `days` before it have engagement of FEWEST queries, if what lies
    behind is stray; else it is the last event.
    """
    last = log.last(_ALWAYS)
    if last is None:
        return None
    end = last + 1
    while log.few_queries(begins := end - days * 86_400, end):
        earlier = log.last(begins)
        if earlier is None or not _stray(log, earlier + 1, _ALWAYS):
            return last + 1
        end = earlier + 1
    return end


def late_events(db: sqlite_utils.Database, end: int) -> int:
    """The number of stray events from `end` on."""
    return CatalogueLog(db).count(end, _ALWAYS)


def begins_late(log: Log, until: int) -> bool:
    """Whether the log has no more than strays before `until`."""
    return log.few_queries(-_ALWAYS, until) and _stray(log, -_ALWAYS, until)


def _stray(log: Log, begins: int, ends: int) -> bool:
    return log.count(begins, ends) * _STRAY <= log.count(-_ALWAYS, _ALWAYS)
