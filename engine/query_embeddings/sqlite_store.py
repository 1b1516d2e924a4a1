"""Query embeddings in one SQLite file, for the processes of one machine.

A damaged file is moved aside and replaced by a new one; a full disk or a lock that does not clear
counts as a miss.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from omnisearch.data.workspace.locks import locked
from omnisearch.engine.query_embeddings.protocol import Contents, Stored, packed, unpacked

_LOCK_SECONDS = 2.0  # waiting for another process
_USER_VERSION = 1
_VARIABLES = 500  # per statement

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entries (
    checkpoint TEXT NOT NULL, query TEXT NOT NULL,
    vector BLOB NOT NULL,   -- float32, little endian, unit length
    created REAL NOT NULL,
    PRIMARY KEY (checkpoint, query)
);
CREATE INDEX IF NOT EXISTS entries_by_age ON entries (created);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
PRAGMA user_version={_USER_VERSION};
"""

logger = logging.getLogger("omnisearch.query_cache")


class SqliteStore:
    """`omnisearch.engine.query_embeddings.protocol.Store` in a file; see there."""

    def __init__(self, path: Path, *, ttl: float, max_entries: int) -> None:
        self.path, self.where = path, str(path)
        self.ttl, self.max_entries = ttl, max_entries
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._puts = 0
        self._said: set[str] = set()

    def get(self, checkpoint: str, queries: Sequence[str], oldest: float) -> Stored:
        found: Stored = {}
        with self._using("read") as connection:
            for start in range(0, len(queries) if connection else 0, _VARIABLES):
                assert connection is not None
                part = queries[start : start + _VARIABLES]
                rows = connection.execute(
                    "SELECT query, vector, created FROM entries WHERE checkpoint = ? "
                    f"AND query IN ({', '.join('?' * len(part))}) AND created >= ?",
                    [checkpoint, *part, oldest],
                )
                for query, blob, created in rows:
                    vector = unpacked(blob)
                    if vector is not None:
                        found[query] = (vector, created)
        return found

    def put(self, checkpoint: str, queries: Sequence[str], vectors: np.ndarray, now: float) -> None:
        rows = [
            (checkpoint, query, packed(vector), now)
            for query, vector in zip(queries, vectors, strict=True)
        ]
        with self._lock:
            self._puts += len(rows)
            # Counting is linear in the entries, so check only after each hundredth of the limit.
            check = self._puts >= max(1, self.max_entries // 100)
            self._puts = 0 if check else self._puts
            with self._using("write") as connection:
                if connection is None:
                    return
                connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
                if check:
                    self._evict(connection, now)

    def count(self, counted: Mapping[str, int]) -> None:
        with self._using("write") as connection:
            if connection is not None:
                connection.executemany(
                    "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) "
                    "DO UPDATE SET value = value + excluded.value",
                    list(counted.items()),
                )

    def contents(self) -> Contents:
        found = Contents()
        with self._using("read") as connection:
            if connection is not None:
                counters = dict(connection.execute("SELECT name, value FROM counters"))
                entries, oldest, newest = connection.execute(
                    "SELECT COUNT(*), MIN(created), MAX(created) FROM entries"
                ).fetchone()
                size = self.path.stat().st_size if self.path.exists() else 0
                hits, misses = counters.get("hits", 0), counters.get("misses", 0)
                found = Contents(entries, oldest, newest, size, hits, misses)
        return found

    def clear(self) -> int:
        dropped = 0
        with self._using("clear") as connection:
            if connection is not None:
                dropped = connection.execute("DELETE FROM entries").rowcount
                connection.execute("DELETE FROM counters")
        return dropped

    def close(self) -> None:
        """Close the file; it is reopened on the next use."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _evict(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM entries WHERE created < ?", [now - self.ttl])
        (entries,) = connection.execute("SELECT COUNT(*) FROM entries").fetchone()
        if entries > self.max_entries:
            connection.execute(
                "DELETE FROM entries WHERE rowid IN "
                "(SELECT rowid FROM entries ORDER BY created, rowid LIMIT ?)",
                [entries - self.max_entries],
            )

    @contextmanager
    def _using(self, purpose: str) -> Iterator[sqlite3.Connection | None]:
        """The connection in one transaction, or None if the file cannot be used."""
        with self._lock:
            connection = None
            try:
                connection = self._open()
                with connection:
                    yield connection
            except sqlite3.DatabaseError as error:
                if connection is None:
                    self._warn(f"The query cache cannot be opened ({error}).")
                    yield None
                elif isinstance(error, sqlite3.OperationalError) and not _damaged(error):
                    self._warn(f"The query cache cannot {purpose} ({error}).")
                else:
                    connection.close()
                    self._connection = None
                    with suppress(sqlite3.DatabaseError, OSError):
                        self._connection = self._connect(begin_anew=str(error))
            except OSError as error:
                if connection is not None:
                    raise
                self._warn(f"The query cache cannot be opened ({error}).")
                yield None

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # a fork: SQLite connections must not cross it
            self._process, self._connection = os.getpid(), None
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self, begin_anew: str = "") -> sqlite3.Connection:
        """Open the file, moving a damaged one aside first, by one process at a time."""
        with locked(self.path.with_suffix(".lock")):
            try:
                connection = _connect(self.path)
                if not begin_anew:
                    return connection
                # Another process may have replaced the file already.
                whole = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                if whole:
                    return connection
                connection.close()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                begin_anew = str(error)
            logger.warning(
                "%s: The query cache is damaged (%s). It was moved aside and replaced; queries "
                "are encoded again.",
                self.path,
                begin_anew,
            )
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            self.path.replace(self.path.with_suffix(".damaged"))
            return _connect(self.path)

    def _warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s: %s Queries are encoded without it.", self.path, message)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # A lost cache entry costs one encoding: no fsync at commit.
        connection.execute("PRAGMA synchronous=NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _USER_VERSION):
            raise sqlite3.DatabaseError(f"it has version {version}, not {_USER_VERSION}")
        if version == 0:
            connection.executescript(_SCHEMA)
        connection.execute("SELECT checkpoint, query, vector, created FROM entries LIMIT 1")
        connection.execute("SELECT name, value FROM counters LIMIT 1")
    except BaseException:
        connection.close()
        raise
    return connection


def _damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is damaged; not a lock, a full disk or missing permission."""
    busy = ("locked", "busy", "readonly", "read-only", "unable to open", "full", "disk i/o")
    return not any(word in str(error).casefold() for word in busy)
