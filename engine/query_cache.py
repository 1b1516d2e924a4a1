"""The query-embedding cache of §3.6: SQLite on disk, a small memory in front of it.

A cached embedding is never needed for an answer, so nothing here may fail a search: a damaged
file is put aside and begun anew, a full disk or a lock that does not clear counts as a miss, and
each is said once as a warning.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data.text import normalise_query
from data.workspace import Workspace
from engine.config import EngineConfig, engine_config

DAY = 86_400.0
_FLUSH_SECONDS = 5.0
_LOCK_SECONDS = 2.0  # waited for another process
_USER_VERSION = 1
_BATCH = 256

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


class QueryEncoder(Protocol):
    """What the cache needs of an encoder."""

    checkpoint: str

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray: ...


class QueryCache:
    """Query embeddings by checkpoint and normalised query.

    Safe for several threads, and for several processes on one file. Entries older than the time
    to live are misses; above `max_entries` the oldest are dropped.
    """

    def __init__(
        self,
        path: Path,
        *,
        ttl: float = 30 * DAY,
        max_entries: int = 200_000,
        memory: int = 4096,
    ) -> None:
        self.path, self.ttl, self.max_entries, self.memory = path, ttl, max_entries, memory
        self._recent: OrderedDict[tuple[str, str], tuple[np.ndarray, float]] = OrderedDict()
        self._lock = threading.RLock()
        self._encoding = threading.Lock()  # fast tokenizers must not be called from two threads
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._pending = {"hits": 0, "misses": 0}
        self._flushed = time.monotonic()
        self._puts = 0
        self._said: set[str] = set()
        atexit.register(_close_at_exit, weakref.ref(self))

    @classmethod
    def open_default(
        cls, workspace: Workspace | Path | str, config: EngineConfig | None = None
    ) -> QueryCache:
        """The cache of a workspace (its folder or path), with the workspace's settings."""
        if not isinstance(workspace, Workspace):
            workspace = Workspace(Path(workspace))
        config = config or engine_config(workspace)
        return cls(
            workspace.query_cache,
            ttl=config.cache_days * DAY,
            max_entries=config.cache_entries,
            memory=config.cache_memory,
        )

    def vector(self, encoder: QueryEncoder, query: str) -> tuple[np.ndarray, bool]:
        """The embedding of one query, float32 (d,), and whether it was cached."""
        key = _key(encoder, query)
        found = self._get(key)
        if found is not None:
            return found, True
        with self._encoding:
            encoded = encoder.queries([key[1]])[0]
        self._put([key], encoded[None])
        return encoded, False

    def vectors(self, encoder: QueryEncoder, queries: Sequence[str]) -> np.ndarray:
        """The embeddings of many queries, float32 (n, d); those not cached are encoded in batches.

        Rows follow `queries`; an empty list gives shape (0, 0).
        """
        keys = [_key(encoder, query) for query in queries]
        found = {key: self._get(key) for key in dict.fromkeys(keys)}
        missing = [key for key, value in found.items() if value is None]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            with self._encoding:
                encoded = encoder.queries([key[1] for key in part])
            self._put(part, encoded)
            found.update(zip(part, encoded, strict=True))
        rows = [found[key] for key in keys]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)  # type: ignore[arg-type]

    def warm(self, encoder: QueryEncoder, queries: Sequence[str]) -> int:
        """Encode ahead those of the queries that are not cached; returns how many these were.

        Looking them up counts neither as hits nor as misses.
        """
        keys = dict.fromkeys(_key(encoder, query) for query in queries)
        missing = [key for key in keys if key[1] and self._get(key, count=False) is None]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            with self._encoding:
                encoded = encoder.queries([key[1] for key in part])
            self._put(part, encoded)
        return len(missing)

    def stats(self) -> dict[str, Any]:
        """Hits and misses of all processes since the cache was cleared, entries, age and size.

        `oldest_days` and `newest_days` are None where there is no entry; `hit_rate` is None where
        there was no lookup.
        """
        self.flush()
        counters = {"hits": 0, "misses": 0}
        entries, oldest, newest = 0, None, None
        with self._using("read") as connection:
            if connection is not None:
                counters |= dict(connection.execute("SELECT name, value FROM counters"))
                entries, oldest, newest = connection.execute(
                    "SELECT COUNT(*), MIN(created), MAX(created) FROM entries"
                ).fetchone()
        now, lookups = time.time(), counters["hits"] + counters["misses"]
        return {
            "entries": entries,
            "hits": counters["hits"],
            "misses": counters["misses"],
            "hit_rate": counters["hits"] / lookups if lookups else None,
            "oldest_days": None if oldest is None else (now - oldest) / DAY,
            "newest_days": None if newest is None else (now - newest) / DAY,
            "bytes": self.path.stat().st_size if self.path.exists() else 0,
            "ttl_days": self.ttl / DAY,
            "max_entries": self.max_entries,
        }

    def clear(self) -> int:
        """Drop all entries and counters; returns how many entries there were."""
        dropped = 0
        with self._lock:
            self._recent.clear()
            self._pending = {"hits": 0, "misses": 0}
            with self._using("clear") as connection:
                if connection is not None:
                    dropped = connection.execute("DELETE FROM entries").rowcount
                    connection.execute("DELETE FROM counters")
        return dropped

    def flush(self) -> None:
        """Write the counted hits and misses to the file."""
        with self._lock:
            pending = {name: value for name, value in self._pending.items() if value}
            self._pending = {"hits": 0, "misses": 0}
            self._flushed = time.monotonic()
            if not pending:
                return
            with self._using("write") as connection:
                if connection is not None:
                    connection.executemany(
                        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) "
                        "DO UPDATE SET value = value + excluded.value",
                        list(pending.items()),
                    )

    def close(self) -> None:
        """Write what is pending and close the file; the cache opens it again when used again."""
        with self._lock:
            self.flush()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _get(self, key: tuple[str, str], *, count: bool = True) -> np.ndarray | None:
        with self._lock:
            found = self._lookup(key)
            if count:
                self._pending["misses" if found is None else "hits"] += 1
                if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                    self.flush()
        return found

    def _lookup(self, key: tuple[str, str]) -> np.ndarray | None:
        oldest = time.time() - self.ttl
        if key in self._recent:
            vector, created = self._recent[key]
            if created >= oldest:
                self._recent.move_to_end(key)
                return vector
            del self._recent[key]
        row = None
        with self._using("read") as connection:
            if connection is not None:
                row = connection.execute(
                    "SELECT vector, created FROM entries WHERE checkpoint = ? AND query = ?", key
                ).fetchone()
        if row is None or row[1] < oldest or len(row[0]) % 4:
            return None
        vector = np.frombuffer(row[0], dtype="<f4").astype(np.float32)
        # A blob that is no unit vector was damaged on disk; it is encoded again and replaced.
        if not abs(float(vector @ vector) - 1.0) < 1e-2:
            return None
        self._remember(key, vector, row[1])
        return vector

    def _remember(self, key: tuple[str, str], vector: np.ndarray, created: float) -> None:
        vector.setflags(write=False)
        self._recent[key] = (vector, created)
        self._recent.move_to_end(key)
        while len(self._recent) > self.memory:
            self._recent.popitem(last=False)

    def _put(self, keys: Sequence[tuple[str, str]], vectors: np.ndarray) -> None:
        now = time.time()
        rows = [
            (*key, np.ascontiguousarray(vector, dtype="<f4").tobytes(), now)
            for key, vector in zip(keys, vectors, strict=True)
        ]
        with self._lock:
            for key, vector in zip(keys, vectors, strict=True):
                self._remember(key, np.array(vector, dtype=np.float32), now)
            self._puts += len(rows)
            # Counting is linear in the entries, so the bound is checked at every hundredth part.
            check = self._puts >= max(1, self.max_entries // 100)
            self._puts = 0 if check else self._puts
            with self._using("write") as connection:
                if connection is None:
                    return
                connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
                if check:
                    self._evict(connection, now)

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
        """The connection in one transaction, or None where the file cannot be used."""
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
            self._pending = {"hits": 0, "misses": 0}
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self, begin_anew: str = "") -> sqlite3.Connection:
        """Open the file; one that is damaged is put aside first, by one process at a time."""
        with (self.path.with_suffix(".lock")).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                connection = _connect(self.path)
                if not begin_anew:
                    return connection
                # Another process may have replaced the file already: then it is whole.
                whole = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                if whole:
                    return connection
                connection.close()
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                begin_anew = str(error)
            logger.warning(
                "%s: The query cache is damaged (%s). It was put aside and begins anew; queries "
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


def _key(encoder: QueryEncoder, query: str) -> tuple[str, str]:
    """Checkpoint and normalised query; lone surrogates, which SQLite refuses, become "?"."""
    return encoder.checkpoint, normalise_query(query).encode("utf-8", "replace").decode()


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
    """Whether the file is to blame, not a lock, a full disk or a folder without permission."""
    busy = ("locked", "busy", "readonly", "read-only", "unable to open", "full", "disk i/o")
    return not any(word in str(error).casefold() for word in busy)


def _close_at_exit(reference: weakref.ref[QueryCache]) -> None:
    cache = reference()
    if cache is not None:
        cache.close()
