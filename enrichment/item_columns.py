"""How enrichment writes: new values go to a temporary table, then to all items at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of


@contextmanager
def transaction(db: sqlite_utils.Database) -> Iterator[None]:
    """Read and write in one transaction, so that no import happens in between.

    An exception, or a kill at any point, leaves the catalogue unchanged. Joins the caller's
    transaction if one is open.
    """
    if db.conn.in_transaction:
        yield
        return
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.conn.rollback()
        raise
    db.conn.commit()


def replace_column(
    db: sqlite_utils.Database, column: str, fresh: Iterable[tuple[str, str, str]]
) -> int:
    """Set a column of all items to the fresh (entity, item id, value), or NULL if not given.

    `fresh` is read completely into a temporary table before any item changes, so it may itself read
    the items. Only rows whose value differs are written. Call inside `transaction`.

    Returns the number of items whose value changed.
    """
    db.conn.execute("DROP TABLE IF EXISTS temp.fresh")
    db.conn.execute(
        "CREATE TEMP TABLE fresh "
        "(entity TEXT, item_id TEXT, value TEXT, PRIMARY KEY (entity, item_id)) WITHOUT ROWID"
    )
    rows = iter(fresh)
    while batch := list(islice(rows, 10_000)):
        db.conn.executemany("INSERT INTO temp.fresh VALUES (?, ?, ?)", batch)
    changed = 0
    for entity in ITEM_ENTITIES:
        table = table_of(entity)
        changed += db.conn.execute(
            f"UPDATE {table} SET {column} = f.value FROM temp.fresh f "
            f"WHERE f.entity = ? AND f.item_id = {table}.id AND {table}.{column} IS NOT f.value",
            [entity],
        ).rowcount
        changed += db.conn.execute(
            f"UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL "
            "AND id NOT IN (SELECT item_id FROM temp.fresh WHERE entity = ?)",
            [entity],
        ).rowcount
    db.conn.execute("DROP TABLE temp.fresh")
    return changed
