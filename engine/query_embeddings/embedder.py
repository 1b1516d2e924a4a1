"""The query embedder of a service: memory first, then the shared store, then the model.

Requests wait on their event loops; one thread reads the store and runs the model for all of them. A
query that several requests miss at once is encoded once, and misses within a small window are
encoded together.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.encoders.onnx.query_tower import QueryTower
from omnisearch.engine.query_embeddings.cache import QueryCache, key_of

_FLUSH_SECONDS = 5.0
_LONGEST_RETRY = 30
_PART = 256  # queries of a large request in the queue at a time
_END_SECONDS = 5.0  # that `close` waits for the model

logger = logging.getLogger("omnisearch.query_cache")


class Overloaded(OmniError):
    """More queries are waiting for the model than the queue allows.

    Attributes:
        retry_after: whole seconds to wait before retrying.
    """

    def __init__(self, retry_after: int = 1) -> None:
        self.retry_after = retry_after
        super().__init__(
            "Too many queries are waiting for the model.", how=f"Retry in {retry_after} s."
        )


@dataclass
class _Request:
    """One waiting `embed` call: `done` is resolved on its loop when all its queries are done."""

    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    left: int
    found: dict[str, np.ndarray] = field(default_factory=dict)
    error: Exception | None = None


@dataclass
class _Job:
    """One query of one checkpoint, and the requests that wait for it."""

    tower: QueryTower
    key: str
    since: float
    waiting: list[_Request]


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
        window: seconds that a query may wait for others before the model runs.
        max_batch: maximum queries per call of the model.
        max_waiting: maximum queries waiting for the model.
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
        self.cache, self.window, self.max_batch = cache, window, max_batch
        self.max_waiting = max_waiting
        self._tower = tower
        self._counts = _Counts()
        self._sizes: dict[int, int] = {}  # power of two → batches up to that size
        self._told = 0  # memory hits already reported to the cache
        self._seconds_each = 0.0  # of the model, a running mean
        self._queue: deque[_Job] = deque()
        self._jobs: dict[tuple[str, str], _Job] = {}  # waiting or in the model
        self._changed = threading.Condition()
        self._closed = False
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
            "waiting": len(self._queue),
            "max_waiting": self.max_waiting,
            "batch_sizes": dict(sorted(self._sizes.items())),
            "in_memory": self.cache.in_memory(self.checkpoint),
            "oldest_seconds": ages[0] if ages else None,
            "newest_seconds": ages[1] if ages else None,
        }

    def close(self) -> None:
        """Finish the waiting work and stop the thread; a model that hangs is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_END_SECONDS)

    async def _wait_for(self, tower: QueryTower, keys: list[str]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        loop = asyncio.get_running_loop()
        part = max(1, min(_PART, self.max_waiting))
        for start in range(0, len(keys), part):
            some = keys[start : start + part]
            request = _Request(loop, loop.create_future(), len(some))
            self._ask(tower, some, request)
            await request.done
            if request.error is not None:
                raise request.error
            found |= request.found
        return found

    def _ask(self, tower: QueryTower, keys: list[str], request: _Request) -> None:
        """Attach the request to the jobs of its queries; new jobs join the queue."""
        if not tower.dim:
            raise NoEmbeddings
        now = time.monotonic()
        with self._changed:
            if self._closed:
                raise OmniError("The query embedder was closed.")
            known = [self._jobs.get((tower.checkpoint, key)) for key in keys]
            new = sum(job is None for job in known)
            if new and len(self._queue) + new > self.max_waiting:
                self._counts.refused += len(keys)
                raise Overloaded(self._retry_after())
            self._counts.joined += len(keys) - new
            for key, job in zip(keys, known, strict=True):
                if job is None:
                    job = _Job(tower, key, now, [request])
                    self._jobs[tower.checkpoint, key] = job
                    self._queue.append(job)
                else:
                    job.waiting.append(request)
            self._changed.notify()

    def _retry_after(self) -> int:
        seconds = math.ceil(len(self._queue) * self._seconds_each)
        return min(max(1, seconds), _LONGEST_RETRY)

    def _run(self) -> None:
        while True:
            jobs = self._next_batch()
            if jobs is None:
                break
            try:
                if jobs:
                    self._answer(jobs)
                self._tell()
            except BaseException as error:  # the thread must survive any error; Rust's panics too
                logger.exception("The query embedder failed.")
                self._fail(
                    jobs, OmniError(f"The query cannot be encoded ({type(error).__name__}).")
                )
        self._tell()

    def _next_batch(self) -> list[_Job] | None:
        """Jobs of one tower; empty after some seconds without any, None at the end."""
        with self._changed:
            if not self._queue and not self._closed:
                self._changed.wait(_FLUSH_SECONDS)
            if not self._queue:
                return None if self._closed else []
            until = self._queue[0].since + self.window
            while len(self._queue) < self.max_batch and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            jobs: list[_Job] = []
            tower = self._queue[0].tower
            while self._queue and len(jobs) < self.max_batch and self._queue[0].tower is tower:
                jobs.append(self._queue.popleft())
            return jobs

    def _answer(self, jobs: list[_Job]) -> None:
        tower = jobs[0].tower
        jobs = self._remembered_meanwhile(jobs)
        stored = self.cache.stored(tower, [job.key for job in jobs])
        self._deliver([job for job in jobs if job.key in stored], stored)
        self._counts.store_hits += len(stored)
        left = [job for job in jobs if job.key not in stored]
        encoded: list[_Job] = []
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
            self._deliver(encoded, vectors)
            self.cache.share(tower.checkpoint, keys, rows)
        self.cache.counted(hits=len(stored), misses=len(encoded), flush=False)

    def _remembered_meanwhile(self, jobs: list[_Job]) -> list[_Job]:
        """The jobs that are still not in memory; some may have been added meanwhile."""
        rows, missing = self.cache.all_remembered(jobs[0].tower.checkpoint, [j.key for j in jobs])
        left = set(missing.tolist())
        known = [place for place in range(len(jobs)) if place not in left]
        self._deliver([jobs[at] for at in known], {jobs[at].key: rows[at] for at in known})
        return [jobs[at] for at in missing.tolist()]

    def _encode(self, tower: QueryTower, jobs: list[_Job]) -> dict[str, np.ndarray]:
        """key → vector; if the model fails on a job, only that job gets the error."""
        try:
            rows = tower.queries([job.key for job in jobs])
            return {job.key: row for job, row in zip(jobs, rows, strict=True)}
        except BaseException as error:  # Rust's panics are not Exceptions
            if len(jobs) == 1:
                logger.warning("The model failed on a query (%s).", type(error).__name__)
                self._counts.failed += 1
                self._fail(
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
        each = seconds / size
        self._seconds_each = 0.9 * self._seconds_each + 0.1 * each if self._seconds_each else each

    def _deliver(self, jobs: list[_Job], vectors: dict[str, np.ndarray]) -> None:
        """Pass the vectors to all waiting requests; they are already in memory."""
        done: list[_Request] = []
        with self._changed:
            for job in jobs:
                self._jobs.pop((job.tower.checkpoint, job.key), None)
        # No request can join these jobs any more.
        for job in jobs:
            for request in job.waiting:
                request.found[job.key] = vectors[job.key]
                request.left -= 1
                if request.left == 0:
                    done.append(request)
        _resolve(done)

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        with self._changed:
            places = [(job.tower.checkpoint, job.key) for job in jobs]
            left = [job for place in places if (job := self._jobs.pop(place, None))]
        waiting = [request for job in left for request in job.waiting]
        for request in waiting:
            request.error = error
        _resolve(waiting)

    def _tell(self) -> None:
        """Report memory hits to the cache, and let it write its counters."""
        hits = self._counts.memory_hits
        self.cache.counted(hits=hits - self._told)
        self._told = hits


def _resolve(requests: list[_Request]) -> None:
    """Wake the requests, with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
    for request in requests:
        by_loop.setdefault(request.loop, []).append(request)
    for loop, some in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, some)
        except RuntimeError:  # that loop was closed meanwhile
            continue


def _wake(requests: list[_Request]) -> None:
    for request in requests:
        if not request.done.done():  # a request may have given up
            request.done.set_result(None)
