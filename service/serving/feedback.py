"""Writes feedback to disk: a request is acknowledged once its rows are committed.

One thread writes. What arrives during a commit is committed together next. A request is refused if
its rows are not committed in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.feedback import add_events, add_judgments
from omnisearch.service.errors import busy
from omnisearch.service.serving.feedback_file import FeedbackFile
from omnisearch.service.serving.log import JsonLog

_WAITING = 2_000  # requests
_LARGEST_COMMIT = 500  # requests
_COMMIT_SECONDS = 40.0  # that a request waits; other writers may hold the file for 30
_END_SECONDS = 5.0  # that `close` waits for a disk that hangs
_TRIES = 3  # to commit to a file that is moved away meanwhile

Added = tuple[int, int]


@dataclass
class _Write:
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Added]
    kind: str
    rows: list[tuple[str, bytes]]


class FeedbackLog:
    """The feedback log of a workspace, for the event loop of a worker."""

    def __init__(self, path: Path, log: JsonLog) -> None:
        self._file, self._log = FeedbackFile(path), log
        self._queue: deque[_Write] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)
        self._thread.start()

    async def add(self, kind: str, rows: list[tuple[str, bytes]]) -> Added:
        """Write rows durably; returns how many are new and how many were there already.

        Args:
            kind: 'events' or 'judgments'. rows: (key, row as JSON).

        Raises:
            Refusal: 503, if too many requests wait or the rows cannot be written.
        """
        loop = asyncio.get_running_loop()
        write = _Write(loop, loop.create_future(), kind, rows)
        with self._changed:
            if self._closed or len(self._queue) >= _WAITING:
                raise busy("Too much feedback is waiting to be written.")
            self._queue.append(write)
            self._changed.notify()
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                return await write.done
        except TimeoutError:
            self._log.line("feedback_not_written", error="the disk takes too long", requests=1)
            raise busy("The feedback could not be written in time.", 5) from None

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
                writes = [self._queue.popleft() for _ in range(count)]
            self._write(writes)
        self._file.close()

    def _write(self, writes: list[_Write]) -> None:
        results: list[Any]
        try:
            results = self._commit(writes)
        except Exception as error:  # the thread must survive any
            said = str(error) or repr(error)
            self._log.line("feedback_not_written", error=said, requests=len(writes))
            self._file.close()  # rolls back
            results = [busy("The feedback could not be written.", 5)] * len(writes)
        for write, result in zip(writes, results, strict=True):
            with contextlib.suppress(RuntimeError):  # that loop has ended
                write.loop.call_soon_threadsafe(_resolve, write.done, result)

    def _commit(self, writes: list[_Write]) -> list[Added]:
        """Commit the rows to the file that is at the path before the commit and after it."""
        add = {"events": add_events, "judgments": add_judgments}
        for _ in range(_TRIES):
            connection, now = self._file.connection(), int(time.time())
            connection.execute("BEGIN IMMEDIATE")
            results = [add[write.kind](connection, write.rows, now) for write in writes]
            connection.execute("COMMIT")
            if self._file.in_place():
                return results
            self._log.line("feedback_moved")
        raise OSError("the file is moved away or replaced again and again")


def _resolve(done: asyncio.Future[Added], result: Any) -> None:
    if done.done():  # the client has gone
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
