"""Engaged queries: the queries through which users found an item and liked it (§3.2.3).

For each item, every query's weight is the sum of ACTION_WEIGHTS[action] * count over the events
of the window [until - window, until). The 20 queries of greatest weight are kept, ties going to
the one engaged last, then to the alphabet. `pins.engaged_queries` and `products.engaged_queries`
hold them as JSON [[query, weight, time of the last action], ..], best first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import count
from omnisearch.data.catalogue.schema import get_meta, set_meta
from omnisearch.data.catalogue.splits import Window, engaged_window, training_may_see
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.item_columns import replace_column, transaction

TOP = 20
WINDOW_DAYS = 730  # the paper's two years

# How much an action says about how well the query describes the item. Whole numbers, so that sums
# are equal in any order. An impression is the engine's choice, not the user's.
ACTION_WEIGHTS: dict[str, int] = {
    "checkout": 8,
    "add_to_cart": 4,
    "save": 4,
    "long_click": 2,
    "click": 1,
    "impression": 0,
}

_WEIGHT = f"CASE action {' '.join(f'WHEN {a!r} THEN {w}' for a, w in ACTION_WEIGHTS.items())} END"
_COUNTED = ", ".join(f"'{action}'" for action, weight in ACTION_WEIGHTS.items() if weight)

# (entity, item_id, query, weight, last) of the events in [?, ?). The two years are most of a log,
# which is faster to scan ("+" keeps the index by time off) than to look up.
_NEW = f"""
    SELECT entity, item_id, query, {_WEIGHT} * count AS weight, time AS last
    FROM engagements
    WHERE time >= ? AND time < ? AND entity IN ('pin', 'product') AND action IN ({_COUNTED})
        AND query <> '' AND {training_may_see("query")}
"""
_LOG = _NEW.replace("time >= ? AND time <", "+time >= ? AND +time <")

# The same from the existing lists, without entries whose last action is before ?.
_KEPT = f"""
    SELECT ? AS entity, item.id AS item_id, entry.value ->> 0 AS query,
        entry.value ->> 1 AS weight, entry.value ->> 2 AS last
    FROM {{table}} item, json_each(item.engaged_queries) entry
    WHERE item.engaged_queries IS NOT NULL AND entry.value ->> 2 >= ?
        AND {training_may_see("entry.value ->> 0")}
"""

_TOP = """
    SELECT entity, item_id, query, weight, last FROM (
        SELECT *, ROW_NUMBER() OVER (
            PARTITION BY entity, item_id ORDER BY weight DESC, last DESC, query) AS place
        FROM (
            SELECT entity, item_id, query, SUM(weight) AS weight, MAX(last) AS last
            FROM ({entries}) GROUP BY entity, item_id, query HAVING SUM(weight) > 0))
    WHERE place <= ? ORDER BY entity, item_id, place
