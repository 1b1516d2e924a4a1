"""Who may start: one request in each turn of the event loop, so that searches come between."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """The queue of requests that are not urgent, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Return when it is this request's turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            loop.call_soon(self._next, loop)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = self._waiting.popleft()
        if not turn.done():  # the request was cancelled
            turn.set_result(None)
        if self._waiting:
            loop.call_soon(self._next, loop)
