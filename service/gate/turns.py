"""Who may start: one request in each turn of the event loop, so that searches come between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_PATIENCE = 0.005  # seconds that one request waits for searches: 200 a second start at least
_NAP = 0.001


def _nothing() -> int:
    return 0


class Turns:
    """The queue of requests that are not urgent, first come, first served."""

    def __init__(self, searches: Callable[[], int] = _nothing, gap: float = 0.0) -> None:
        """
        Args:
            searches: how many are under way, for which each request waits a little.
            gap: seconds at least from one request to the next, so that many of them leave the event
                loop most of its time.
        """
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._searches, self._gap = searches, gap
        self._from = self._until = 0.0  # when the next may begin, and when it does at the latest

    async def wait(self) -> None:
        """Return when it is this request's turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._until = max(loop.time(), self._from) + _PATIENCE
            loop.call_soon(self._next, loop)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        if now < self._from:
            loop.call_at(self._from, self._next, loop)
            return
        if self._searches() and now < self._until:
            loop.call_later(_NAP, self._next, loop)
            return
        self._from = now + self._gap
        self._until = self._from + _PATIENCE
        turn = self._waiting.popleft()
        if not turn.done():  # the request was cancelled
            turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)
