"""Which places of the result page users look at, by a year of the log.

The days that rankers learn from are too few to tell: in them hardly any item was shown for a query
at several places. What is read of earlier days are the places alone, so no label leaks.
"""

from __future__ import annotations

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.splits import DAY, rankers_may_see_logged
from omnisearch.ranker.examination import examination
from omnisearch.ranker.labels import MAX_POSITION

DAYS = 365  # before that, pages may have looked different


def examined_until(db: sqlite_utils.Database, until: int) -> np.ndarray:
    """float64 (MAX_POSITION,) by `examination`, of the log before `until` (seconds since 1970)."""
    items = ", ".join(f"'{entity}'" for entity in ITEM_ENTITIES)
    known = (
        f"time >= ? AND time < ? AND position IS NOT NULL AND entity IN ({items}) "
        f"AND {rankers_may_see_logged('query')}"
    )
    window = (until - DAYS * DAY, until)
    rows = db.conn.execute(
        "WITH chosen AS (SELECT DISTINCT query, entity, item_id FROM engagements "
        f"WHERE action <> 'impression' AND {known}), numbered AS "
        "(SELECT *, ROW_NUMBER() OVER (ORDER BY query, entity, item_id) - 1 AS pair FROM chosen) "
        f"SELECT pair, MIN(position, {MAX_POSITION}) - 1 AS place, "
        "SUM(count * (action = 'impression')), SUM(count * (action <> 'impression')) "
        "FROM engagements JOIN numbered USING (query, entity, item_id) "
        f"WHERE {known} GROUP BY pair, place",
        (*window, *window),
    )
    cells = np.array(rows.fetchall(), np.int64).reshape(-1, 4)
    pair, place, views, choices = cells.T
    return examination(pair, place, views * 1.0, choices * 1.0, MAX_POSITION)
