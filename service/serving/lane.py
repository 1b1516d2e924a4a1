"""The lane of large requests: one thread, behind searches, for what grows with a request's size.

Threads share the interpreter's lock. So the work in the lane is done in slices of about a
millisecond, and between two slices it waits while searches are under way. How much may be under way
at all is bounded by cost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from omnisearch.service.errors import busy
from omnisearch.service.serving.pool import Pool

T = TypeVar("T")
SMALL = 32 * 1024  # bytes of a body that are read at once: that takes a few milliseconds at most
_BYTES = 400  # that cost as much as one query
_PATIENCE = 0.02  # seconds that one slice waits for searches
_NAP = 0.0005
_LATELY = 1.0  # seconds


class Lane:
    """The lane of a worker.

    Attributes:
        cost: of the requests under way; one query costs 1. most: what it may be.
        model: held by the one request whose queries are with the model: a search whose query is
            not cached waits for few others.
    """

    def __init__(self, most: int) -> None:
        self.cost, self.most = 0, most
        self.model = asyncio.Lock()
        self._pool: Pool | None = None
        self._thread = ThreadPoolExecutor(1, "lane")

    def behind(self, pool: Pool) -> None:
        """Give way to the searches in this pool."""
        self._pool = pool

    def check(self) -> None:
        """Raise Refusal 503, closing the connection, if no further large request may come in."""
        if self.cost >= self.most:
            refusal = busy("Too many large requests are under way.")
            refusal.close = True
            raise refusal

    @contextmanager
    def admitted(self, cost: int) -> Iterator[None]:
        """Count the cost of a request while it is under way.

        Raises:
            Refusal: 503, if with others it would cost too much.
        """
        if self.cost and self.cost + cost > self.most:
            raise busy("Too many large requests are under way.")
        self.cost += cost
        try:
            yield
        finally:
            self.cost -= cost

    @staticmethod
    def cost_of(body: bytes) -> int:
        """The cost of reading a body."""
        return len(body) // _BYTES

    def run(self, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """The future of a call in the lane."""
        return asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    def give_way(self) -> None:
        """Between two slices, in the lane: wait a little while searches are under way."""
        until = time.monotonic() + _PATIENCE
        time.sleep(0)
        while self._pool and self._pool.under_way and time.monotonic() < until:
            time.sleep(_NAP)

    @property
    def beside_searches(self) -> bool:
        """Whether a search began lately: the next slice should be small."""
        return self._pool is not None and time.monotonic() - self._pool.last < _LATELY

    def close(self) -> None:
        """Stop without waiting for what is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)
