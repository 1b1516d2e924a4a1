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

    def __init__(self, searches: Callable[[], int] = _nothing) -> None:
        """`searches`: how many are under way, for which each request waits a little."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._searches, self._until = searches, 0.0

    async def wait(self) -> None:
        """Return when it is this request's turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._until = loop.time() + _PATIENCE
            loop.call_soon(self._next, loop)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._searches() and loop.time() < self._until:
            loop.call_later(_NAP, self._next, loop)
            return
        self._until = loop.time() + _PATIENCE
        turn = self._waiting.popleft()
        if not turn.done():  # the request was cancelled
            turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)
