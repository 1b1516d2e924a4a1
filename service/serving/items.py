"""Writes items to the catalogue: a request is acknowledged once its items are committed.

The process that publishes (`runtime.updater`) sees the commit and brings it into the index.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.live import Items, write_items
from omnisearch.data.workspace.errors import Unavailable
from omnisearch.service.errors import busy
from omnisearch.service.serving.commits import Commits
from omnisearch.service.serving.log import JsonLog

_LOCKED_SECONDS = 2.0  # that a commit waits for an import; further requests wait behind it
_COMMIT_SECONDS = 10.0  # that a request waits for a disk
_LOCKED = "The catalogue is being written by another process, such as an import."


class ItemLog:
    """The items of a workspace's catalogue, for the event loop of a worker."""

    def __init__(self, path: Path, log: JsonLog) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._place: tuple[int, int] = (0, 0)
        self._commits = Commits("items", self._commit, self._let_go, log)

    async def add(self, items: Items) -> int:
        """Write items durably; returns how many were added, changed or deleted.

        Raises:
            Refusal: 503, if too many requests wait or the items cannot be written now.
        """
        changed: int = await self._commits.add(items, _COMMIT_SECONDS)
        return changed

    def close(self) -> None:
        """Write what is queued, and stop."""
        self._commits.close()

    def _commit(self, writes: list[Items]) -> list[int]:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            changed = [write_items(connection, write) for write in writes]
            connection.commit()
        except (sqlite3.OperationalError, Unavailable) as error:
            cause = error.__cause__ if isinstance(error, Unavailable) else error
            if getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise busy(_LOCKED, 5) from error
            raise
        if self._place != _place(self._path):
            raise OSError("the catalogue was moved away or replaced")
        return changed

    def _opened(self) -> sqlite3.Connection:
        """A connection to the catalogue at the path, whose commits survive a power cut."""
        place = _place(self._path)
        if self._connection is None or place != self._place:
            self._let_go()
            self._place = place
            self._connection = open_catalogue(self._path).conn
            self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * _LOCKED_SECONDS)}")
            self._connection.execute("PRAGMA synchronous = FULL")
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _place(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116
    return found.st_dev, found.st_ino
