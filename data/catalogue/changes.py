"""The change log: which items changed since when, so that an update of the index reads only these.

Triggers write the table `changes` in the transaction of each change, whoever makes it: an item's
entity type and id, under a number that only ascends; of several changes of an item the last one
counts. A change of what an item is made of elsewhere (its boards, its vectors) is a change of the
item. The table `engaged` has the time of each query's first engagement, and
`log_changes`, in its only row, how many events were ever added, changed or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite_utils

_ITEM_TABLES = {"pins": "pin", "products": "product", "queries": "query"}

# Not `INSERT OR REPLACE`: in a trigger, the statement that fired it decides what OR does.
_NOTE = (
    "DELETE FROM changes WHERE entity = {entity} AND id = {id}; "
    "INSERT INTO changes (entity, id) VALUES ({entity}, {id});"
)


def _trigger(name: str, event: str, table: str, *steps: str, when: str = "") -> str:
    body = " ".join(steps)
    return f"CREATE TRIGGER {name} AFTER {event} ON {table} {when} BEGIN {body} END;\n"


def _item_triggers() -> str:
    noted = []
    for table, entity in _ITEM_TABLES.items():
        for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            step = _NOTE.format(entity=f"'{entity}'", id=f"{row}.id")
            noted.append(_trigger(f"{table}_{event.lower()}", event, table, step))
    for event, row in (("INSERT", "NEW"), ("DELETE", "OLD")):
        step = _NOTE.format(entity=f"{row}.entity", id=f"{row}.item_id")
        noted.append(_trigger(f"board_items_{event.lower()}", event, "board_items", step))
    return "".join(noted)


def _engaged_triggers() -> str:
    """A time that may have to be later than it was is unknown: NULL, until `settle`."""
    unknown = "UPDATE engaged SET since = NULL WHERE query = OLD.query;"
    earlier = (
        "UPDATE engaged SET since = NEW.time WHERE query = NEW.query AND since > NEW.time; "
        "INSERT INTO engaged SELECT NEW.query, NEW.time "
        "WHERE NOT EXISTS (SELECT 1 FROM engaged WHERE query = NEW.query);"
    )
    counts = "WHEN NEW.action <> 'impression'"
    moved = (
        "WHEN NEW.time IS NOT OLD.time OR NEW.query IS NOT OLD.query "
        "OR NEW.action IS NOT OLD.action"
    )
    new_unknown = (
        "INSERT INTO engaged SELECT NEW.query, NULL "
        "WHERE NOT EXISTS (SELECT 1 FROM engaged WHERE query = NEW.query); "
        "UPDATE engaged SET since = NULL WHERE query = NEW.query;"
    )
    return (
        _trigger("engagements_insert", "INSERT", "engagements", earlier, when=counts)
        + _trigger("engagements_update", "UPDATE", "engagements", unknown, new_unknown, when=moved)
        + _trigger("engagements_delete", "DELETE", "engagements", unknown)
    )


TABLES = """
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT, id TEXT,
    UNIQUE (entity, id)
);
CREATE TABLE IF NOT EXISTS engaged (
    query TEXT PRIMARY KEY, since INTEGER   -- NULL: to be looked up in the log
) WITHOUT ROWID;
"""
TRIGGERS = _item_triggers() + _engaged_triggers()
LOG = """
CREATE TABLE IF NOT EXISTS log_changes (number INTEGER NOT NULL);
INSERT INTO log_changes VALUES (0);
""" + "".join(
    _trigger(
        *(f"log_{event.lower()}", event, "engagements"),
        "UPDATE log_changes SET number = number + 1;",
    )
    for event in ("INSERT", "UPDATE", "DELETE")
)
FIRST_ENGAGED = (
    "INSERT OR REPLACE INTO engaged SELECT query, MIN(time) FROM engagements "
    "WHERE action <> 'impression' {which} GROUP BY query"
)


def latest_change(db: sqlite_utils.Database) -> int:
    """The number of the last change, 0 before the first."""
    row = db.conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return row[0] if row else 0


def log_changes(db: sqlite_utils.Database) -> int:
    """How many events of the log were ever added, changed or deleted."""
    number: int = db.conn.execute("SELECT number FROM log_changes").fetchone()[0]
    return number


def changed_since(db: sqlite_utils.Database, number: int) -> dict[str, list[str]]:
    """Entity type → the ids, ascending, of what was added, changed or deleted after a change."""
    found: dict[str, list[str]] = {}
    rows = db.conn.execute(
        "SELECT entity, id FROM changes WHERE number > ? AND id IS NOT NULL ORDER BY entity, id",
        [number],
    )
    for entity, key in rows:
        found.setdefault(entity, []).append(key)
    return found


def note_changes(db: sqlite_utils.Database, entity: str, ids: Iterable[str]) -> None:
    """Note items as changed, in the open transaction."""
    named = [(entity, key) for key in ids]
    db.conn.executemany("DELETE FROM changes WHERE entity = ? AND id = ?", named)
    db.conn.executemany("INSERT INTO changes (entity, id) VALUES (?, ?)", named)


def settle(db: sqlite_utils.Database) -> None:
    """Look up the first engagements that are not known, in a transaction of its own."""
    if db.conn.execute("SELECT 1 FROM engaged WHERE since IS NULL LIMIT 1").fetchone() is None:
        return
    with db.conn:
        unknown = "(SELECT query FROM engaged WHERE since IS NULL)"
        db.conn.execute(FIRST_ENGAGED.format(which=f"AND query IN {unknown}"))
        db.conn.execute("DELETE FROM engaged WHERE since IS NULL")  # all their events are gone
