"""The threads in which searches run, with a bounded queue."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from omnisearch.service.errors import busy

T = TypeVar("T")


class Pool:
    """Runs functions in threads; refuses with 503 where the queue is full.

    Attributes:
        under_way: how many calls run or wait. last: the monotonic time of the last one's start.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._most = threads + waiting
        self._threads = ThreadPoolExecutor(threads, "engine")
        # One more thread, to answer for a search that hangs. More of them would only contend for
        # the interpreter.
        self._spare = ThreadPoolExecutor(1, "spare")
        self.under_way, self.last = 0, -math.inf

    def run(self, call: Callable[..., T], *args: Any, urgent: bool = False) -> asyncio.Future[T]:
        """The future of a call; an `urgent` one is never refused and has a thread of its own.

        Raises:
            Refusal: 503, if too many calls wait.
        """
        if self.under_way >= self._most and not urgent:
            raise busy("Too many requests wait for the engine.")
        self.under_way, self.last = self.under_way + 1, time.monotonic()
        threads = self._spare if urgent else self._threads
        future = asyncio.get_running_loop().run_in_executor(threads, call, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.under_way -= 1
        if not future.cancelled():
            future.exception()  # read, or asyncio would log it where nobody awaits the future

    def close(self) -> None:
        """Stop the threads without waiting for calls that hang."""
        for threads in (self._threads, self._spare):
            threads.shutdown(wait=False, cancel_futures=True)
