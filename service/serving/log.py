"""The log: one JSON object per line on stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import traceback
from typing import Any

import orjson

_HELD = 64 * 1024  # bytes of lines that are written together


class JsonLog:
    """Writes log lines. Those of requests are buffered; call `flush` regularly."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._lines: list[bytes] = []
        self._held = 0

    def line(self, event: str, **fields: Any) -> None:
        """Add a line: {"time", "event", ...}. Safe on any thread."""
        line = orjson.dumps(
            {"time": round(time.time(), 3), "event": event, **fields},
            default=str,
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._lines.append(line)
        self._held += len(line)
        if event != "request" or self._held > _HELD:
            self.flush()

    def flush(self) -> None:
        """Write buffered lines; they are lost, and no request fails, where stderr is closed."""
        lines, self._lines, self._held = self._lines, [], 0
        if lines:
            with contextlib.suppress(OSError):
                os.write(self._fd, b"".join(lines))


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
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]
