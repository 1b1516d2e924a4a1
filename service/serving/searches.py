"""Writes the log of searches, and of ads shown, behind the answers: a search never waits for it.

What a killed worker had not yet written, half a second of searches, is lost; the report says how
many events name a search that is not in the log.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from pathlib import Path

from omnisearch.data.catalogue.searches import Logged, add_searches, open_searches
from omnisearch.data.catalogue.shown_ads import ShownAd, add_shown_ads
from omnisearch.data.workspace.errors import OmniError
from omnisearch.service.serving.log import JsonLog

_EVERY = 0.5  # seconds between two commits
_MOST = 50_000  # rows that wait; further ones are dropped, and counted
_END_SECONDS = 5.0


class SearchLog:
    """The log of searches of a workspace, for one worker."""

    def __init__(self, path: Path, log: JsonLog) -> None:
        self._path, self._log = path, log
        self._waiting: deque[Logged | ShownAd] = deque()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._failing = False

    def add(self, row: Logged | ShownAd) -> None:
        """Write a row soon; called on the event loop."""
        if len(self._waiting) >= _MOST:
            self._dropped += 1
            return
        self._waiting.append(row)
        if self._thread is None:  # most services have no experiment and no ads
            self._thread = threading.Thread(target=self._run, name="searches", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop; a write that hangs is left behind."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(_EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        """Commit what waits; what cannot be written waits for the next time."""
        rows = list(self._waiting)
        if not rows:
            return
        try:
            # Opened each time: the file may have been moved away or put back meanwhile.
            connection = open_searches(self._path, create=True)
            try:
                add_searches(connection, [row for row in rows if isinstance(row, Logged)])
                if ads := [row for row in rows if isinstance(row, ShownAd)]:
                    add_shown_ads(connection, ads)
            finally:
                connection.close()
        except (OmniError, sqlite3.Error) as error:
            if not self._failing:  # said once, and not twice a second
                self._log.line("searches_not_written", error=str(error), searches=len(rows))
            self._failing = True
            return
        self._failing = False
        for _ in rows:
            self._waiting.popleft()
        if self._dropped:
            self._log.line("searches_dropped", searches=self._dropped)
            self._dropped = 0
