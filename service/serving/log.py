"""The log: one JSON object per line on stderr.

stderr may be a pipe that nobody reads, and a write to it then blocks for good. So one thread
writes, and everyone else only adds to a bounded queue; lines that do not fit are dropped and
counted. (A pipe set to non-blocking would be so for all processes that share it.)
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from typing import Any

import orjson

_HELD = 64 * 1024  # bytes of request lines that are written together
_MOST = 1024 * 1024  # bytes in the queue; further lines are dropped
_DRAIN_SECONDS = 0.5  # that an end waits for the last lines to be written


class JsonLog:
    """Writes log lines, and never blocks. Lines of requests wait for `flush`; call it regularly.

    Attributes:
        dropped: lines that were not written, because nobody reads the log or it is closed.
    """

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._held = 0
        self._told = self.dropped = 0
        self._writing = False
        self._changed = threading.Condition()
        self._wanted = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def line(self, event: str, **fields: Any) -> None:
        """Add a line: {"time", "event", ...}. Safe on any thread."""
        line = _encoded({"event": event, **fields})
        with self._changed:
            if self._held + len(line) > _MOST:
                self.dropped += 1
                return
            self._lines.append(line)
            self._held += len(line)
            if event != "request" or self._held > _HELD:
                self._want()

    def flush(self) -> None:
        """Let the queued lines be written now, without waiting for that."""
        with self._changed:
            self._want()

    def drain(self, seconds: float = _DRAIN_SECONDS) -> None:
        """Wait until all lines are written, but not for longer than this."""
        with self._changed:
            self._want()
            self._changed.wait_for(lambda: not self._lines and not self._writing, seconds)

    def _want(self) -> None:
        self._wanted = True
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted)
                self._wanted, self._writing = False, True
                lines = list(self._lines)
                self._lines.clear()
            for chunk in _chunks(lines):
                written = self._write(b"".join(chunk))
                with self._changed:
                    self._held -= sum(map(len, chunk))
                    self.dropped += 0 if written else len(chunk)
            told = self.dropped
            if told > self._told and self._write(_encoded({"event": "log_dropped", "lines": told})):
                self._told = told

    def _write(self, content: bytes) -> bool:
        """Write to the log, which may block this thread; returns False where it is closed."""
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            return False
        return True


def _encoded(fields: dict[str, Any]) -> bytes:
    timed = {"time": round(time.time(), 3), **fields}
    try:
        return orjson.dumps(timed, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # such as a file name that is not UTF-8
        return json.dumps(timed, default=repr).encode() + b"\n"


def _chunks(lines: list[bytes]) -> list[list[bytes]]:
    """Lines to be written at once: other processes' lines do not come between so many bytes."""
    chunks: list[list[bytes]] = []
    size = select.PIPE_BUF
    for line in lines:
        if size + len(line) > select.PIPE_BUF:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line)
    return chunks


class JsonHandler(logging.Handler):
    """Passes records of `logging` on to a JsonLog."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"level": record.levelname.lower(), "logger": record.name}
        try:
            fields["message"] = record.getMessage()
        except (TypeError, ValueError):
            fields["message"] = str(record.msg)
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        self._log.line("log", **fields)


def take_over(log: JsonLog) -> None:
    """Send all records of `logging` in this process to `log`."""
    root = logging.getLogger()
    root.handlers[:] = [JsonHandler(log)]
    root.setLevel(logging.WARNING)
    logging.getLogger("omnisearch").setLevel(logging.INFO)
    with contextlib.suppress(AttributeError):  # stderr is closed
        sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
