"""Whether a catalogue is intact: SQLite's own check, and the type and form of every value."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import LIST_FIELDS, SCHEMA_VERSION
from omnisearch.data.catalogue.schema import blank as blank_catalogue
from omnisearch.data.workspace.causes import cause_of, is_damage

_TYPES = {"TEXT": (str,), "INTEGER": (int,), "REAL": (float, int)}
_MOST = 2**53  # of any number but the hashes of events


def damage_of(path: Path) -> str | None:
    """The first damage of the catalogue at `path` as a sentence, None if it is intact.

    Every row is read: it takes some seconds per million rows.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return next(_damages(db), None)
    except sqlite3.Error as error:
        if is_damage(error) or cause_of(error, path) is None:
            return f"SQLite cannot read it ({error})."
        return None


def _damages(db: sqlite3.Connection) -> Iterator[str]:
    (said,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        yield f"SQLite's check says: {' '.join(str(said).split())}."
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        yield f"It has version {version}."
    with closing(blank_catalogue()) as blank:
        for (table,) in blank.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
            columns = _columns(blank, table)
            if _columns(db, table) != columns:
                yield f"The table {table} has other columns."
            yield from _values(db, table, columns)


def _columns(db: sqlite3.Connection, table: str) -> list[tuple[str, str, bool]]:
    """Name, type, and whether every row has a value."""
    found = db.execute(f"PRAGMA table_info({table})").fetchall()
    return [(name, kind, bool(given or key)) for _, name, kind, given, _, key in found]


def _values(
    db: sqlite3.Connection, table: str, columns: list[tuple[str, str, bool]]
) -> Iterator[str]:
    for row in db.execute(f"SELECT * FROM {table}"):
        for (name, kind, given), value in zip(columns, row, strict=True):
            form = _JSON.get((table, name)) or _JSON.get(("", name))
            whole = not given if value is None else _is_of(kind, value, name)
            if whole and value is not None and form:
                whole = _parses(form, value)
            if not whole:
                yield f"{table}.{name} has the value {str(value)[:40]!r}."


def _is_of(kind: str, value: Any, name: str) -> bool:
    if type(value) not in _TYPES[kind]:
        return False
    return kind == "TEXT" or name == "event" or abs(value) <= _MOST


def _parses(form: Callable[[Any], bool], value: str) -> bool:
    try:
        return form(orjson.loads(value))
    except (ValueError, TypeError, KeyError):
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_weighed(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(query, str) and isinstance(weight, int | float) and isinstance(time, int)
        for query, weight, time in value
    )


# Columns of JSON, by table and name, or by name alone → whether a parsed value has the right form.
_JSON: dict[tuple[str, str], Callable[[Any], bool]] = {
    **{("", field): _is_list for field in LIST_FIELDS},
    ("", "engaged_queries"): _is_weighed,
    ("meta", "value"): lambda _: True,
}
