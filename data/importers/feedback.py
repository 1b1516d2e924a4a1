"""`omnisearch import feedback`: adds the feedback of a service to the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omnisearch.data.catalogue.feedback import KINDS, feedback_rows, last_feedback, taken_back
from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.importers.files import import_rows
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.transaction import Report
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress

READ = "feedback_read"  # key in the catalogue's meta table: `last_feedback` when it was read


def import_feedback(workspace: Workspace, progress: Progress | None = None) -> list[Report]:
    """Import all events and judgments of the feedback log; known ones change nothing.

    Rows are checked and refused like rows of a file; their numbers are used as line numbers.
    Judgments that were withdrawn since are removed from the catalogue.

    Raises:
        InputError: there is no feedback log. Corrupt: it is damaged.
    """
    last = last_feedback(workspace)  # first: what comes in meanwhile is read the next time
    reports = [
        import_rows(workspace, workspace.feedback, kind, _source(workspace, kind), None, progress)
        for kind in KINDS
    ]
    _finish(workspace, taken_back(workspace), last)
    return reports


def _finish(
    workspace: Workspace, withdrawn: list[tuple[str, str, str, str]], last: list[Any] | None
) -> None:
    """Remove withdrawn judgments, and note up to where the log was read."""
    if not workspace.catalogue.exists():  # the log had no rows
        return
    db = open_catalogue(workspace.catalogue)
    try:
        with db.conn:
            db.conn.executemany(
                "DELETE FROM judgments "
                "WHERE query = ? AND entity = ? AND item_id = ? AND judge = ?",
                withdrawn,
            )
            set_meta(db, READ, last)
    finally:
        db.conn.close()


def _source(workspace: Workspace, kind: str) -> Source:
    total, rows = feedback_rows(workspace, kind)
    read = 0

    def counted() -> Iterator[Row]:
        nonlocal read
        for number, values in rows:
            read += 1
            values.pop("request_id", None)  # only the report of an experiment reads it
            yield Row(number, values)

    return Source("feedback", counted(), None, total, lambda: read)
