"""Writes feedback to disk: a request is acknowledged once its rows are committed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.catalogue.feedback import add_events, add_judgments
from omnisearch.service.serving.commits import Commits
from omnisearch.service.serving.feedback_file import FeedbackFile
from omnisearch.service.serving.log import JsonLog

_COMMIT_SECONDS = 40.0  # that a request waits; other writers may hold the file for 30
_TRIES = 3  # to commit to a file that is moved away meanwhile

Added = tuple[int, int]


@dataclass
class _Write:
    kind: str
    rows: list[tuple[str, bytes]]


class FeedbackLog:
    """The feedback log of a workspace, for the event loop of a worker."""

    def __init__(self, path: Path, log: JsonLog) -> None:
        self._file, self._log = FeedbackFile(path), log
        self._commits = Commits("feedback", self._commit, self._file.close, log)

    async def add(self, kind: str, rows: list[tuple[str, bytes]]) -> Added:
        """Write rows durably; returns how many are new and how many were there already.

        Args:
            kind: 'events' or 'judgments'. rows: (key, row as JSON).

        Raises:
            Refusal: 503, if too many requests wait or the rows cannot be written.
        """
        added: Added = await self._commits.add(_Write(kind, rows), _COMMIT_SECONDS)
        return added

    def close(self) -> None:
        """Write what is queued, and stop; a write that hangs is left behind."""
        self._commits.close()

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
