"""The log of searches: who searched for what, and which variant of an experiment answered.

It is a file of its own, `searches.db`: a service writes it while other commands use the catalogue.
Users are hashes (`evaluation.experiments.assignment`). Events of the feedback log name the search
that they follow by its request id.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from omnisearch.data.workspace.causes import damaged_log, log_errors
from omnisearch.data.workspace.errors import InputError, OmniError

_LOG = "The log of searches"
_VERSION = 3
_LOCK_SECONDS = 30.0  # waited for other writers
FIRST = 8  # results of a page that are logged, for people to judge (§5.1)
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS searches (
    request_id TEXT PRIMARY KEY,
    time INTEGER NOT NULL,     -- milliseconds since 1970
    user BLOB NOT NULL,        -- hash
    experiment TEXT NOT NULL,  -- empty if the user takes part in none
    variant TEXT NOT NULL,
    query TEXT NOT NULL,       -- normalised
    language TEXT NOT NULL,    -- of the query; empty if it is not known
    page INTEGER NOT NULL,
    total INTEGER NOT NULL,    -- results on all pages
    took_ms REAL NOT NULL,
    generation INTEGER NOT NULL,
    drafted TEXT NOT NULL,     -- JSON [[entity, id, of_b]] of an interleaved page; else empty
    country TEXT NOT NULL,     -- of the user, such as 'US'; empty if the caller did not say
    device TEXT NOT NULL,      -- its class, such as 'phone'; the same
    shown TEXT NOT NULL        -- JSON [[entity, id]] of a variant's first results; or empty
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS searches_by_experiment ON searches (experiment, time);
CREATE INDEX IF NOT EXISTS searches_by_user ON searches (user, time);
PRAGMA user_version={_VERSION};
COMMIT;
"""
_ADDED = {1: ("country", "device", "shown"), 2: ("shown",)}  # version → columns that it lacks
_INSERT = f"INSERT OR IGNORE INTO searches VALUES ({', '.join('?' * 15)})"
_COUNTRY = re.compile("[A-Z]{2}")


class Logged(NamedTuple):
    """A row of the log; see the schema for units."""

    request_id: str
    time: int
    user: bytes
    experiment: str
    variant: str
    query: str
    language: str
    page: int
    total: int
    took_ms: float
    generation: int
    drafted: str = ""
    country: str = ""
    device: str = ""
    shown: str = ""


def country_code(given: str | None) -> str:
    """What is logged of a user's country: 'US' for 'us'; nothing of what is no code of two letters,
    which might tell more of somebody than a country does."""
    code = (given or "").strip().upper()
    return code if _COUNTRY.fullmatch(code) else ""


def open_searches(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open the log at `path` (the workspace's `searches`), migrating an earlier version.

    Raises:
        InputError: there is no log and `create` is false.
        Corrupt: the file is not a log, or a newer OmniSearch made it.
        Unavailable: it is locked, or the disk is full or read-only.
    """
    if not create and not path.exists():
        raise InputError(
            "No searches are logged yet.",
            where=str(path),
            how="`omnisearch serve` logs those that name a `user`, once there is an experiment.",
        )
    connection = sqlite3.connect(
        path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        with log_errors(_LOG, path):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            version = _version(connection)
            if version not in (0, *_ADDED, _VERSION):
                why = f"it has version {version}, this program reads {_VERSION}"
                raise damaged_log(_LOG, why, path)
            if version == 0:
                connection.executescript(_SCHEMA)
            elif version != _VERSION:
                _migrate(connection)
            connection.execute("SELECT request_id FROM searches LIMIT 1").fetchone()
    except OmniError:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Add what an earlier version lacks, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it meanwhile.
        if missing := _ADDED.get(_version(connection), ()):
            for column in missing:
                connection.execute(
                    f"ALTER TABLE searches ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
                )
            connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise


@contextmanager
def reading_searches(path: Path) -> Iterator[sqlite3.Connection]:
    """The log for reading; what is damaged in it is named as such. Raises as `open_searches`."""
    with closing(open_searches(path)) as connection, log_errors(_LOG, path):
        yield connection


def add_searches(connection: sqlite3.Connection, rows: Iterable[Logged]) -> int:
    """Add searches in one transaction, each request id once; returns how many are new."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        added = connection.executemany(_INSERT, rows).rowcount
        connection.execute("COMMIT")
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    return max(0, added)
