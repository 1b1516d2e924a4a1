"""`omnisearch import feedback`: what a service was told becomes part of the log."""

from __future__ import annotations

from collections.abc import Iterator

from data.feedback import KINDS, feedback_rows
from data.importers.files import import_rows
from data.importers.readers import Row, Source
from data.importers.record import Progress, Report
from data.workspace import Workspace


def import_feedback(workspace: Workspace, progress: Progress = None) -> list[Report]:
    """Import all events and judgments of the feedback log; those imported before change nothing.

    Rows are checked and refused as those of a file are; their numbers stand for lines.

    Raises:
        InputError: there is no feedback log. Corrupt: it is damaged.
    """
    return [
        import_rows(workspace, workspace.feedback, kind, _source(workspace, kind), None, progress)
        for kind in KINDS
    ]


def _source(workspace: Workspace, kind: str) -> Source:
    total, rows = feedback_rows(workspace, kind)
    read = 0

    def counted() -> Iterator[Row]:
        nonlocal read
        for number, values in rows:
            read += 1
            yield Row(number, values)

    return Source("feedback", counted(), None, total, lambda: read)
