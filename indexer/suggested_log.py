"""The log's queries that are suggested, and whether the log has changed since."""

from __future__ import annotations

from collections.abc import Iterator

import sqlite_utils

from omnisearch.data.catalogue.changes import log_changes
from omnisearch.data.text.prefixes import whole_key
from omnisearch.data.text.private import looks_private
from omnisearch.indexer.parts.suggest_write import LONGEST

# A session is one person; events without a session count as one each, as often as they happened,
# but an impression without a session shows nobody's wish.
_ASKED = """
    SELECT query, COUNT(DISTINCT session) + SUM(
        CASE WHEN session IS NULL AND action <> 'impression' THEN MAX(count, 0) ELSE 0 END
    ) AS people, (SELECT language FROM queries WHERE id = query)
    FROM engagements GROUP BY query HAVING people >= ? ORDER BY query
"""


def suggested_queries(
    db: sqlite_utils.Database, people: int
) -> Iterator[tuple[str, int, str | None]]:
    """(query, how many people asked it, its language), by query.

    Left out are those that fewer than `people` asked, those about a person (`looks_private`), those
    of more than 80 characters, and those without a word.
    """
    for query, asked, language in db.conn.execute(_ASKED, [people]):
        if len(query) <= LONGEST and not looks_private(query) and whole_key(query):
            yield query, asked, language


def log_stamp(db: sqlite_utils.Database, people: int) -> list[int]:
    """Numbers that change with the log, and with the setting; reading them scans nothing."""
    last = db.conn.execute("SELECT COALESCE(MAX(time), 0) FROM engagements").fetchone()[0]
    imported = db.conn.execute(
        "SELECT COALESCE(MAX(id), 0) FROM imports WHERE changed > 0 AND "
        "kind IN ('engagements', 'queries')"
    ).fetchone()[0]
    return [people, log_changes(db), last, imported]
