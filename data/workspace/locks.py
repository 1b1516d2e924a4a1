"""File locks between processes. A lock ends with the process that holds it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady, OmniError


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
    """Hold the workspace's lock for building and publishing indexes.

    Leftovers of builds that were killed are removed on entry.

    Raises:
        NotReady: another process holds it.
    """
    busy = NotReady(
        "Another process is building or publishing indexes in this workspace.",
        where=str(workspace.root),
        how="Wait until it has ended, then try again.",
    )
    with locked(workspace.index_lock, busy):
        _remove_leftovers(workspace)
        yield


def _remove_leftovers(workspace: Workspace) -> None:
    """Remove the temporary folders and files that a killed build left."""
    found = [*workspace.generations.glob(".*"), *workspace.signals.glob("*/.*")]
    found += workspace.current.parent.glob(f".{workspace.current.name}.*")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
