"""Rows that belong together, wherever they stand in a file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import orjson

from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused

MOST = 10_000  # rows of one group
Key = Callable[[dict[str, Any]], str]


def grouped(rows: Iterable[Row], key: Key) -> Iterator[list[Row]]:
    """Lists of the rows that have one key, in the order of their first rows.

    `key` raises Refused for a row that has none; such rows, rows that cannot be read, and those of
    a group above MOST come as groups of one row with its error. The rows are kept in a temporary
    database, in memory as long as it is small.
    """
    with closing(sqlite3.connect("")) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("CREATE TABLE groups (name TEXT PRIMARY KEY, at INTEGER, size INTEGER)")
        db.execute("CREATE TABLE rows (at INTEGER, line INTEGER, content BLOB)")
        failed = 0
        for number, row in enumerate(rows):
            error, field = row.error, row.field
            if row.values is not None:
                try:
                    at, size = _group(db, key(row.values), number)
                    if size <= MOST:
                        entry = (at, row.line, _packed(row.values))
                        db.execute("INSERT INTO rows VALUES (?, ?, ?)", entry)
                        continue
                    error, field = f"is one of more than {MOST:,} rows of one product", ""
                except Refused as refused:
                    error, field = refused.reason, refused.field
            failed += 1
            yield [Row(row.line, None, error, field)]
        db.execute("CREATE INDEX rows_by_group ON rows (at)")
        last = -1
        group: list[Row] = []
        for at, line, content in db.execute("SELECT * FROM rows ORDER BY at, rowid"):
            if at != last and group:
                yield group
                group = []
            last = at
            group.append(Row(line, _unpacked(content), None, "", len(content)))
        if group:
            yield group


def _group(db: sqlite3.Connection, name: str, number: int) -> tuple[int, int]:
    """(number of its first row, how many rows so far) of the group of this name."""
    sql = (
        "INSERT INTO groups VALUES (?, ?, 1) "
        "ON CONFLICT (name) DO UPDATE SET size = size + 1 RETURNING at, size"
    )
    return db.execute(sql, [name.encode("utf-8", "surrogateescape"), number]).fetchone()  # type: ignore[no-any-return]


def _packed(values: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(values, default=str)
    except TypeError:  # texts that are not UTF-8, which are refused later, by field
        return json.dumps(values, default=str).encode()


def _unpacked(content: bytes) -> dict[str, Any]:
    try:
        return orjson.loads(content)  # type: ignore[no-any-return]
    except orjson.JSONDecodeError:
        return json.loads(content)  # type: ignore[no-any-return]
