"""Where the log begins and ends, strays aside: the windows of `splits` are counted from there.

One click stamped now on a log of last year would leave one query to measure, and one event of 1970
would make a log of a week look long enough to keep its last week back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite_utils

FEWEST = 50  # queries that a window must measure to tell one search from another
_STRAY = 200  # events apart from the others are stray if they are at most one in so many

# SQL: an event that is measured or learned from: not shown alone, and of something that is there.
ENGAGED = """action <> 'impression' AND (
    entity = 'pin' AND item_id IN (SELECT id FROM pins)
    OR entity = 'product' AND item_id IN (SELECT id FROM products)
    OR entity = 'query' AND item_id <> query)"""


def log_end(db: sqlite_utils.Database, days: int) -> int | None:
    """One past the time of the last event, in seconds since 1970; None without a log.

    The end of the log is where the `days` before it have engagement of FEWEST queries, if what lies
    behind is stray; else it is the last event.
    """
    ((last,),) = db.conn.execute("SELECT MAX(time) FROM engagements")
    if last is None:
        return None
    end = last + 1
    while few_queries(db, begins := end - days * 86_400, end):
        ((earlier,),) = db.conn.execute(
            "SELECT MAX(time) FROM engagements WHERE time < ?", [begins]
        )
        if earlier is None or not _stray(db, "time > ?", earlier):
            return int(last) + 1
        end = earlier + 1
    return int(end)


def late_events(db: sqlite_utils.Database, end: int) -> int:
    """The number of stray events from `end` on."""
    return int(_count(db, "time >= ?", end))


def begins_late(db: sqlite_utils.Database, until: int) -> bool:
    """Whether the log has no more than strays before `until`."""
    return few_queries(db, -(2**62), until) and _stray(db, "time < ?", until)


def few_queries(db: sqlite_utils.Database, begins: int, ends: int) -> bool:
    """Whether fewer than FEWEST queries were engaged with from `begins` to `ends` (exclusive)."""
    queries = db.conn.execute(
        f"SELECT DISTINCT query FROM engagements WHERE time >= ? AND time < ? AND {ENGAGED} "
        f"LIMIT {FEWEST}",
        [begins, ends],
    )
    return len(queries.fetchall()) < FEWEST


def _stray(db: sqlite_utils.Database, condition: str, time: int) -> bool:
    return _count(db, condition, time) * _STRAY <= _count(db, "? IS NOT NULL", 0)


def _count(db: sqlite_utils.Database, condition: str, time: int) -> int:
    ((count,),) = db.conn.execute(f"SELECT COUNT(*) FROM engagements WHERE {condition}", [time])
    return int(count)
