"""The open feedback log, while its file may be moved, deleted or replaced by others.

SQLite goes on writing into a file that has lost its name, where nobody will read it. So the open
file is compared with the one at the path.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from omnisearch.data.catalogue.feedback import open_feedback
from omnisearch.data.workspace.locks import locked

_TRIES = 3

Place = tuple[int, int] | None  # device and inode; None where there is no file


class FeedbackFile:
    """The feedback log at `path`; for one thread, beside other processes with the same log."""

    def __init__(self, path: Path) -> None:
        self._path, self._wal = path, path.with_name(f"{path.name}-wal")
        self._shm = path.with_name(f"{path.name}-shm")
        self._connection: sqlite3.Connection | None = None
        self._places: tuple[Place, Place] = (None, None)

    def connection(self) -> sqlite3.Connection:
        """A connection to the file at the path, which is created if there is none.

        Raises:
            OSError, sqlite3.Error, Corrupt: it cannot be opened.
        """
        if self._connection is None or not self.in_place():
            with locked(self._path.with_suffix(".lock")):
                self._let_go()
                self._connection = self._open()
        return self._connection

    def in_place(self) -> bool:
        """Whether the open file, and its write-ahead log, are those at the path."""
        return self._places == (_place(self._path), _place(self._wal))

    def close(self) -> None:
        """Close the file; what is not committed is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        for _ in range(_TRIES):
            self._path.touch()  # an empty file is an empty database
            before = _place(self._path)
            connection = open_feedback(self._path, create=True)
            self._places = (_place(self._path), _place(self._wal))
            if self._places[0] == before and self._places[1] is not None:
                return connection
            connection.close()
        raise OSError("the file is moved away or replaced again and again")

    def _let_go(self) -> None:
        """Close a file that has lost its name, or whose write-ahead log has.

        What is committed is moved from the log into the file first, unless another process has
        begun a new log. A log that the file has left behind would be taken for the new file's.
        """
        if self._connection is None:
            return
        wal = _place(self._wal)
        left_behind = wal == self._places[1]
        if left_behind or wal is None or _place(self._path) != self._places[0]:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        moved = _place(self._path) != self._places[0]
        self.close()
        if moved and left_behind:
            self._wal.unlink(missing_ok=True)
            self._shm.unlink(missing_ok=True)


def _place(path: Path) -> Place:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
