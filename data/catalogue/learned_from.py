"""What encoders and rankers learn from, in a few numbers: whether they are to be trained again.

A checkpoint's manifest and the rankers' report hold what these functions gave when they were
trained. They tell of the log, of judgments and of the models of vectors, not of the items: a new
product is encoded and ranked by what there is.
"""

from __future__ import annotations

from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.splits import NO_LIMIT, time_split

# How many events, and the sum of their ids' last 32 bits.
_EVENTS = "SELECT COUNT(*), COALESCE(SUM(event & 4294967295), 0) FROM engagements WHERE time < ?"
_JUDGMENTS = "SELECT COUNT(*), COALESCE(SUM(grade), 0), COALESCE(MAX(time), 0) FROM judgments"


def encoders_learn_from(db: sqlite_utils.Database) -> dict[str, Any]:
    """The engagement of the training window, and which models made the item vectors, as JSON."""
    until = time_split(db).train_until
    engaged = db.conn.execute(f"{_EVENTS} AND action <> 'impression'", [until]).fetchone()
    vectors = db.conn.execute("SELECT name, entity, dim, made_by FROM item_vectors ORDER BY 1, 2")
    return {"engagements": list(engaged), "vectors": [list(row) for row in vectors]}


def rankers_learn_from(db: sqlite_utils.Database) -> dict[str, Any]:
    """The whole log with its impressions, and the judgments, as JSON."""
    events = db.conn.execute(_EVENTS, [NO_LIMIT]).fetchone()
    return {"events": list(events), "judgments": list(db.conn.execute(_JUDGMENTS).fetchone())}
