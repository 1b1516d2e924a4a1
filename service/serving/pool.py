"""The threads in which searches run: few, and few may wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from omnisearch.service.errors import busy

T = TypeVar("T")


class Pool:
    """Runs functions in threads; refuses with 503 what would wait too long.

    Attributes:
        under_way: how many run or wait.
    """

    def __init__(self, threads: int, waiting: int) -> None:
        self._most = threads + waiting
        self._threads = ThreadPoolExecutor(threads, "engine")
        # A thread more than asked for: to answer for one that hangs. More at work at a time would
        # only contend for the interpreter.
        self._spare = ThreadPoolExecutor(1, "spare")
        self.under_way = 0

    def run(self, call: Callable[..., T], *args: Any, urgent: bool = False) -> asyncio.Future[T]:
        """The future of a call; `urgent` ones are never refused, and have a thread of their own.

        Raises:
            Refusal: too many wait already.
        """
        if self.under_way >= self._most and not urgent:
            raise busy("Too many requests wait for the engine.")
        self.under_way += 1
        threads = self._spare if urgent else self._threads
        future = asyncio.get_running_loop().run_in_executor(threads, call, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.under_way -= 1
        if not future.cancelled():
            future.exception()  # an abandoned one's error is nobody's

    def close(self) -> None:
        """Let go of the threads; what hangs is left behind."""
        for threads in (self._threads, self._spare):
            threads.shutdown(wait=False, cancel_futures=True)
