"""Building generations from scratch: `build` and `rebuild` (see `indexer.update`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlite_utils

from omnisearch.data.catalogue.changes import settle
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import remove_folder
from omnisearch.data.workspace.leftovers import temporary
from omnisearch.data.workspace.locks import build_lock, publish_lock
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.cluster.names import OWNER
from omnisearch.indexer.generation import live_number
from omnisearch.indexer.increment import increment
from omnisearch.indexer.loading.builds import bring, owner_of, prepare
from omnisearch.indexer.publish import (
    BuildOptions,
    Job,
    Written,
    make_live,
    name_written,
    write_build,
)
from omnisearch.indexer.retention import remove_unloaded, retain_signals
from omnisearch.indexer.segment import GENERATION, LOADING_FILE, QDRANT
from omnisearch.indexer.signals import (
    EntitySignals,
    ItemsAndQueries,
    encode_signals,
    read_signals,
)

__all__ = ["BuildOptions", "build", "rebuild", "snapshot"]


def build(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Encode what changed, build all indexes from scratch and publish them; returns the number.

    Raises:
        NotReady: another process is building in this workspace.
        InputError: a feature does not fit the encoder.
    """
    job = Job(workspace, db, encoder, options or BuildOptions(), progress)
    return _build(job, fresh=False)


def rebuild(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> int:
    """Like `build`, but encodes every item again."""
    job = Job(workspace, db, encoder, options or BuildOptions(), progress)
    return _build(job, fresh=True)


def _build(job: Job, fresh: bool) -> int:
    """Publish a generation of one segment.

    Updates that are published meanwhile are not lost: their changes come on top.
    """
    workspace, unfinished = job.workspace, job.workspace.generations / "build"
    clustered = job.options.backend == QDRANT
    with build_lock(workspace), temporary(unfinished, folder=True) as folder:
        remove_unloaded(workspace)
        facts = {"backend": job.options.backend}
        if clustered:
            facts[OWNER] = owner_of(job.db)
            prepare(workspace, facts[OWNER])
        with snapshot(job.db):
            written = write_build(job, folder, _encoded(job, fresh))
        written.facts.update(facts)
        with publish_lock(workspace):
            number = name_written(job, folder, written)
            if not clustered:
                number = go_live(job, number, written)
        if clustered:  # which may take long: updates go on meanwhile
            _load(job, number)
            with publish_lock(workspace):
                (workspace.generation(number) / LOADING_FILE).unlink()
                number = go_live(job, number, written)
        retain_signals(workspace)
        return number


def _load(job: Job, number: int) -> None:
    """Bring a build into the cluster; if that fails, its folder is removed."""
    done = job.done

    def further(points: int, _: int) -> None:
        job.done = done
        job.step(points)

    try:
        bring(job.workspace, number, further)
    except BaseException:
        remove_folder(job.workspace.generation(number))
        raise


def go_live(job: Job, number: int, written: Written) -> int:
    """Make a generation live, with what was published since it was read on top of it; returns the
    number that is live. Call it under the publish lock."""
    if _live_change(job.workspace) > written.facts["change"]:
        with snapshot(job.db):
            newer = increment(job, number, may_build=False)
        if newer not in (None, number):
            return newer
    make_live(job, number)
    return number


def _live_change(workspace: Workspace) -> int:
    """The last change of the catalogue that the live generation has; -1 without one."""
    try:
        manifest = read_manifest(workspace.generation(live_number(workspace)), GENERATION)
    except (NotReady, Corrupt):
        return -1
    change = manifest.get("change")
    return change if isinstance(change, int) else -1


def _encoded(job: Job, fresh: bool) -> dict[str, EntitySignals]:
    def first_part(done: int, total: int) -> None:
        # Tables count as many items again, and graphs twice as many.
        job.done, job.total = done, 4 * total
        job.step(0)

    stats = encode_signals(job.workspace, job.db, job.encoder, first_part, fresh=fresh)
    signals = read_signals(stats.folder)
    items = sum(len(found.ids) for found in signals.values())
    vectors = sum(len(found.ids) * len(found.spaces) for found in signals.values())
    loaded = items if job.options.backend == QDRANT else 0
    job.done, job.total = items, 2 * items + vectors + loaded
    return signals


@contextmanager
def snapshot(db: sqlite_utils.Database) -> Iterator[None]:
    """Read one consistent state of the catalogue, whatever is imported meanwhile."""
    if db.conn.in_transaction:
        yield
        return
    settle(db)
    db.conn.execute("BEGIN")
    try:
        yield
    finally:
        db.conn.rollback()
