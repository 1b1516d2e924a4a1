"""Grades that a teacher gave to pairs of a query and an item that nobody judged.

They are in `soft_labels.db` of the workspace, by teacher, with the hash of the text that was read.
The file may be deleted: `omnisearch rank teach` grades again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from omnisearch.data.catalogue.items import field_texts
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, read_pointer
from omnisearch.data.workspace.cache_file import cache_errors, open_cache

TEACHER = Kind("teacher", 1, again="Run `omnisearch rank teach`.")

# What the teacher reads of an item: what an index can show too, so that it can re-rank.
TEACHER_FIELDS = ("title", "brand", "caption", "description")

Item = tuple[str, str, str]  # query, entity, item id
_TABLE = (
    "grades (teacher TEXT, query TEXT, entity TEXT, item_id TEXT, text BLOB, share REAL, "
    "top REAL, PRIMARY KEY (teacher, query, entity, item_id)) WITHOUT ROWID"
)


def teacher_text(item: dict[str, Any]) -> str:
    """What the teacher reads of an item."""
    return ". ".join(field_texts(item, TEACHER_FIELDS))


def soft_labels(workspace: Workspace) -> dict[Item, tuple[float, float]]:
    """(query, entity, item id) → grade as a share of the best one, and the best one of the judges.

    Of the current teacher; empty without one. Raises Corrupt if the file or the pointer is damaged.
    """
    teacher = read_pointer(workspace.current_teacher, TEACHER)
    if teacher is None or not workspace.soft_labels.exists():
        return {}
    with _opened(workspace) as connection:
        rows = connection.execute(
            "SELECT query, entity, item_id, share, top FROM grades WHERE teacher = ? "
            "AND typeof(share) = 'real' AND typeof(top) = 'real'",
            [teacher],
        )
        return {row[:3]: row[3:] for row in rows}


def graded(workspace: Workspace, teacher: str) -> dict[Item, bytes]:
    """What a teacher graded: → the hash of the text that it read."""
    with _opened(workspace) as connection:
        rows = connection.execute(
            "SELECT query, entity, item_id, text FROM grades WHERE teacher = ?", [teacher]
        )
        return {row[:3]: row[3] for row in rows}


def add_grades(
    workspace: Workspace, teacher: str, rows: Iterable[tuple[Item, bytes, float, float]]
) -> None:
    """Write pairs with the hashes of their texts, the shares, and the best grades.

    Earlier rows of the same pairs are replaced.
    """
    values = [(teacher, *item, text, float(share), float(top)) for item, text, share, top in rows]
    with _opened(workspace) as connection, connection:
        connection.executemany("INSERT OR REPLACE INTO grades VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def forget_others(workspace: Workspace, teacher: str) -> None:
    """Remove what other teachers graded."""
    with _opened(workspace) as connection, connection:
        connection.execute("DELETE FROM grades WHERE teacher <> ?", [teacher])


@contextmanager
def _opened(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    with (
        closing(open_cache(workspace.soft_labels, _TABLE)) as connection,
        cache_errors(workspace.soft_labels),
    ):
        yield connection