"""


def enrich_queries(
    workspace: Workspace,
    db: sqlite_utils.Database,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, int | None]:
    """The enricher 'queries': `enrich_engaged_queries` with its options.

    Returns the counts items_changed and engaged_until (a Unix time, None without a log).
    """
    changed = enrich_engaged_queries(db, progress=progress, **options)
    return {"items_changed": changed, "engaged_until": get_meta(db, "engaged_until")}


def enrich_engaged_queries(
    db: sqlite_utils.Database,
    until: int | None = None,
    window_days: int = WINDOW_DAYS,
    incremental: bool = False,
    progress: Progress | None = None,
) -> int:
    """Compute `engaged_queries` of all items; returns how many items changed.

    Args:
        until: events before this time count; default the end of training, so that the evaluation
            cannot leak (`engaged_window`). A time after the last event means one second past it.
        window_days: how far back from `until` events count (the paper: two years).
        incremental: read only the events since the last run and add their counts to the existing
            lists. Equal to the full computation as long as no item ever had more than 20 queries
            and no event left the window; otherwise a query that fell out of the 20 returns with its
            new events only, and old events of a query that is still engaged keep counting. Falls
            back to the full computation if the lists cannot be merged with: no earlier run, another
            window, an earlier `until`, or newly imported events from before the last run's time.

    A catalogue without a log is unchanged: its lists, if any, were imported. With a log, only the
    log counts, even for items imported with a list. One transaction: a crash leaves the old lists
    and the old `engaged_until`.
    """
    with transaction(db):
        if not db.conn.execute("SELECT 1 FROM engagements LIMIT 1").fetchone():
            return 0
        begin, end = engaged_window(db, until, window_days)
        since = _merge_point(db, end, window_days) if incremental else None
        values: list[int | str]
        if since is None:
            entries, values = _LOG, [begin, end]
        else:
            kept = [_KEPT.format(table=table) for table in ("pins", "products")]
            entries = " UNION ALL ".join([*kept, _NEW])
            values = ["pin", begin, "product", begin, max(since, begin), end]
        rows = db.conn.execute(_TOP.format(entries=entries), [*values, TOP])
        total = count(db, "pin") + count(db, "product")
        changed = replace_column(db, "engaged_queries", _lists(rows, total, progress))
        set_meta(db, "engaged_until", end)
        set_meta(db, "engaged_from", made_from(window_days, _events(db, end)))
    return changed


def engaged_lists(db: sqlite_utils.Database, window: Window) -> Iterator[tuple[str, str, str]]:
    """(entity, item id, JSON list) of the items with events in a window, ordered by item.

    Reads the tables `engagements` and `queries` alone.
    """
    return _lists(db.conn.execute(_TOP.format(entries=_LOG), [*window, TOP]))


def made_from(window_days: int, events: tuple[int, int]) -> dict[str, Any]:
    """The note 'engaged_from': what the lists were made of.

    Args:
        events: how many there are before the window's end, and the sum of their ids' last 32 bits.
    """
    return {
        "window_days": window_days,
        "weights": ACTION_WEIGHTS,
        "events": events[0],
        "sum": events[1],
    }


def outdated_queries(db: sqlite_utils.Database) -> bool:
    """Whether the lists were made of other events than the log has up to the end of training."""
    until, made_from = get_meta(db, "engaged_until"), get_meta(db, "engaged_from")
    if until is None or made_from is None:
        return False
    end = max(until, engaged_window(db, None, made_from["window_days"])[1])
    events, total = _events(db, end)
    return (events, total) != (made_from["events"], made_from.get("sum", total))


def _merge_point(db: sqlite_utils.Database, end: int, window_days: int) -> int | None:
    """Since when events are new, or None if the existing lists cannot be merged with."""
    since = get_meta(db, "engaged_until")
    made_from = get_meta(db, "engaged_from")
    if since is None or made_from is None or since > end:
        return None
    if (made_from["window_days"], made_from["weights"]) != (window_days, ACTION_WEIGHTS):
        return None
    # Fewer events than then: the old part of the log was deleted, which merging allows.
    if _events(db, since)[0] > made_from["events"]:
        return None
    return since


def _events(db: sqlite_utils.Database, end: int) -> tuple[int, int]:
    """The number of events before `end`, and the sum of their ids' last 32 bits."""
    sql = "SELECT COUNT(*), COALESCE(SUM(event & 4294967295), 0) FROM engagements"
    return db.conn.execute(f"{sql} WHERE time < ?", [end]).fetchone()


def _lists(
    rows: Iterable[tuple[str, str, str, int, int]],
    total: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[str, str, str]]:
    """(entity, item id, JSON list) from rows ordered by item and place."""
    for done, ((entity, item_id), group) in enumerate(groupby(rows, key=itemgetter(0, 1)), 1):
        yield entity, item_id, orjson.dumps([row[2:] for row in group]).decode()
        if progress and done % 1000 == 0:
            progress(min(done, total), total)
    if progress:
        progress(total, total)
