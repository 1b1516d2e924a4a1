"""File locks between processes. A lock ends with the process that holds it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Busy, OmniError
from omnisearch.data.workspace.paths import remove_leftovers


@contextmanager
def locked(path: Path, busy: OmniError | None = None) -> Iterator[BinaryIO]:
    """The open file at `path`, created if missing, locked against other processes.

    If another process has it locked, `busy` is raised at once; without `busy` it waits.
    """
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            assert busy is not None
            raise busy from error
        yield file


@contextmanager
def build_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's lock for building indexes; small updates go on meanwhile.

    What killed processes left is removed first.

    Raises:
        Busy: another process holds it.
    """
    busy = Busy(
        "Another process is building indexes in this workspace.",
        where=str(workspace.root),
        how="Wait until it has ended, then try again.",
    )
    with locked(workspace.index_lock, busy):
        remove_leftovers(workspace)
        yield


@contextmanager
def publish_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's lock for publishing a generation, which takes a moment: it waits.

    What killed processes left is removed first.
    """
    with locked(workspace.publish_lock):
        remove_leftovers(workspace)
        yield
