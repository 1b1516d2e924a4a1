"""A workspace as stages are given it, and its catalogue while one of them runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omnisearch.data.workspace import Workspace

if TYPE_CHECKING:
    import sqlite_utils

WorkspaceLike = Workspace | Path | str


def root_of(workspace: WorkspaceLike) -> Path:
    """Its folder."""
    return workspace.root if isinstance(workspace, Workspace) else Path(workspace)


@contextmanager
def opened(
    workspace: WorkspaceLike, writing: bool = False
) -> Iterator[tuple[Workspace, sqlite_utils.Database]]:
    """The workspace and its open catalogue, closed at the end."""
    from omnisearch.data.catalogue.schema import open_catalogue

    space = Workspace.open(root_of(workspace), writing=writing)
    db = open_catalogue(space.catalogue)
    try:
        yield space, db
    finally:
        db.conn.close()
