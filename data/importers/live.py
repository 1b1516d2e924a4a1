"""Items that are written one by one while a service runs, by the rules of an import.

The log, the boards and the judgments of a deleted item stay (an import of `deletions` removes them
too): there is no need to search them while a client waits, and an item that is added again has its
log again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.importers.attributes import AttributeNames, read_attributes
from omnisearch.data.importers.catalogue_writer import upsert
from omnisearch.data.importers.rows import (
    FIELDS,
    Parser,
    QueryIds,
    Record,
    leave_out_unsafe_link,
    parser_of,
)
from omnisearch.data.importers.value_checks import Refused

_SLICE = 16  # rows that are checked at a time
_TWICE = "appears earlier in this request with other values"
_NO_ENTITY = "is not one of " + ", ".join(ITEM_ENTITIES)
_MOST_FIELDS = 64  # of a row
_KNOWN = {table: frozenset(("entity", *FIELDS[table])) for table in map(table_of, ITEM_ENTITIES)}


@dataclass(frozen=True)
class Fault:
    """A field of a row, or with `field` "" the row, that was refused; `row` counts from 0."""

    row: int
    field: str
    reason: str


@dataclass
class Items:
    """Checked rows, for `write_items`.

    Attributes:
        records: table → its rows; fields that a row does not name keep their value.
        deletions: (entity, id).
        taken: how many rows, repeated ones included. refused: how many rows.
        faults: why rows were refused, each wrong field.
        left_out: fields without which their rows were taken; `write_items` may add some.
        rows: the number of the row of each of `records`.
    """

    records: dict[str, list[Record]] = field(default_factory=dict)
    deletions: list[tuple[str, str]] = field(default_factory=list)
    taken: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)
    rows: dict[str, list[int]] = field(default_factory=dict)


def check_items(rows: Iterable[Any], give_way: Callable[[], None]) -> Items:
    """Check rows {"entity", "id", ...fields}; `give_way` is called between slices of the work."""
    parsers = {entity: parser_of(table_of(entity), QueryIds()) for entity in ITEM_ENTITIES}
    found = Items()
    seen: dict[tuple[str, str], Record] = {}
    for number, row in enumerate(rows):
        if number % _SLICE == _SLICE - 1:
            give_way()
        try:
            entity, record, left_out = _checked(row, parsers)
            first = seen.setdefault((entity, record["id"]), record)
            if first != record:
                raise Refused("id", _TWICE)
        except Refused as refused:
            found.refused += 1
            found.faults += _faults(number, row, parsers, refused)
            continue
        found.taken += 1
        found.left_out += [Fault(number, each.field, each.reason) for each in left_out]
        if first is record:
            found.records.setdefault(table_of(entity), []).append(record)
            found.rows.setdefault(table_of(entity), []).append(number)
    return found


def write_items(connection: sqlite3.Connection, items: Items) -> int:
    """Write rows in the open transaction; returns how many items were added, changed or deleted."""
    names = AttributeNames(connection)
    for table, records in items.records.items():
        for row, record in zip(items.rows[table], records, strict=True):
            items.left_out += [Fault(row, each.field, each.reason) for each in names.admit(record)]
    names.save()
    changed = sum(upsert(connection, table, rows) for table, rows in items.records.items())
    for entity, key in items.deletions:
        sql = f"DELETE FROM {table_of(entity)} WHERE id = ?"
        changed += connection.execute(sql, [key]).rowcount
    return changed


def _checked(row: Any, parsers: dict[str, Parser]) -> tuple[str, Record, list[Refused]]:
    """The entity and the record of a row, and the fields that are left out of it."""
    if type(row) is not dict:
        raise Refused("", "is not an object")
    if len(row) > _MOST_FIELDS:
        raise Refused("", f"has more than {_MOST_FIELDS} fields")
    entity = row.get("entity")
    if entity not in ITEM_ENTITIES:
        raise Refused("entity", "is missing" if entity is None else _NO_ENTITY)
    table = table_of(entity)
    record = parsers[entity](row)
    unsafe = leave_out_unsafe_link(record)
    left_out = read_attributes(row, _KNOWN[table], record)
    return entity, record, [unsafe, *left_out] if unsafe else left_out


def _faults(number: int, row: Any, parsers: dict[str, Parser], first: Refused) -> list[Fault]:
    """Every field that is wrong: a parser stops at the first."""
    if first.field in ("", "entity", "id"):
        return [Fault(number, first.field, first.reason)]
    parse = parsers[row["entity"]]
    found = []
    for name, value in row.items():
        try:
            parse({"id": row["id"], name: value})
        except Refused as refused:
            found.append(Fault(number, refused.field, refused.reason))
    return found
