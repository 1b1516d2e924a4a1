"""Whether the SQLite files of a workspace are whole, and the catalogue's rows as they must be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from omnisearch.data.catalogue.schema import (
    ACTIONS,
    AVAILABILITY,
    ENTITIES,
    ITEM_ENTITIES,
    LIST_FIELDS,
    catalogue_columns,
    open_catalogue,
    open_unwritable,
    table_of,
)
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.causes import is_damage
from omnisearch.data.workspace.errors import Corrupt, OmniError

_AGAIN = "Import the files that they came from again, or put back a copy of the catalogue."
_MOST = 2**53
_REPLACE = "Put back a copy of the file, or import again into a new workspace."


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IS NOT NULL AND {column} NOT IN ({', '.join(map(repr, values))})"


# Table, its key, a condition that no row may meet, and what is wrong with those that do.
_RULES = [
    ("products", "id", "abs(price) >= 9e999", "have a price that is no number"),
    ("judgments", "query", "abs(grade) >= 9e999", "have a grade that is no number"),
    ("engagements", "query", _one_of("entity", ENTITIES), "have an unknown entity type"),
    *(
        (table, "id", _one_of("availability", AVAILABILITY), "have an unknown availability")
        for table in ("pins", "products")
    ),
    *(
        (table, "item_id", _one_of("entity", ITEM_ENTITIES), "have an unknown entity type")
        for table in ("judgments", "board_items")
    ),
    ("engagements", "query", _one_of("action", ACTIONS), "have an unknown action"),
    ("engagements", "query", "count < 1", "have no count"),
    ("queries", "id", _one_of("split", ("train", "valid", "test")), "have an unknown split"),
]
_TYPES = {
    "TEXT": "'text'",
    "INTEGER": "'integer'",
    "REAL": "'real', 'integer'",
}
# What outlives the items that it names.
_LOGS = ("engagements", "board_items", "judgments")


def check_sqlite(path: Path, how: str) -> None:
    """Raise Corrupt, with `how` to mend it, if SQLite finds a file damaged."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
        try:
            found = _integrity(connection)
        except sqlite3.OperationalError as error:
            unwritable = None if is_damage(error) else open_unwritable(path)
            if unwritable is None:
                raise
            found = _integrity(unwritable)
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise Corrupt(f"SQLite finds the file damaged ({found}).", where=str(path), how=how)


def _integrity(connection: sqlite3.Connection) -> str:
    with closing(connection):
        return connection.execute("PRAGMA integrity_check(1)").fetchone()[0]


def check_catalogue(path: Path) -> list[str]:
    """The problems of the catalogue's rows, a sentence for each kind; empty if there are none.

    Raises:
        Corrupt: the file or its schema is damaged.
    """
    return [f"{path}: {problem} {_AGAIN}" for problem in _found(path)]


def damage_of(path: Path) -> str | None:
    """The first damage of the catalogue at `path` as a sentence; None if it is intact.

    None also where it cannot be examined, such as on a full disk.
    """
    try:
        return next(iter(_found(path)), None)
    except Corrupt as error:
        return error.what
    except OmniError:
        return None


def _found(path: Path) -> list[str]:
    check_sqlite(path, _REPLACE)
    with closing(open_catalogue(path).conn) as connection:
        try:
            _check_schema(connection, path)
            return list(_problems(connection))
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
        yield from _counted(connection, table, key, bad, what)
    for table, columns in catalogue_columns().items():
        texts = [name for name, kind in columns.items() if kind == "TEXT"]
        for _ in connection.execute(f"SELECT {', '.join(texts)} FROM {table}"):
            pass  # a text that is not UTF-8 raises
        key = next(iter(columns))
        yield from _counted(connection, table, key, f"{key} IS NULL", f"have no {key}")
        for name, kind in columns.items():
            bad = f"typeof({name}) NOT IN ({_TYPES[kind]}, 'null')"
            yield from _counted(connection, table, key, bad, f"have no {kind.lower()} as {name}")
            # Larger numbers do not survive JSON; `event` is a hash.
            if kind == "INTEGER" and name != "event":
                bad = f"typeof({name}) = 'integer' AND {name} NOT BETWEEN -{_MOST} AND {_MOST}"
                yield from _counted(connection, table, key, bad, f"have too large a {name}")
        yield from _not_json(connection, table, columns)
    strange = [
        key
        for (key,) in connection.execute("SELECT id FROM queries WHERE typeof(id) = 'text'")
        if normalise_query(key) != key
    ]
    if strange:
        yield f"{len(strange):,} queries are not normalised, such as {strange[0]!r:.80}."


def _counted(
    connection: sqlite3.Connection, table: str, key: str, bad: str, what: str
) -> Iterator[str]:
    count, example = connection.execute(
        f"SELECT COUNT(*), MIN({key}) FROM {table} WHERE {bad}"
    ).fetchone()
    if count:
        yield f"{count:,} rows of {table} {what}, such as that of {example!r:.80}."


def _not_json(connection: sqlite3.Connection, table: str, columns: dict[str, str]) -> Iterator[str]:
    """The columns that hold JSON of another form than they must."""
    for name in columns:
        form = _FORMS.get((table, name)) or _FORMS.get(("", name))
        if form is None:
            continue
        rows = connection.execute(
            f"SELECT {name} FROM {table} WHERE {name} IS NOT NULL AND typeof({name}) = 'text'"
        )
        bad = [value for (value,) in rows if not _has_form(form, value)]
        if bad:
            what = f"have {name} that are no JSON of the form they must have"
            yield f"{len(bad):,} rows of {table} {what}, such as {bad[0]!r:.80}."


def _has_form(form: Callable[[Any], bool], value: str) -> bool:
    try:
        return form(orjson.loads(value))
    except (ValueError, TypeError):
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_weighed(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(query, str) and isinstance(weight, int | float) and isinstance(time, int)
        for query, weight, time in value
    )


def _is_attributes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, str | int | float) or (_is_list(each) and each) for each in value.values()
    )


# Columns of JSON, by table and name, or by name alone → whether a parsed value has the right form.
_FORMS: dict[tuple[str, str], Callable[[Any], bool]] = {
    **{("", field): _is_list for field in LIST_FIELDS},
    ("", "engaged_queries"): _is_weighed,
    ("", "attributes"): _is_attributes,
    ("meta", "value"): lambda _: True,
}
