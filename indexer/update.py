"""Updating: what changed in the catalogue, on top of the live generation."""

from __future__ import annotations

from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.changes import changed_since
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.data.workspace.errors import Corrupt, NotReady, OtherFormat
from omnisearch.data.workspace.locks import publish_lock
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import reading
from omnisearch.indexer.build import build, snapshot
from omnisearch.indexer.generation import folder_of, live_number
from omnisearch.indexer.increment import increment
from omnisearch.indexer.publish import BuildOptions, Job, facts_of
from omnisearch.indexer.segment import GENERATION, described
from omnisearch.indexer.signals import ItemsAndQueries


def update(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
    may_build: bool = True,
    most: int | None = None,
) -> int:
    """Publish the catalogue's additions, changes and deletions; returns the number that is live.

    Without a generation, with one of another version of this program, with an encoder of another
    checkpoint or other options, or if very much has changed since the last build, this is `build`.
    If nothing changed, nothing is published. A
    build that runs meanwhile in another process does not stop it.

    Args:
        may_build: False to go on with segments, however much has changed since the last build.
        most: as of `increment`.

    Raises:
        NotReady: another process is building in this workspace, and so must this one.
        Corrupt: a file of the live generation that is read here is damaged.
    """
    job = Job(workspace, db, encoder, options or BuildOptions(), progress)
    if workspace.current.exists():
        with publish_lock(workspace), snapshot(db):
            number = live_number(workspace)
            if _fits(job, workspace, number):
                published = increment(job, number, may_build, most)
                if published is not None:
                    return published
    return build(workspace, db, encoder, options, progress)


def changed_items(workspace: Workspace, db: sqlite_utils.Database) -> dict[str, list[str]] | None:
    """Entity type → the ids of what changed since the live generation; None if there is none, or
    none that this program can update."""
    try:
        manifest = _manifest(workspace, live_number(workspace))
    except (NotReady, Corrupt):
        return None
    return changed_since(db, manifest["change"])


def _manifest(workspace: Workspace, number: int) -> dict[str, Any]:
    folder = folder_of(workspace, number)
    manifest = read_manifest(folder, GENERATION)
    with reading("The manifest", folder / GENERATION.manifest, GENERATION.mend):
        described(manifest)
    return manifest


def _fits(job: Job, workspace: Workspace, number: int) -> bool:
    """Whether a generation has the encoder, the tokens and the graphs that a build would have."""
    try:
        manifest = _manifest(workspace, number)
    except OtherFormat:  # the program was upgraded
        return False
    facts, told = facts_of(job), manifest.get("options", {})
    graphs = (told.get("m"), told.get("ef_construction"))
    return graphs == (job.options.m, job.options.ef_construction) and all(
        manifest.get(name) == facts[name] for name in ("checkpoint", "tokens_version")
    )
