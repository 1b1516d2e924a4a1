"""Writes feedback to disk: a request is acknowledged once its rows are committed.

One thread writes. What arrives during a commit is committed together next.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.feedback import add_events, add_judgments, open_feedback
from omnisearch.data.workspace.errors import OmniError
from omnisearch.service.errors import busy
from omnisearch.service.serving.log import JsonLog

_WAITING = 2_000  # requests
_LARGEST_COMMIT = 500  # requests

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
        self._path, self._log = path, log
        self._queue: deque[_Write] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
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
        return await write.done

    def close(self) -> None:
        """Write what is queued, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
                count = min(len(self._queue), _LARGEST_COMMIT)
                writes = [self._queue.popleft() for _ in range(count)]
            self._write(writes)
        if self._connection is not None:
            self._connection.close()

    def _write(self, writes: list[_Write]) -> None:
        results: list[Any]
        try:
            results = self._commit(writes)
        except (sqlite3.Error, OSError, OmniError) as error:
            self._log.line("feedback_not_written", error=str(error), requests=len(writes))
            if self._connection is not None:
                self._connection.close()  # rolls back
                self._connection = None
            results = [busy("The feedback could not be written.", 5)] * len(writes)
        for write, result in zip(writes, results, strict=True):
            write.loop.call_soon_threadsafe(_resolve, write.done, result)

    def _commit(self, writes: list[_Write]) -> list[Added]:
        if self._connection is None:
            self._connection = open_feedback(self._path, create=True)
        connection, now = self._connection, int(time.time())
        connection.execute("BEGIN IMMEDIATE")
        add = {"events": add_events, "judgments": add_judgments}
        results = [add[write.kind](connection, write.rows, now) for write in writes]
        connection.execute("COMMIT")
        return results


def _resolve(done: asyncio.Future[Added], result: Any) -> None:
    if done.done():  # the client has gone
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
