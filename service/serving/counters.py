"""Counters of the workers of a service: shared memory with a slot for each worker.

Any worker can report the counters of all. The counts of a killed worker are kept: its successor
continues in the same slot. Every value is a 64-bit integer, written by one process only.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENDPOINTS = (
    *("search", "embed", "embed_batch", "compare", "related", "similar", "suggest"),
    *("feedback", "judgments", "items", "status", "experiments", "pictures", "pages", "other"),
)
STATUSES = (
    *(200, 201, 204, 206, 304, 307),
    *(400, 401, 403, 404, 405, 408, 413, 421, 422, 429, 500, 503, 0),
)
# Upper bounds of the latency buckets in milliseconds; a last bucket has no bound.
BOUNDS = (
    *(0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0),
    *(50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0),
)
MINUTES = 16  # for which latencies are kept by minute
FACTS = (
    *("pid", "started", "beat", "ready", "restarts", "generation", "swaps", "swap_failures"),
    *("connections", "connections_refused", "resident_kib", "searches_waiting"),
    *("memory_hits", "store_hits", "encoded", "joined", "refused", "failed", "batches"),
    *("model_us", "queries_waiting", "events", "event_duplicates", "judgments", "degraded"),
    *("behind", "opening", "task_failures", "log_dropped", "items_changed"),
    *("node_failures", "node_repeats"),  # of a cluster: calls unanswered, and asked again elsewhere
)
# Facts of the one process that publishes changes of items, in the first slot. `pending_since` is in
# milliseconds of `time.monotonic()`; 0 where all is published.
UPDATES = (
    *("updater_pid", "updater_restarts", "publications", "publish_failures"),
    *("published_generation", "publish_ms", "pending_since"),
)
# Facts that are states and not sums.
STATES = frozenset(FACTS[:4]) | frozenset(
    (
        *("generation", "connections", "resident_kib", "searches_waiting", "queries_waiting"),
        *("behind", "opening"),
    )
)
# Facts in seconds of `time.monotonic()`, which all processes share: a step of the wall clock must
# not make a worker look dead.
MOMENTS = frozenset(("started", "beat"))

_BUCKETS = len(BOUNDS) + 1
_FACTS_AT = 0
_UPDATES_AT = len(FACTS)
_STATUS_AT = _UPDATES_AT + len(UPDATES)
_SUM_AT = _STATUS_AT + len(ENDPOINTS) * len(STATUSES)
_BUCKETS_AT = _SUM_AT + len(ENDPOINTS)
_RING_AT = _BUCKETS_AT + len(ENDPOINTS) * _BUCKETS
_MINUTE = 1 + len(ENDPOINTS) * _BUCKETS  # the minute's number, then its buckets
SLOT = _RING_AT + MINUTES * _MINUTE
_STATUS_PLACE = {status: place for place, status in enumerate(STATUSES)}
_FACT_PLACE = {name: place for place, name in enumerate((*FACTS, *UPDATES))}
# Bucket of each latency below 30 ms, in steps of 0.1 ms: most are there, and a list is fast.
_QUICK = [next(i for i, bound in enumerate(BOUNDS) if tenth / 10 < bound) for tenth in range(300)]


class Counters:
    """The counters of all workers; `slot` is the one that this process writes."""

    def __init__(self, fd: int, slots: int, slot: int = 0) -> None:
        self.slots, self.slot = slots, slot
        self._map = mmap.mmap(fd, slots * SLOT * 8)
        self._all = memoryview(self._map).cast("q")
        self._own = self._all[slot * SLOT : (slot + 1) * SLOT]

    @staticmethod
    def make(slots: int, folder: Path) -> int:
        """A file descriptor of new shared memory, which is freed with the last process using it."""
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(slots * SLOT * 8))  # a hole would be a SIGBUS once the disk is full
            file.flush()
            return os.dup(file.fileno())

    def observe(self, endpoint: int, status: int, seconds: float) -> None:
        """Count one answered request."""
        own = self._own
        status_place = _STATUS_PLACE.get(status, len(STATUSES) - 1)
        own[_STATUS_AT + endpoint * len(STATUSES) + status_place] += 1
        own[_SUM_AT + endpoint] += int(seconds * 1e6)
        bucket = endpoint * _BUCKETS + bucket_of(seconds * 1000)
        own[_BUCKETS_AT + bucket] += 1
        minute = int(time.time()) // 60
        at = _RING_AT + minute % MINUTES * _MINUTE
        if own[at] != minute:
            own[at : at + _MINUTE] = memoryview(bytes(_MINUTE * 8)).cast("q")
            own[at] = minute
        own[at + 1 + bucket] += 1

    def fact(self, name: str) -> int:
        """This worker's value of a fact."""
        return self._own[_FACT_PLACE[name]]

    def put(self, name: str, value: int) -> None:
        """Set a fact of this worker."""
        self._own[_FACT_PLACE[name]] = value

    def add(self, name: str, by: int = 1) -> None:
        """Add to a fact of this worker."""
        self._own[_FACT_PLACE[name]] += by

    def put_of(self, slot: int, name: str, value: int) -> None:
        """Set a fact of another worker; for the supervisor."""
        self._all[slot * SLOT + _FACT_PLACE[name]] = value

    def facts(self) -> list[dict[str, int]]:
        """The facts of every worker."""
        starts = range(0, self.slots * SLOT, SLOT)
        return [dict(zip(FACTS, self._all[at : at + len(FACTS)], strict=True)) for at in starts]

    def updates(self) -> dict[str, int]:
        """The facts of the process that publishes changes of items."""
        return dict(zip(UPDATES, self._all[_UPDATES_AT:_STATUS_AT], strict=True))

    def statuses(self) -> Iterator[tuple[str, int, int]]:
        """(endpoint, status, requests) where there were any; status 0 is any other."""
        for number, endpoint in enumerate(ENDPOINTS):
            for place, status in enumerate(STATUSES):
                requests = self._sum(_STATUS_AT + number * len(STATUSES) + place)
                if requests:
                    yield endpoint, status, requests

    def latencies(self) -> Iterator[tuple[str, list[int], float]]:
        """(endpoint, requests by bucket, seconds in all) since the start, where there were any."""
        for number, endpoint in enumerate(ENDPOINTS):
            buckets = self._buckets(_BUCKETS_AT + number * _BUCKETS)
            if any(buckets):
                yield endpoint, buckets, self._sum(_SUM_AT + number) / 1e6

    def minutes(self, last: int) -> dict[str, list[tuple[int, list[int]]]]:
        """Endpoint → (start of the minute, requests by bucket) of the last minutes.

        Newest last; minutes without a request are left out.
        """
        now = int(time.time()) // 60
        found: dict[str, list[tuple[int, list[int]]]] = {}
        for minute in range(now - min(last, MINUTES) + 1, now + 1):
            at = _RING_AT + minute % MINUTES * _MINUTE
            slots = [s for s in range(self.slots) if self._all[s * SLOT + at] == minute]
            for number, endpoint in enumerate(ENDPOINTS):
                buckets = self._buckets(at + 1 + number * _BUCKETS, slots)
                if any(buckets):
                    found.setdefault(endpoint, []).append((minute * 60, buckets))
        return found

    def _sum(self, at: int) -> int:
        return sum(self._all[slot * SLOT + at] for slot in range(self.slots))

    def _buckets(self, at: int, slots: list[int] | None = None) -> list[int]:
        chosen = range(self.slots) if slots is None else slots
        rows = [self._all[slot * SLOT + at : slot * SLOT + at + _BUCKETS] for slot in chosen]
        return [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * _BUCKETS


def bucket_of(milliseconds: float) -> int:
    """The bucket of a latency."""
    if milliseconds < 29.9:
        guess = _QUICK[int(milliseconds * 10)]
        return guess if milliseconds <= BOUNDS[guess] else guess + 1
    return next((i for i, bound in enumerate(BOUNDS) if milliseconds <= bound), len(BOUNDS))


def quantile(buckets: list[int], share: float) -> float | None:
    """The latency in milliseconds below which a share of the requests lies, from their buckets.

    Requests are assumed to be spread evenly within a bucket. None without requests.
    """
    wanted, seen = share * sum(buckets), 0
    if not wanted:
        return None
    for number, count in enumerate(buckets):
        if count and seen + count >= wanted:
            low = BOUNDS[number - 1] if number else 0.0
            high = BOUNDS[number] if number < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return BOUNDS[-1]
