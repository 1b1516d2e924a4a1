"""The feedback log: the events and judgments that a service has acknowledged.

It is a file of its own, so that the service can write while other commands use the catalogue;
`import_feedback` copies the log into the catalogue. Rows are never removed from the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import damaged_log, log_errors
from omnisearch.data.workspace.errors import Corrupt, InputError, OmniError

KINDS = ("engagements", "judgments")
_LOG = "The feedback log"
_VERSION = 1
_TABLES = {"events", "judgments"}
_LOCK_SECONDS = 30.0  # waited for other writers

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    received INTEGER NOT NULL,  -- seconds since 1970
    row TEXT NOT NULL           -- JSON, as a file of engagements has it
);
CREATE TABLE IF NOT EXISTS judgments (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL,          -- JSON [query, entity, item_id, judge]; the last one counts
    received INTEGER NOT NULL,
    row TEXT NOT NULL           -- JSON, as a file of judgments has it; a null grade withdraws it
);
CREATE INDEX IF NOT EXISTS judgments_by_key ON judgments (key, seq);
PRAGMA user_version={_VERSION};
"""
_ROWS = {
    "engagements": "SELECT seq, row FROM events ORDER BY seq",
    "judgments": "SELECT seq, row FROM judgments "
    "WHERE seq IN (SELECT MAX(seq) FROM judgments GROUP BY key) "
    "AND json_extract(row, '$.grade') IS NOT NULL ORDER BY seq",
}
_TAKEN_BACK = (
    "SELECT key FROM judgments WHERE seq IN (SELECT MAX(seq) FROM judgments GROUP BY key) "
    "AND json_extract(row, '$.grade') IS NULL"
)
_OF_SEARCHES = (
    "SELECT json_extract(row, '$.request_id') AS search, json_extract(row, '$.action') AS action, "
    "json_extract(row, '$.entity'), json_extract(row, '$.item_id') "
    "FROM events WHERE search IS NOT NULL"
)


def open_feedback(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open the log at `path` (the workspace's `feedback`). Commits survive a power cut.

    Raises:
        InputError: there is no log and `create` is false.
        Corrupt: the file is not a feedback log of this version.
        Unavailable: it is locked, or the disk is full or read-only.
    """
    if not create and not path.exists():
        raise InputError(
            "There is no feedback yet.", where=str(path), how="`omnisearch serve` collects it."
        )
    connection = sqlite3.connect(
        path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        with log_errors(_LOG, path):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if version != _VERSION and (version or tables):
                raise Corrupt(
                    f"The feedback log has version {version}, this program reads {_VERSION}.",
                    where=str(path),
                    how="Update OmniSearch, or put back a copy of the file.",
                )
            if version == 0:
                connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            elif not tables >= _TABLES:
                raise damaged_log(_LOG, "it lacks a table", path)
    except OmniError:
        connection.close()
        raise
    return connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The log for reading; what is damaged in it is named as such."""
    with closing(open_feedback(path)) as connection, log_errors(_LOG, path):
        try:
            yield connection
        except (ValueError, TypeError) as error:
            raise damaged_log(_LOG, error, path) from error


def add_events(
    connection: sqlite3.Connection, rows: list[tuple[str, bytes]], now: int
) -> tuple[int, int]:
    """Add events (id, row as JSON); returns how many are new and how many were already stored."""
    added = connection.executemany(
        "INSERT OR IGNORE INTO events (event_id, received, row) VALUES (?, ?, ?)",
        [(key, now, row.decode()) for key, row in rows],
    ).rowcount
    return added, len(rows) - added


def add_judgments(
    connection: sqlite3.Connection, rows: list[tuple[str, bytes]], now: int
) -> tuple[int, int]:
    """Add judgments (key, row as JSON), except those that repeat the judge's last grade.

    Returns how many are new and how many repeat.
    """
    added = 0
    for key, row in rows:
        added += connection.execute(
            "INSERT INTO judgments (key, received, row) SELECT ?1, ?2, ?3 WHERE ?4 IS NOT "
            "(SELECT json_extract(row, '$.grade') FROM judgments WHERE key = ?1 "
            "ORDER BY seq DESC LIMIT 1)",
            (key, now, row.decode(), orjson.loads(row)["grade"]),
        ).rowcount
    return added, len(rows) - added


def feedback_rows(workspace: Workspace, kind: str) -> tuple[int, Iterator[tuple[int, dict]]]:
    """The number of rows of a kind (one of KINDS) in the log, and (number, row) for each.

    Only a judge's last judgment of a result is read, and none if it was withdrawn.

    Raises:
        InputError: the log does not exist.
        Corrupt: it is damaged.
    """
    table = "events" if kind == "engagements" else "judgments"
    with _reading(workspace.feedback) as connection:
        total = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]

    def rows() -> Iterator[tuple[int, dict]]:
        with _reading(workspace.feedback) as connection:
            for number, row in connection.execute(_ROWS[kind]):
                values = orjson.loads(row)
                if not isinstance(values, dict):
                    raise ValueError(f"row {number} is not a JSON object")
                yield number, values

    return total, rows()


def each_of_searches(workspace: Workspace) -> Iterator[tuple[str, str, str, str]]:
    """(request id, action, entity, id) of each event that names a search.

    Raises Corrupt if the log is damaged.
    """
    with _reading(workspace.feedback) as connection:
        for request_id, action, entity, item_id in connection.execute(_OF_SEARCHES):
            yield str(request_id), str(action), str(entity), str(item_id)


def events_of_searches(workspace: Workspace) -> dict[str, set[tuple[str, str, str]]]:
    """Request id of a search → (action, entity, id) of the events that name it; no impressions.

    Raises Corrupt if the log is damaged.
    """
    found: dict[str, set[tuple[str, str, str]]] = {}
    for request_id, *event in each_of_searches(workspace):
        action, entity, item_id = event
        if action != "impression":
            found.setdefault(request_id, set()).add((action, entity, item_id))
    return found


def last_feedback(workspace: Workspace) -> list[Any] | None:
    """The last event and the last judgment, as JSON; None without a log.

    Raises Corrupt if it is damaged.
    """
    if not workspace.feedback.exists():
        return None
    with _reading(workspace.feedback) as connection:
        rows = [
            connection.execute(f"SELECT * FROM {table} ORDER BY seq DESC LIMIT 1").fetchone()
            for table in ("events", "judgments")
        ]
    return [row and list(row) for row in rows]


def taken_back(workspace: Workspace) -> list[tuple[str, str, str, str]]:
    """(query, entity, item_id, judge) of the judgments that were withdrawn."""
    with _reading(workspace.feedback) as connection:
        keys = [orjson.loads(key) for (key,) in connection.execute(_TAKEN_BACK)]
        if not all(len(key) == 4 and all(isinstance(part, str) for part in key) for key in keys):
            raise ValueError("a judgment's key is not of four texts")
        return [tuple(key) for key in keys]
