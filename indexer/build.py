"""Building generations: `build` and `rebuild` renumber all items (see `indexer.update`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlite_utils

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.locks import build_lock
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.publish import BuildOptions, Job, publish
from omnisearch.indexer.signals import ItemsAndQueries

__all__ = ["BuildOptions", "build", "rebuild", "snapshot"]


def build(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Encode what changed, build all indexes from scratch and publish them; returns the number.

    Rows are numbered in the order of ids, without rows of deleted items.

    Raises:
        NotReady: another process is building in this workspace.
        InputError: a feature does not fit the encoder.
    """
    with build_lock(workspace), snapshot(db):
        return publish(Job(workspace, db, encoder, options or BuildOptions(), progress))


def rebuild(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Like `build`, but encodes every item again."""
    with build_lock(workspace), snapshot(db):
        job = Job(workspace, db, encoder, options or BuildOptions(), progress, fresh=True)
        return publish(job)


@contextmanager
def snapshot(db: sqlite_utils.Database) -> Iterator[None]:
    """Read one consistent state of the catalogue, whatever is imported meanwhile."""
    if db.conn.in_transaction:
        yield
        return
    db.conn.execute("BEGIN")
    try:
        yield
    finally:
        db.conn.rollback()
