"""The queries that wait for the model: one job for each, whatever the number of requests."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.onnx.query_tower import QueryTower

_FLUSH_SECONDS = 5.0
_LONGEST_RETRY = 30


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
class Request:
    """One waiting `embed` call: `done` is resolved on its loop when all its queries are done."""

    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    left: int
    found: dict[str, np.ndarray] = field(default_factory=dict)
    error: Exception | None = None


@dataclass
class Job:
    """One query of one checkpoint, and the requests that wait for it."""

    tower: QueryTower
    key: str
    since: float
    waiting: list[Request]


class Jobs:
    """The queue of jobs, and those that are with the model; safe for several threads.

    Attributes:
        window: seconds that a job may wait for others. max_batch: jobs taken at a time.
        max_waiting: jobs in the queue.
        seconds_each: of the model, a running mean, for the time that `Overloaded` names.
    """

    def __init__(self, window: float, max_batch: int, max_waiting: int) -> None:
        self.window, self.max_batch, self.max_waiting = window, max_batch, max_waiting
        self.seconds_each = 0.0
        self._queue: deque[Job] = deque()
        self._known: dict[tuple[str, str], Job] = {}  # waiting or with the model
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def ask(self, tower: QueryTower, keys: Sequence[str], request: Request) -> int:
        """Attach a request to the jobs of its queries; new jobs join the queue.

        Returns how many were there already; raises Overloaded.
        """
        now = time.monotonic()
        with self._changed:
            if self._closed:
                raise OmniError("The query embedder was closed.")
            known = [self._known.get((tower.checkpoint, key)) for key in keys]
            new = sum(job is None for job in known)
            if new and len(self._queue) + new > self.max_waiting:
                seconds = math.ceil(len(self._queue) * self.seconds_each)
                raise Overloaded(min(max(1, seconds), _LONGEST_RETRY))
            for key, job in zip(keys, known, strict=True):
                if job is None:
                    job = Job(tower, key, now, [request])
                    self._known[tower.checkpoint, key] = job
                    self._queue.append(job)
                else:
                    job.waiting.append(request)
            self._changed.notify()
        return len(keys) - new

    def next_batch(self) -> list[Job] | None:
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
            jobs: list[Job] = []
            tower = self._queue[0].tower
            while self._queue and len(jobs) < self.max_batch and self._queue[0].tower is tower:
                jobs.append(self._queue.popleft())
            return jobs

    def deliver(self, jobs: Sequence[Job], vectors: dict[str, np.ndarray]) -> None:
        """Pass vectors, which are already in memory, to all requests that wait for these jobs."""
        done: list[Request] = []
        with self._changed:
            for job in jobs:
                self._known.pop((job.tower.checkpoint, job.key), None)
        # No request can join these jobs any more.
        for job in jobs:
            for request in job.waiting:
                request.found[job.key] = vectors[job.key]
                request.left -= 1
                if request.left == 0:
                    done.append(request)
        _resolve(done)

    def fail(self, jobs: Sequence[Job], error: Exception) -> None:
        """End the requests that wait for these jobs with an error."""
        with self._changed:
            places = [(job.tower.checkpoint, job.key) for job in jobs]
            left = [job for place in places if (job := self._known.pop(place, None))]
        waiting = [request for job in left for request in job.waiting]
        for request in waiting:
            request.error = error
        _resolve(waiting)

    def close(self) -> None:
        """Take no further jobs; those that wait are still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _resolve(requests: list[Request]) -> None:
    """Wake the requests, with one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        by_loop.setdefault(request.loop, []).append(request)
    for loop, some in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, some)
        except RuntimeError:  # that loop was closed meanwhile
            continue


def _wake(requests: list[Request]) -> None:
    for request in requests:
        if not request.done.done():  # a request may have given up
            request.done.set_result(None)
