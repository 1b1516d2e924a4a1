"""The query embedder of a service: memory first, then the shared store, then the model.

Requests wait on their event loops; one thread reads the store and runs the model for all of them. A
query that several requests miss at once is encoded once, and misses within a small window are
encoded together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.encoders.onnx.query_tower import QueryTower
from omnisearch.engine.query_embeddings.cache import QueryCache, key_of
from omnisearch.engine.query_embeddings.jobs import Job, Jobs, Overloaded, Request

_PART = 256  # queries of a large request in the queue at a time
_END_SECONDS = 5.0  # that `close` waits for the model

logger = logging.getLogger("omnisearch.query_cache")


@dataclass
class _Counts:
    memory_hits: int = 0
    store_hits: int = 0
    encoded: int = 0
    joined: int = 0
    refused: int = 0
    failed: int = 0
    batches: int = 0
    largest_batch: int = 0
    model_seconds: float = 0.0


class QueryEmbedder:
    """Query embeddings for the event loops of one process. Create it after any fork.

    Attributes:
        cache: its memory and store; the caller closes it after closing the embedder.
    """

    def __init__(
        self,
        cache: QueryCache,
        tower: QueryTower,
        *,
        window: float = 0.002,
        max_batch: int = 64,
        max_waiting: int = 1024,
    ) -> None:
        """
        Args:
            window: seconds that a query may wait for others before the model runs.
            max_batch: maximum queries per call of the model.
            max_waiting: maximum queries waiting for the model.
        """
        self.cache, self._tower = cache, tower
        self._jobs = Jobs(window, max_batch, max_waiting)
        self._counts = _Counts()
        self._sizes: dict[int, int] = {}  # power of two → batches up to that size
        self._told = 0  # memory hits already reported to the cache
        self._thread = threading.Thread(target=self._run, name="query-model", daemon=True)
        self._thread.start()

    @property
    def checkpoint(self) -> str:
        """The checkpoint that answers the next request."""
        return self._tower.checkpoint

    @property
    def dim(self) -> int:
        """Size of the vectors."""
        return self._tower.dim

    def swap(self, tower: QueryTower) -> None:
        """Answer requests that begin from now on with this tower; running ones keep theirs.

        A request that must agree with a generation passes that generation's tower to `embed`.
        """
        self._tower = tower

    def cached(self, text: str, tower: QueryTower | None = None) -> np.ndarray | None:
        """A copy of the embedding of a query, float32 (dim,), if it is in memory.

        Uses neither store nor model; safe on any thread.
        """
        found = self.cache.remembered((tower or self._tower).checkpoint, text)
        if found is not None:
            self._counts.memory_hits += 1
        return found

    async def embed(
        self,
        texts: Sequence[str],
        timeout: float | None = None,
        tower: QueryTower | None = None,
    ) -> np.ndarray:
        """The embeddings of queries, float32 (n, dim), in order and all of one checkpoint.

        Args:
            timeout: maximum seconds to wait; the work continues and is cached. None: no limit.
            tower: the tower to use instead of the current one.

        Raises:
            Overloaded: too many queries are waiting.
            TimeoutError: it took longer than `timeout`.
            OmniError: the model failed on a query.
        """
        tower = tower or self._tower
        if not len(texts):
            return np.zeros((0, tower.dim), np.float32)
        rows, missing, keys = self.remembered(texts, tower)
        if not len(missing):
            return rows
        async with asyncio.timeout(timeout):
            vectors = await self.encoded(keys, tower)
        if len(missing) == len(texts):
            return vectors
        rows[missing] = vectors
        return rows

    def remembered(
        self, texts: Sequence[str], tower: QueryTower
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """What `embed` has to begin with; safe on any thread.

        Returns:
            (n, dim) float32, with arbitrary rows for missing queries; the positions of the missing
            ones, int64, ascending; and their normalised texts. Without any entry, dim is 0.
        """
        rows, missing = self.cache.all_remembered(tower.checkpoint, texts)
        self._counts.memory_hits += len(texts) - len(missing)
        return rows, missing, [key_of(texts[at]) for at in missing.tolist()]

    async def encoded(self, keys: Sequence[str], tower: QueryTower) -> np.ndarray:
        """The embeddings of normalised queries that are not in memory, float32 (n, dim).

        Raises:
            Overloaded, OmniError: as `embed`.
        """
        found = await self._wait_for(tower, list(dict.fromkeys(keys)))
        return np.stack([found[key] for key in keys])

    def stats(self) -> dict[str, Any]:
        """Counts since the start, by name; `hit_rate` and ages are None without data.

        `batch_sizes` maps 1, 2, 4, ... to the batches of up to that many queries. Ages are in
        seconds, of the current checkpoint's vectors in memory.
        """
        counts = self._counts
        hits = counts.memory_hits + counts.store_hits
        asked = hits + counts.encoded + counts.joined
        ages = self.cache.ages(self.checkpoint)
        return {
            **vars(counts),
            "checkpoint": self.checkpoint,
            "hit_rate": hits / asked if asked else None,
            "waiting": len(self._jobs),
            "max_waiting": self._jobs.max_waiting,
            "batch_sizes": dict(sorted(self._sizes.items())),
            "in_memory": self.cache.in_memory(self.checkpoint),
            "oldest_seconds": ages[0] if ages else None,
            "newest_seconds": ages[1] if ages else None,
        }

    def close(self) -> None:
        """Finish the waiting work and stop the thread; a model that hangs is left behind."""
        self._jobs.close()
        self._thread.join(_END_SECONDS)

    async def _wait_for(self, tower: QueryTower, keys: list[str]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        loop = asyncio.get_running_loop()
        if not tower.dim:
            raise NoEmbeddings
        part = max(1, min(_PART, self._jobs.max_waiting))
        for start in range(0, len(keys), part):
            some = keys[start : start + part]
            request = Request(loop, loop.create_future(), len(some))
            try:
                self._counts.joined += self._jobs.ask(tower, some, request)
            except Overloaded:
                self._counts.refused += len(some)
                raise
            await request.done
            if request.error is not None:
                raise request.error
            found |= request.found
        return found

    def _run(self) -> None:
        while True:
            jobs = self._jobs.next_batch()
            if jobs is None:
                break
            try:
                if jobs:
                    self._answer(jobs)
                self._tell()
            except BaseException as error:  # the thread must survive any error; Rust's panics too
                logger.exception("The query embedder failed.")
                self._jobs.fail(
                    jobs, OmniError(f"The query cannot be encoded ({type(error).__name__}).")
                )
        self._tell()

    def _answer(self, jobs: list[Job]) -> None:
        tower = jobs[0].tower
        jobs = self._remembered_meanwhile(jobs)
        stored = self.cache.stored(tower, [job.key for job in jobs])
        self._jobs.deliver([job for job in jobs if job.key in stored], stored)
        self._counts.store_hits += len(stored)
        left = [job for job in jobs if job.key not in stored]
        encoded: list[Job] = []
        if left:
            start = time.perf_counter()
            vectors = self._encode(tower, left)
            spent = time.perf_counter() - start
            self._count_batch(len(left), spent)
            encoded = [job for job in left if job.key in vectors]
        if encoded:
            keys = [job.key for job in encoded]
            rows = np.stack([vectors[key] for key in keys])
            self.cache.remember(tower.checkpoint, keys, rows)
            self._jobs.deliver(encoded, vectors)
            self.cache.share(tower.checkpoint, keys, rows)
        self.cache.counted(hits=len(stored), misses=len(encoded), flush=False)

    def _remembered_meanwhile(self, jobs: list[Job]) -> list[Job]:
        """The jobs that are still not in memory; some may have been added meanwhile."""
        rows, missing = self.cache.all_remembered(jobs[0].tower.checkpoint, [j.key for j in jobs])
        left = set(missing.tolist())
        known = [place for place in range(len(jobs)) if place not in left]
        self._jobs.deliver([jobs[at] for at in known], {jobs[at].key: rows[at] for at in known})
        return [jobs[at] for at in missing.tolist()]

    def _encode(self, tower: QueryTower, jobs: list[Job]) -> dict[str, np.ndarray]:
        """key → vector; if the model fails on a job, only that job gets the error."""
        try:
            rows = tower.queries([job.key for job in jobs])
            return {job.key: row for job, row in zip(jobs, rows, strict=True)}
        except BaseException as error:  # Rust's panics are not Exceptions
            if len(jobs) == 1:
                logger.warning("The model failed on a query (%s).", type(error).__name__)
                self._counts.failed += 1
                self._jobs.fail(
                    jobs, OmniError(f"The query cannot be encoded ({type(error).__name__}).")
                )
                return {}
        return {key: row for job in jobs for key, row in self._encode(tower, [job]).items()}

    def _count_batch(self, size: int, seconds: float) -> None:
        counts = self._counts
        counts.encoded += size
        counts.batches += 1
        counts.largest_batch = max(counts.largest_batch, size)
        counts.model_seconds += seconds
        power = 1 << (size - 1).bit_length()
        self._sizes[power] = self._sizes.get(power, 0) + 1
        each, before = seconds / size, self._jobs.seconds_each
        self._jobs.seconds_each = 0.9 * before + 0.1 * each if before else each

    def _tell(self) -> None:
        """Report memory hits to the cache, and let it write its counters."""
        hits = self._counts.memory_hits
        self.cache.counted(hits=hits - self._told)
        self._told = hits
