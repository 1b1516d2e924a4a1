"""The query-embedding cache of §3.6: a table in memory, backed by a store shared by processes.

An answer never depends on the cache, so its failures must not fail a search: what the store cannot
return is encoded, and what it cannot store is lost.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from omnisearch.data.text.normalise import encodable, normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import CacheConfig, EngineConfig, cache_config, engine_config
from omnisearch.engine.query_embeddings.protocol import DAY, Store
from omnisearch.engine.query_embeddings.sqlite_store import SqliteStore
from omnisearch.engine.query_embeddings.table import VectorTable

_FLUSH_SECONDS = 5.0
_BATCH = 256
_CHECKPOINTS = 2  # in memory: the live one, and one that running searches may still use


class QueryEncoder(Protocol):
    """What the cache needs of an encoder."""

    checkpoint: str
    dim: int

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray: ...


class QueryCache:
    """Query embeddings by checkpoint and normalised query.

    Safe for several threads, and for several processes on one store. Entries older than the time
    to live are misses; above `max_entries` the oldest are dropped. A failure is never cached.

    Attributes:
        store: what processes share.
        memory: maximum vectors of a checkpoint in memory; the least recently used are evicted.
    """

    def __init__(
        self,
        path: Path,
        *,
        ttl: float = 30 * DAY,
        max_entries: int = 200_000,
        memory: int = 4096,
        store: Store | None = None,
    ) -> None:
        """A cache on the SQLite file `path`, or on another `store`."""
        self.ttl, self.max_entries, self.memory = ttl, max_entries, memory
        self.store: Store = store or SqliteStore(path, ttl=ttl, max_entries=max_entries)
        self._tables: OrderedDict[str, VectorTable] = OrderedDict()
        self._lock = threading.Lock()
        self._encoding = threading.Lock()  # one call of the model at a time
        self._pending = {"hits": 0, "misses": 0}
        self._flushed = time.monotonic()
        atexit.register(_close_at_exit, weakref.ref(self))

    @classmethod
    def open_default(
        cls,
        workspace: Workspace | Path | str,
        config: EngineConfig | None = None,
        shared: CacheConfig | None = None,
    ) -> QueryCache:
        """The cache of a workspace (its folder or path), with the workspace's settings.

        Raises:
            InputError: unusable settings, such as an invalid URL.
        """
        if not isinstance(workspace, Workspace):
            workspace = Workspace(Path(workspace))
        config = config or engine_config(workspace)
        shared = shared or cache_config(workspace)
        ttl, most = config.cache_days * DAY, config.cache_entries
        store: Store | None = None
        if shared.url:
            from omnisearch.engine.query_embeddings.redis_store import RedisStore

            store = RedisStore(shared.url, ttl=ttl, max_entries=most)
        path, memory = workspace.query_cache, config.cache_memory
        return cls(path, ttl=ttl, max_entries=most, memory=memory, store=store)

    def vector(self, encoder: QueryEncoder, query: str) -> tuple[np.ndarray, bool]:
        """The embedding of one query, float32 (d,), and whether it was cached."""
        found = self.remembered(encoder.checkpoint, query)
        if found is None:
            rows, missed = self._looked_up(encoder, [query])
            if missed:
                return rows[0], False
            found = rows[0]
        self.counted(hits=1)
        return found, True

    def vectors(self, encoder: QueryEncoder, queries: Sequence[str]) -> np.ndarray:
        """The embeddings of many queries, float32 (n, d); those not cached are encoded in batches.

        Rows follow `queries`; an empty list gives shape (0, 0).
        """
        if not len(queries):
            return np.zeros((0, 0), np.float32)
        rows, missing = self.all_remembered(encoder.checkpoint, queries)
        if not len(missing):
            self.counted(hits=len(queries))
            return rows
        found, missed = self._looked_up(encoder, [queries[at] for at in missing.tolist()])
        self.counted(hits=len(queries) - len(missing) + len(found) - missed)
        if len(missing) == len(queries):
            return found
        rows[missing] = found
        return rows

    def warm(self, encoder: QueryEncoder, queries: Sequence[str]) -> int:
        """Encode those of the queries that are not cached; returns how many there were.

        These look-ups count neither as hits nor as misses.
        """
        wanted = [query for query in dict.fromkeys(map(key_of, queries)) if query]
        encoded = 0
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            _, missing = self.all_remembered(encoder.checkpoint, part)
            left = [part[at] for at in missing.tolist()]
            encoded += self._looked_up(encoder, left, count=False)[1] if left else 0
        return encoded

    def remembered(self, checkpoint: str, query: str) -> np.ndarray | None:
        """A copy of one query's embedding if in memory, float32 (d,): no store, model or count."""
        table = self._tables.get(checkpoint)
        if table is None:
            return None
        oldest = time.time() - self.ttl
        row = table.row(query, oldest)
        if row is None:
            key = key_of(query)
            row = table.row(key, oldest) if key != query else None
            if row is not None:
                table.also(query, key)
        return row

    def all_remembered(
        self, checkpoint: str, queries: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings in memory of many queries as typed: no store, model or count.

        Returns:
            (n, d) float32, with arbitrary rows for missing queries; and the positions of the
            missing ones, int64, ascending. Without any entry, d is 0.
        """
        table = self._tables.get(checkpoint)
        if table is None:
            return np.zeros((len(queries), 0), np.float32), np.arange(len(queries))
        oldest = time.time() - self.ttl
        rows, missing = table.rows(queries, oldest)
        if not len(missing):
            return rows, missing
        raw = [queries[at] for at in missing.tolist()]
        keys = [key_of(query) for query in raw]
        again, still = table.rows(keys, oldest)
        rows[missing] = again
        absent = set(still.tolist())
        for place, (query, key) in enumerate(zip(raw, keys, strict=True)):
            if place not in absent:
                table.also(query, key)
        return rows, missing[still]

    def stored(self, encoder: QueryEncoder, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Those of the normalised queries that are in the store; also puts them into memory.

        A vector of another size than the encoder's is damaged, and so a miss.
        """
        read = self.store.get(encoder.checkpoint, keys, time.time() - self.ttl)
        found = {query: entry for query, entry in read.items() if len(entry[0]) == encoder.dim}
        if found:
            made = np.array([created for _, created in found.values()])
            vectors = np.stack([vector for vector, _ in found.values()])
            self._table(encoder.checkpoint, encoder.dim).put(list(found), vectors, made)
        return {query: vector for query, (vector, _) in found.items()}

    def remember(self, checkpoint: str, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Put vectors of normalised queries into memory."""
        made = np.full(len(keys), time.time())
        self._table(checkpoint, vectors.shape[1]).put(keys, vectors, made)

    def share(self, checkpoint: str, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Put vectors of normalised queries into the store."""
        self.store.put(checkpoint, keys, vectors, time.time())

    def in_memory(self, checkpoint: str) -> int:
        """How many vectors of a checkpoint are in memory."""
        table = self._tables.get(checkpoint)
        return len(table) if table else 0

    def ages(self, checkpoint: str) -> tuple[float, float] | None:
        """Seconds since the oldest and the newest vector in memory were made; None without any."""
        table = self._tables.get(checkpoint)
        return table.ages(time.time()) if table else None

    def counted(self, hits: int = 0, misses: int = 0, flush: bool = True) -> None:
        """Count look-ups; counters are written every few seconds unless `flush` is false."""
        with self._lock:
            self._pending["hits"] += hits
            self._pending["misses"] += misses
            due = flush and time.monotonic() - self._flushed > _FLUSH_SECONDS
        if due:
            self.flush()

    def stats(self) -> dict[str, Any]:
        """Hits and misses of all processes since the cache was cleared, entries, age and size.

        `oldest_days` and `newest_days` are None without entries; `hit_rate` is None without
        look-ups. `in_memory` counts the rows of this process.
        """
        self.flush()
        found = self.store.contents()
        now, lookups = time.time(), found.hits + found.misses
        return {
            "store": self.store.where,
            "entries": found.entries,
            "in_memory": sum(len(table) for table in list(self._tables.values())),
            "hits": found.hits,
            "misses": found.misses,
            "hit_rate": found.hits / lookups if lookups else None,
            "oldest_days": None if found.oldest is None else (now - found.oldest) / DAY,
            "newest_days": None if found.newest is None else (now - found.newest) / DAY,
            "bytes": found.size,
            "ttl_days": self.ttl / DAY,
            "max_entries": self.max_entries,
        }

    def clear(self) -> int:
        """Drop all entries and counters; returns how many entries the store had.

        Other processes keep their entries in memory.
        """
        with self._lock:
            self._tables.clear()
            self._pending = {"hits": 0, "misses": 0}
        return self.store.clear()

    def flush(self) -> None:
        """Write the counted hits and misses to the store."""
        with self._lock:
            pending = {name: value for name, value in self._pending.items() if value}
            self._pending = {"hits": 0, "misses": 0}
            self._flushed = time.monotonic()
        if pending:
            self.store.count(pending)

    def close(self) -> None:
        """Write what is pending and close the store; it opens again when used again."""
        self.flush()
        self.store.close()

    def _looked_up(
        self, encoder: QueryEncoder, queries: Sequence[str], *, count: bool = True
    ) -> tuple[np.ndarray, int]:
        """(n, d) for queries that are not in memory, and how many of them were misses."""
        checkpoint = encoder.checkpoint
        keys = [key_of(query) for query in queries]
        unique = list(dict.fromkeys(keys))
        found: dict[str, np.ndarray] = self.stored(encoder, unique)
        missing = [key for key in unique if key not in found]
        encoded = 0
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            with self._encoding:
                # Another thread may have encoded some in the meantime.
                rows, left = self.all_remembered(checkpoint, part)
                if len(left) == len(part):
                    rows = encoder.queries(part)
                elif len(left):
                    rows[left] = encoder.queries([part[at] for at in left.tolist()])
                new = [part[at] for at in left.tolist()]
                if new:
                    self.remember(checkpoint, new, rows[left])
            if new:
                self.share(checkpoint, new, rows[left])
            encoded += len(new)
            found.update(zip(part, rows, strict=True))
        table = self._tables.get(checkpoint)
        for query, key in zip(queries, keys, strict=True):
            if table is not None:
                table.also(query, key)
        if count:
            self.counted(misses=encoded)
        return np.stack([found[key] for key in keys]), encoded

    def _table(self, checkpoint: str, dim: int) -> VectorTable:
        with self._lock:
            table = self._tables.get(checkpoint)
            if table is None or table.dim != dim:
                table = self._tables[checkpoint] = VectorTable(self.memory, dim)
                while len(self._tables) > _CHECKPOINTS:
                    self._tables.popitem(last=False)
            return table


def key_of(query: str) -> str:
    """The normalised query; lone surrogates, which stores cannot hold, become "?"."""
    return encodable(normalise_query(query))


def _close_at_exit(reference: weakref.ref[QueryCache]) -> None:
    cache = reference()
    if cache is not None:
        cache.close()
