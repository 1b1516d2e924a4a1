"""Writes blocks of checked rows to the catalogue, inside the transaction of their file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.importers.rows import QueryIds, Record
from omnisearch.data.importers.value_checks import Refused

Numbered = tuple[int, Record]  # line, record
Refuse = Callable[[int, Refused], None]

# The columns that identify a row of a table.
KEYS: dict[str, tuple[str, ...]] = {
    "pins": ("id",),
    "products": ("id",),
    "boards": ("id",),
    "board_items": ("board_id", "entity", "item_id"),
    "queries": ("id",),
    "engagements": ("event",),
    "judgments": ("query", "entity", "item_id", "judge"),
    "deletions": ("entity", "id"),
}


def table_of_any(entity: str) -> str:
    """The table of an entity type or of boards."""
    return "boards" if entity == "board" else table_of(entity)


class Known:
    """Which ids are in the catalogue, looked up in blocks and cached.

    Valid while nothing is deleted: within one transaction of a kind that deletes nothing.
    """

    LIMIT = 500_000

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, set[str]] = {}

    def missing(self, table: str, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are not in the table."""
        known = self._known.setdefault(table, set())
        asked = list(set(ids) - known)
        if not asked:
            return set()
        found = self._connection.execute(
            f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(?))",
            [orjson.dumps(asked).decode()],
        )
        present = {row[0] for row in found}
        if len(known) + len(present) > self.LIMIT:
            known.clear()
        known |= present
        return set(asked) - present


