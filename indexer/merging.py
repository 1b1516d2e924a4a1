"""Merging: the segments of updates written anew as one, while updates go on."""

from __future__ import annotations

from contextlib import ExitStack

import sqlite_utils

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.data.workspace.leftovers import temporary
from omnisearch.data.workspace.locks import build_lock, publish_lock
from omnisearch.indexer.build import go_live, snapshot
from omnisearch.indexer.generation import folder_of, live_number
from omnisearch.indexer.increment import planned
from omnisearch.indexer.publish import (
    BuildOptions,
    Job,
    begin_merged,
    name_written,
    write_merged,
)
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import ItemsAndQueries


def merge(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
) -> int | None:
    """Publish a generation with fewer segments and the same items; returns the number that is live.

    Updates that are published meanwhile come on top. None if there is nothing to merge, or if a
    build or a rollback came before it.

    Raises:
        NotReady: another process is building in this workspace, or there is no generation.
        Corrupt: a file of the live generation that is read here is damaged.
    """
    job, unfinished = Job(workspace, db, encoder, options or BuildOptions()), workspace.generations
    with build_lock(workspace), temporary(unfinished / "build", folder=True) as folder:
        with ExitStack() as reading:
            # What it reads of the live generation may be gone after some publications.
            with publish_lock(workspace):
                reading.enter_context(snapshot(db))
                plan = planned(job, live_number(workspace), merging=True)
                if not plan.merged:
                    return None
                facts = begin_merged(job, folder, plan.below)
            written = write_merged(job, folder, facts, plan.ids, plan.signals(job))
        with publish_lock(workspace):
            live = read_manifest(folder_of(workspace, live_number(workspace)), GENERATION)
            stay = plan.below.segments
            if live["segments"][: len(stay)] != stay:
                return None
            return go_live(job, name_written(job, folder, written, plan.below), written)
