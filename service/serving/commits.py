"""One thread that writes to disk for the event loop; what waits is committed together.

A request is acknowledged once its write is committed, or refused if it is not in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from omnisearch.data.workspace.errors import OmniError
from omnisearch.service.errors import Refusal, busy
from omnisearch.service.serving.log import JsonLog

_WAITING = 2_000  # requests
_LARGEST_COMMIT = 500  # requests
_END_SECONDS = 5.0  # that `close` waits for a disk that hangs

W = TypeVar("W")


@dataclass
class _Waiting(Generic[W]):
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]
    write: W


class Commits(Generic[W]):
    """Commits the writes of a worker.

    Args:
        what: 'feedback' or 'items', for the log and for what a client is told.
        commit: writes all or nothing, durably; returns a result for each write.
        close: closes the file, which rolls back what is not committed. Both are called in the
            thread.
    """

    def __init__(
        self,
        what: str,
        commit: Callable[[list[W]], list[Any]],
        close: Callable[[], None],
        log: JsonLog,
    ) -> None:
        self._what, self._commit, self._close, self._log = what, commit, close, log
        self._queue: deque[_Waiting[W]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self._thread.start()

    async def add(self, write: W, seconds: float) -> Any:
        """Commit a write within some seconds; returns its result.

        Raises:
            Refusal: 503, if too many requests wait or the write cannot be committed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop, loop.create_future(), write)
        with self._changed:
            if self._closed or len(self._queue) >= _WAITING:
                raise busy(f"Too many requests wait for their {self._what} to be written.")
            self._queue.append(waiting)
            self._changed.notify()
        try:
            async with asyncio.timeout(seconds):
                return await waiting.done
        except TimeoutError:
            self._say("the disk takes too long", 1)
            raise busy(f"The {self._what} could not be written in time.", 5) from None

    def close(self) -> None:
        """Write what is queued, and stop; a write that hangs is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
                count = min(len(self._queue), _LARGEST_COMMIT)
                # A request that was given up is not committed behind its client's back.
                taken = [self._queue.popleft() for _ in range(count)]
            self._write([each for each in taken if not each.done.done()])
        self._close()

    def _write(self, waiting: list[_Waiting[W]]) -> None:
        results: list[Any]
        try:
            results = self._commit([each.write for each in waiting])
        except Exception as error:  # the thread must survive any
            self._say(str(error) or repr(error), len(waiting))
            self._close()
            refusal = error if isinstance(error, Refusal) else None
            refusal = refusal or busy(f"The {self._what} could not be written.", 5)
            results = [refusal] * len(waiting)
        for each, result in zip(waiting, results, strict=True):
            with contextlib.suppress(RuntimeError):  # that loop has ended
                each.loop.call_soon_threadsafe(_resolve, each.done, result)

    def _say(self, error: str, requests: int) -> None:
        self._log.line(f"{self._what}_not_written", error=error, requests=requests)


def _resolve(done: asyncio.Future[Any], result: Any) -> None:
    if done.done():  # the client has gone
        return
    if isinstance(result, OmniError):
        done.set_exception(result)
    else:
        done.set_result(result)
