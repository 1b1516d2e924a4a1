"""Reads items from the catalogue, and the texts that they consist of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from omnisearch.data.catalogue.schema import LIST_FIELDS, TEXT_FIELDS, table_of

if TYPE_CHECKING:
    import sqlite_utils


def read_items(
    db: sqlite_utils.Database,
    entity: str,
    *,
    ids: Iterable[str] | None = None,
    columns: Sequence[str] = (),
    batch_size: int = 4096,
) -> Iterator[list[dict[str, Any]]]:
    """The items of one entity type in batches, ordered by id, list columns decoded.

    `engaged_queries` is decoded to [[query, weight, time]], `attributes` to a dict. With `ids`,
    only these items, in the order of `ids`; ids that the catalogue does not have are skipped. With
    `columns`, only these and the id, as far as the entity type has them. Only one batch is in
    memory.
    """
    table = table_of(entity)
    known = db[table].columns_dict if columns else {}
    selected = ", ".join(["id", *(name for name in columns if name in known)]) if columns else "*"
    if ids is None:
        cursor = db.conn.execute(f"SELECT {selected} FROM {table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(batch_size):
            yield [decoded(dict(zip(names, row, strict=True))) for row in rows]
        return
    wanted = list(ids)
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        marks = ",".join("?" * len(part))
        cursor = db.conn.execute(f"SELECT {selected} FROM {table} WHERE id IN ({marks})", part)
        names = [column[0] for column in cursor.description]
        found = {row[0]: decoded(dict(zip(names, row, strict=True))) for row in cursor}
        yield [found[key] for key in part if key in found]


def decoded(item: dict[str, Any]) -> dict[str, Any]:
    """A row of the catalogue with its columns of JSON as values; changes it."""
    for field in (*LIST_FIELDS, "engaged_queries", "attributes"):
        value = item.get(field)
        if value is not None:
            item[field] = orjson.loads(value)
    return item


def field_texts(item: dict[str, Any], fields: Sequence[str] = TEXT_FIELDS) -> list[str]:
    """The non-empty strings of an item's text fields; each is tokenised by itself."""
    texts: list[str] = []
    for field in fields:
        value = item.get(field)
        if not value:
            continue
        if field == "engaged_queries":
            texts.extend(entry[0] for entry in value)
        elif isinstance(value, list):
            texts.extend(value)
        else:
            texts.append(value)
    return texts


def count(db: sqlite_utils.Database, entity: str) -> int:
    """The number of items of an entity type in the catalogue."""
    return db.conn.execute(f"SELECT COUNT(*) FROM {table_of(entity)}").fetchone()[0]


def existing(db: sqlite_utils.Database, entity: str, ids: Sequence[str]) -> list[str]:
    """Those of the ids that the catalogue has, in their order."""
    rows = db.conn.execute(
        f"SELECT id FROM {table_of(entity)} WHERE id IN (SELECT value FROM json_each(?))",
        [orjson.dumps(list(ids)).decode()],
    )
    known = {key for (key,) in rows}
    return [key for key in ids if key in known]


def head_queries(db: sqlite_utils.Database, most: int, since: int = 0) -> list[str]:
    """The `most` most frequent queries of the log since a time, the most frequent first."""
    period, bound = ("WHERE time >= ?", [since]) if since else ("", [])
    rows = db.conn.execute(
        f"SELECT query FROM engagements {period} "
        "GROUP BY query ORDER BY SUM(count) DESC, query LIMIT ?",
        [*bound, most],
    )
    return [query for (query,) in rows]
