"""The query embedder of a service: memory first, then the shared store, then the model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from data.errors import OmniError
from engine.query_cache import QueryCache, QueryEncoder, _key


class Overloaded(OmniError):
    """More queries wait for the model than the queue holds.

    Attributes:
        retry_after: whole seconds after which it is worth asking again.
    """

    retry_after = 1


class QueryEmbedder:
    """Query embeddings for the event loops of a service.

    Attributes:
        cache: its memory and store; closed by whoever opened it.
        max_waiting: most queries that wait for the model at a time.
    """

    def __init__(
        self,
        cache: QueryCache,
        tower: QueryEncoder,
        *,
        window: float = 0.002,
        max_batch: int = 64,
        max_waiting: int = 1024,
    ) -> None:
        self.cache, self.window, self.max_batch = cache, window, max_batch
        self.max_waiting = max_waiting
        self._tower = tower
        self._waiting = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "query-model")

    @property
    def checkpoint(self) -> str:
        """The checkpoint that the next request is answered with."""
        return self._tower.checkpoint

    @property
    def dim(self) -> int:
        """Size of the vectors."""
        return self._tower.dim  # type: ignore[attr-defined]

    def swap(self, tower: QueryEncoder) -> None:
        """Answer the requests that begin from now on with this tower; others end with theirs."""
        self._tower = tower

    def cached(self, text: str) -> np.ndarray | None:
        """The embedding of a query, float32 (dim,), if it is in memory: no store, no model."""
        key = _key(self._tower, text)
        found = self.cache._recent.get(key)
        return None if found is None else found[0]

    async def embed(self, texts: Sequence[str], timeout: float | None = None) -> np.ndarray:
        """The embeddings of queries, float32 (n, dim), in their order; all of one checkpoint.

        Args:
            timeout: seconds to wait at most; the work goes on and is remembered. None waits.

        Raises:
            Overloaded: too many queries are waiting already.
            TimeoutError: it took longer than `timeout`.
        """
        tower = self._tower
        with self._lock:
            if self._waiting + len(texts) > self.max_waiting and self._waiting:
                raise Overloaded(
                    "Too many queries are waiting for the model.", how="Try again in a second."
                )
            self._waiting += len(texts)
        work = self._pool.submit(self._run, tower, list(texts))
        return await asyncio.wait_for(asyncio.wrap_future(work), timeout)

    def stats(self) -> dict[str, Any]:
        """Counts since the start; see docs/query-embeddings.md."""
        return {"waiting": self._waiting}

    def close(self) -> None:
        """Stop the model thread; requests under way are finished."""
        self._pool.shutdown()

    def _run(self, tower: QueryEncoder, texts: list[str]) -> np.ndarray:
        try:
            return self.cache.vectors(tower, texts)
        finally:
            with self._lock:
                self._waiting -= len(texts)
