"""Updating: a generation with the live one's rows and the catalogue's changes."""

from __future__ import annotations

import sqlite_utils

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.locks import build_lock
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.build import snapshot
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.publish import BuildOptions, Job, publish
from omnisearch.indexer.signals import ItemsAndQueries


def update(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Publish the catalogue's additions, changes and deletions; returns the number that is live.

    Items keep their rows; new ones are appended, and the rows of deleted ones stay empty in table,
    tokens and spaces until `build` or `rebuild`. Without a generation, or with an encoder of
    another checkpoint, this is `build`. If nothing changed, nothing is published.

    Raises:
        NotReady: another process is building in this workspace.
        Corrupt: the live generation is damaged.
    """
    with build_lock(workspace), snapshot(db):
        job = Job(workspace, db, encoder, options or BuildOptions(), progress)
        if workspace.current.exists():
            base = Generation.open(workspace)
            job.base = base if base.checkpoint == encoder.checkpoint else None
        return publish(job)
