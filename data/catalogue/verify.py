"""Whether the SQLite files of a workspace are whole, and the catalogue's rows as they must be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from omnisearch.data.catalogue.schema import (
    ACTIONS,
    ENTITIES,
    ITEM_ENTITIES,
    LIST_FIELDS,
    catalogue_columns,
    open_catalogue,
    table_of,
)
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import Corrupt

_AGAIN = "Import the files that they came from again, or put back a copy of the catalogue."
_REPLACE = "Put back a copy of the file, or import again into a new workspace."


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IS NOT NULL AND {column} NOT IN ({', '.join(map(repr, values))})"


def _not_number(column: str) -> str:
    number = f"typeof({column}) IN ('real', 'integer') AND abs({column}) < 9e999"
    return f"{column} IS NOT NULL AND NOT ({number})"


def _not_list(column: str, of: str) -> str:
    return (
        f"{column} IS NOT NULL AND CASE WHEN json_valid({column}) THEN json_type({column}) != "
        f"'array' OR EXISTS (SELECT 1 FROM json_each({column}) WHERE type != '{of}') ELSE 1 END"
    )


# Table, its key, a condition that no row may meet, and what is wrong with those that do.
_RULES = [
    ("products", "id", _not_number("price"), "have a price that is no number"),
    ("judgments", "query", _not_number("grade"), "have a grade that is no number"),
    ("engagements", "query", _one_of("entity", ENTITIES), "have an unknown entity type"),
    *(
        (table, "item_id", _one_of("entity", ITEM_ENTITIES), "have an unknown entity type")
        for table in ("judgments", "board_items")
    ),
    ("engagements", "query", _one_of("action", ACTIONS), "have an unknown action"),
    ("engagements", "query", "typeof(count) != 'integer' OR count < 1", "have no count"),
    ("queries", "id", _one_of("split", ("train", "valid", "test")), "have an unknown split"),
    ("meta", "key", "json_valid(value) IS NOT 1", "have a value that is no JSON"),
    *(
        (table, "id", _not_list(column, of), f"have {column} that are no JSON list of {of}s")
        for table in ("pins", "products")
        for column, of in (("board_titles", "text"), ("engaged_queries", "array"))
    ),
    *(
        (
            "products",
            "id",
            _not_list(column, "text"),
            f"have {column} that are no JSON list of texts",
        )
        for column in LIST_FIELDS
        if column != "board_titles"
    ),
]
# What outlives the items that it names.
_LOGS = ("engagements", "board_items", "judgments")


def check_sqlite(path: Path, how: str) -> None:
    """Raise Corrupt, with `how` to mend it, if SQLite finds a file damaged."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        found = [str(error)]
    if found != ["ok"]:
        raise Corrupt(f"SQLite finds the file damaged ({found[0]}).", where=str(path), how=how)


def check_catalogue(path: Path) -> list[str]:
    """The problems of the catalogue's rows, a sentence for each kind; empty if there are none.

    Raises:
        Corrupt: the file or its schema is damaged.
    """
    check_sqlite(path, _REPLACE)
    with closing(open_catalogue(path).conn) as connection:
        try:
            _check_schema(connection, path)
            return [f"{path}: {problem} {_AGAIN}" for problem in _problems(connection)]
        except sqlite3.Error as error:
            raise Corrupt(
                f"The catalogue cannot be read ({error}).", where=str(path), how=_REPLACE
            ) from error


def catalogue_notes(path: Path) -> list[str]:
    """What is no fault: rows of the log, boards and judgments that name items that are gone."""
    notes = []
    with closing(open_catalogue(path).conn) as connection:
        for table in _LOGS:
            gone = " OR ".join(
                f"(entity = '{entity}' AND item_id NOT IN (SELECT id FROM {table_of(entity)}))"
                for entity in ITEM_ENTITIES
            )
            count = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {gone}").fetchone()[0]
            if count:
                notes.append(f"{count:,} rows of {table} name items that the catalogue has not.")
    return notes


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    for table, columns in catalogue_columns().items():
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        missing = sorted(columns.keys() - found)
        if missing:
            what = f"The table {table} lacks {', '.join(missing)}."
            raise Corrupt(what, where=str(path), how=_REPLACE)


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    for table, key, bad, what in _RULES:
        count, example = connection.execute(
            f"SELECT COUNT(*), MIN({key}) FROM {table} WHERE {bad}"
        ).fetchone()
        if count:
            yield f"{count:,} rows of {table} {what}, such as that of {example!r:.80}."
    for table, columns in catalogue_columns().items():
        texts = [name for name, kind in columns.items() if kind == "TEXT"]
        for _ in connection.execute(f"SELECT {', '.join(texts)} FROM {table}"):
            pass  # a text that is not UTF-8 raises
        blobs = " OR ".join(f"typeof({name}) = 'blob'" for name in texts)
        count = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {blobs}").fetchone()[0]
        if count:
            yield f"{count:,} rows of {table} hold bytes where text belongs."
    strange = [
        key
        for (key,) in connection.execute("SELECT id FROM queries")
        if normalise_query(key) != key
    ]
    if strange:
        yield f"{len(strange):,} queries are not normalised, such as {strange[0]!r:.80}."