class BlockWriter:
    """Writes the blocks of one file of one kind; see `write`."""

    def __init__(
        self, connection: sqlite3.Connection, kind: str, queries: QueryIds, table: str = "seen"
    ) -> None:
        self._connection = connection
        self._seen = f"temp.{table}"
        self._kind = kind
        self._queries = queries
        self._known = Known(connection)
        self._stored_queries: set[str] = set()
        # Events have whole numbers as keys, for which SQLite's plain tables are the faster ones.
        key, form = ("INTEGER", "") if kind == "engagements" else ("TEXT", "WITHOUT ROWID")
        columns = f"key {key} PRIMARY KEY, digest INTEGER, line INTEGER"
        connection.execute(f"CREATE TABLE {self._seen} ({columns}) {form}")

    def write(self, block: list[Numbered], refuse: Refuse) -> tuple[int, int]:
        """(rows taken, rows changed) of a block; refused rows go to `refuse`.

        A row that equals an earlier row of the file is taken and changes nothing.
        """
        block = self._refer(block, refuse)
        fresh, repeated = self._first_of_each(block, refuse)
        records = [record for _, record in fresh]
        if self._kind == "deletions":
            return len(records) + repeated, self._delete(records)
        if self._kind in ("engagements", "judgments"):
            self._add_queries(records)
        changed = upsert(self._connection, self._kind, records)
        self._queries.forget()
        return len(records) + repeated, changed

    def close(self) -> None:
        self._connection.execute(f"DROP TABLE {self._seen}")

    def _refer(self, block: list[Numbered], refuse: Refuse) -> list[Numbered]:
        """The rows whose board and item are in the catalogue; the others are refused."""
        if self._kind == "board_items":
            block = self._holding(block, "board", "board_id", lambda record: True, refuse)
        if self._kind in ("board_items", "engagements", "judgments"):
            for entity in ITEM_ENTITIES:
                block = self._holding(block, entity, "item_id", partial(_is_of, entity), refuse)
        return block

    def _holding(
        self,
        block: list[Numbered],
        what: str,
        field: str,
        names: Callable[[Record], bool],
        refuse: Refuse,
    ) -> list[Numbered]:
        """The rows whose `field` names a pin, product or board of the catalogue."""
        table = table_of_any(what)
        missing = self._known.missing(table, (r[field] for _, r in block if names(r)))
        if not missing:
            return block
        kept = []
        for line, record in block:
            if record[field] in missing and names(record):
                refuse(line, Refused(field, f"names a {what} that does not exist", record[field]))
            else:
                kept.append((line, record))
        return kept

    def _first_of_each(self, block: list[Numbered], refuse: Refuse) -> tuple[list[Numbered], int]:
        """The rows whose key is new in the file, and how many rows repeat an earlier one."""
        key_of = _key_function(KEYS[self._kind])
        first: dict[Any, tuple[int, int]] = {}  # key → digest and line of its first row
        fresh: list[Numbered] = []
        later: list[tuple[Any, int, Numbered]] = []
        for numbered in block:
            line, record = numbered
            key = key_of(record)
            digest = _digest(record, self._kind)
            if key in first:
                later.append((key, digest, numbered))
            else:
                first[key] = (digest, line)
                fresh.append(numbered)
        earlier = self._earlier(first)
        if earlier:
            known = [(key_of(record), (line, record)) for line, record in fresh]
            later += [(key, first[key][0], row) for key, row in known if key in earlier]
            fresh = [row for key, row in known if key not in earlier]
        repeated = 0
        for key, digest, (line, record) in later:
            same, at = earlier.get(key) or first[key]
            if same == digest:
                repeated += 1
                continue
            shown = f"{_shown(record, self._kind)} (first in line {at})"
            refuse(line, Refused(_KEY_FIELD.get(self._kind, ""), _TWICE, shown))
        return fresh, repeated

    def _earlier(self, first: dict[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
        """Record the keys of a block; returns those of earlier blocks, with digest and line."""
        entries = sorted((key, *seen) for key, seen in first.items())
        added = self._connection.executemany(
            f"INSERT OR IGNORE INTO {self._seen} VALUES (?, ?, ?)", entries
        ).rowcount
        if added == len(entries):
            return {}
        stored = self._connection.execute(
            f"SELECT key, digest, line FROM {self._seen} "
            "WHERE key IN (SELECT value FROM json_each(?))",
            [orjson.dumps(list(first)).decode()],
        )
        return {key: (digest, line) for key, digest, line in stored if (digest, line) != first[key]}

    def _add_queries(self, records: list[Record]) -> None:
        """Add the queries that events and judgments name to the catalogue."""
        named = {record["query"] for record in records}
        named |= {record["item_id"] for record in records if record["entity"] == "query"}
        new = named - self._stored_queries
        self._connection.executemany(
            "INSERT OR IGNORE INTO queries (id, text) VALUES (?, ?)",
            [(key, self._queries.texts.get(key, key)) for key in sorted(new)],
        )
        if len(self._stored_queries) > QueryIds.LIMIT:
            self._stored_queries.clear()
        self._stored_queries |= new

    def _delete(self, records: list[Record]) -> int:
        """Delete entities and all rows that name them; returns how many existed."""
        run = self._connection.executemany
        deleted = 0
        for entity in ("pin", "product", "query", "board"):
            doomed = [(r["id"],) for r in records if r["entity"] == entity]
            if not doomed:
                continue
            deleted += run(f"DELETE FROM {table_of_any(entity)} WHERE id = ?", doomed).rowcount
            if entity == "board":
                run("DELETE FROM board_items WHERE board_id = ?", doomed)
                continue
            self._forget_events(entity, [key for (key,) in doomed])
            if entity != "query":
                run(f"DELETE FROM board_items WHERE entity = '{entity}' AND item_id = ?", doomed)
        return deleted

    def _forget_events(self, entity: str, ids: list[str]) -> None:
        listed = orjson.dumps(ids).decode()
        for table in ("engagements", "judgments"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE entity = ? "
                "AND item_id IN (SELECT value FROM json_each(?))",
                [entity, listed],
            )
            if entity == "query":
                self._connection.execute(
                    f"DELETE FROM {table} WHERE query IN (SELECT value FROM json_each(?))",
                    [listed],
                )


def _is_of(entity: str, record: Record) -> bool:
    return record["entity"] == entity


_TWICE = "appears earlier in this file with other values"
# The attributes of a row added to those stored; what it has as null is removed.
_PATCHED = "NULLIF(json_patch({}, {}), '{{}}')"
_KEY_FIELD = {"pins": "id", "products": "id", "boards": "id", "queries": "text"}


def _key_function(columns: tuple[str, ...]) -> Callable[[Record], Any]:
    if len(columns) == 1:
        name = columns[0]
        return lambda record: record[name]
    return lambda record: "\x1f".join([record[column] for column in columns])


def _digest(record: Record, kind: str) -> int:
    """Equal for equal rows, within this process."""
    if kind == "queries":  # two spellings of one query do not conflict
        record = {key: value for key, value in record.items() if key != "text"}
    return hash((tuple(record), tuple(record.values())))


def _shown(record: Record, kind: str) -> str:
    return ", ".join(str(record[column]) for column in KEYS[kind])


def upsert(connection: sqlite3.Connection, table: str, records: list[Record]) -> int:
    """Insert or update rows by their key; returns how many were added or really changed.

    Columns that a record does not name keep their value, and so do attributes. A query keeps its
    first text.
    """
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for record in records:
        groups.setdefault(tuple(record), []).append(tuple(record.values()))
    changed = 0
    for columns, rows in groups.items():
        first = columns[0]
        if first == "event":
            rows.sort()  # neighbours in the table are written together
        changed += connection.executemany(_upsert_sql(table, columns), rows).rowcount
    return changed


def _upsert_sql(table: str, columns: tuple[str, ...]) -> str:
    keys = KEYS[table]
    fixed = {*keys, "text"} if table == "queries" else set(keys)
    settable = [column for column in columns if column not in fixed]
    names = ", ".join(columns)
    given = {column: f"?{number}" for number, column in enumerate(columns, 1)}
    marks = ", ".join(
        _PATCHED.format("'{}'", mark) if column == "attributes" else mark
        for column, mark in given.items()
    )
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({', '.join(keys)}) DO "
    if not settable:
        return sql + "NOTHING"
    new = {column: given[column] for column in settable}
    if "attributes" in new:
        stored = f"COALESCE({table}.attributes, '{{}}')"
        new["attributes"] = _PATCHED.format(stored, given["attributes"])
    sets = ", ".join(f"{column} = {value}" for column, value in new.items())
    differs = " OR ".join(f"{table}.{column} IS NOT {value}" for column, value in new.items())
    return f"{sql}UPDATE SET {sets} WHERE {differs}"
