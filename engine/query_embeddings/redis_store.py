"""Query embeddings in Redis, for the processes of several machines.

    omnisearch:<checkpoint>:<query>   made at (float64) and the vector (float32), little endian;
                                      Redis drops it after its time to live
    omnisearch:ages                   a sorted set: key by time, for the bound and the ages
    omnisearch:counters               a hash: hits and misses

If a server does not answer within a quarter of a second, it is not used for a while; queries that
are not in memory are then encoded.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from omnisearch.data.workspace.errors import InputError, MissingExtra
from omnisearch.engine.query_embeddings.protocol import Contents, Stored, packed, unpacked

_PREFIX = "omnisearch:"
_AGES, _COUNTERS = _PREFIX + "ages", _PREFIX + "counters"
_SECONDS = 0.25  # timeout of a connection or an answer
_REST = 5.0  # seconds before retrying after a failure
_AT_ONCE = 1000  # keys per command
_TIME = struct.Struct("<d")

T = TypeVar("T")

logger = logging.getLogger("omnisearch.query_cache")


class RedisStore:
    """`omnisearch.engine.query_embeddings.protocol.Store` on a Redis server; see there.

    Processes may share a server and a database, because entries are named by checkpoint. `clear`
    and the limit apply to all of them.
    """

    def __init__(self, url: str, *, ttl: float, max_entries: int) -> None:
        """Nothing is sent before the first use.

        Args:
            url: redis://, rediss:// or unix://, with user, password and database if needed.

        Raises:
            InputError: the URL is invalid, or the package redis is not installed.
        """
        if find_spec("redis") is None:
            raise MissingExtra("The package redis", "redis", where="cache url")
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=_SECONDS,
                socket_connect_timeout=_SECONDS,
                retry=Retry(NoBackoff(), 1),  # once: the server may have closed an idle connection
            )
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            self.where = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
        except ValueError as error:
            raise InputError(
                "The cache's URL cannot be used.",
                where="cache url",
                how="Write it as redis://host:6379/0.",
            ) from error
        self.ttl, self.max_entries = ttl, max_entries
        self._errors = (redis.RedisError, OSError)
        self._lock = threading.Lock()
        self._puts = 0
        self._rest_until = -1.0

    def get(self, checkpoint: str, queries: Sequence[str], oldest: float) -> Stored:
        def ask() -> Stored:
            found: Stored = {}
            for start in range(0, len(queries), _AT_ONCE):
                part = queries[start : start + _AT_ONCE]
                blobs = self._client.mget([_key(checkpoint, query) for query in part])
                for query, blob in zip(part, blobs, strict=True):
                    vector = unpacked(blob[_TIME.size :]) if blob else None
                    if vector is not None:
                        (created,) = _TIME.unpack_from(blob)
                        if created >= oldest:
                            found[query] = (vector, created)
            return found

        return self._tried(ask, {})

    def put(self, checkpoint: str, queries: Sequence[str], vectors: np.ndarray, now: float) -> None:
        def send() -> None:
            for start in range(0, len(queries), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                keys = [_key(checkpoint, query) for query in queries[part]]
                pipe = self._client.pipeline(transaction=False)
                for key, vector in zip(keys, vectors[part], strict=True):
                    blob = _TIME.pack(now) + packed(vector)
                    pipe.set(key, blob, px=max(1, int(self.ttl * 1000)))
                pipe.zadd(_AGES, dict.fromkeys(keys, now))
                pipe.execute()
            if self._bound_is_due(len(queries)):
                self._evict(now)

        self._tried(send, None)

    def count(self, counted: Mapping[str, int]) -> None:
        def send() -> None:
            pipe = self._client.pipeline(transaction=False)
            for name, value in counted.items():
                pipe.hincrby(_COUNTERS, name, value)
            pipe.execute()

        self._tried(send, None)

    def contents(self) -> Contents:
        def ask() -> Contents:
            self._client.zremrangebyscore(_AGES, "-inf", time.time() - self.ttl)
            entries = self._client.zcard(_AGES)
            ends = [self._client.zrange(_AGES, at, at, withscores=True) for at in (0, -1)]
            oldest, newest = (end[0][1] if end else None for end in ends)
            counters = self._client.hgetall(_COUNTERS)
            hits, misses = (int(counters.get(name, 0)) for name in (b"hits", b"misses"))
            size = self._client.info("memory").get("used_memory", 0)
            return Contents(entries, oldest, newest, size, hits, misses)

        return self._tried(ask, Contents())

    def clear(self) -> int:
        def send() -> int:
            entries = self._client.zcard(_AGES)
            for key in self._client.scan_iter(f"{_PREFIX}*", count=_AT_ONCE):
                self._client.unlink(key)
            return entries

        return self._tried(send, 0)

    def close(self) -> None:
        """Close the connections; they are reopened on the next use."""
        self._client.close()

    def _bound_is_due(self, added: int) -> bool:
        with self._lock:
            self._puts += added
            due = self._puts >= max(1, self.max_entries // 100)
            self._puts = 0 if due else self._puts
        return due

    def _evict(self, now: float) -> None:
        self._client.zremrangebyscore(_AGES, "-inf", now - self.ttl)
        over = self._client.zcard(_AGES) - self.max_entries
        while over > 0:
            oldest = self._client.zpopmin(_AGES, min(over, _AT_ONCE))
            if not oldest:
                return
            self._client.unlink(*(key for key, _ in oldest))
            over -= len(oldest)

    def _tried(self, call: Callable[[], T], otherwise: T) -> T:
        """The result of `call`; `otherwise` if it fails, and for a while after a failure."""
        if time.monotonic() < self._rest_until:
            return otherwise
        try:
            found = call()
        except self._errors as error:
            if self._rest_until < 0:
                logger.warning(
                    "%s: The query cache cannot be reached (%s). Queries are encoded without it.",
                    self.where,
                    type(error).__name__,
                )
            self._rest_until = time.monotonic() + _REST
            return otherwise
        if self._rest_until >= 0:
            self._rest_until = -1.0
            logger.warning("%s: The query cache answers again.", self.where)
        return found


def _key(checkpoint: str, query: str) -> str:
    return f"{_PREFIX}{checkpoint}:{query}"
