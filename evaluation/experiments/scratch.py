"""What a report looks up and sorts: on disk, so that its memory does not grow with the searches.

It is a database of SQLite without a name, which is in memory while it is small, and removed when it
is closed.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import floor, nan
from typing import Any

import numpy as np
import orjson

from omnisearch.data.catalogue.feedback import each_of_searches
from omnisearch.data.catalogue.searches import reading_searches
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Unavailable
from omnisearch.evaluation.experiments.new_items import Item
from omnisearch.evaluation.experiments.ratio import Ratio

Event = tuple[str, str, str]  # action, entity, id
Events = Mapping[str, set[Event]]  # request id → what was done, and what was shown
_SCHEMA = """
CREATE TABLE events (
    request_id TEXT, action TEXT, entity TEXT, item_id TEXT,
    PRIMARY KEY (request_id, action, entity, item_id)
) WITHOUT ROWID;
CREATE TABLE times (variant INTEGER, took_ms REAL, user INTEGER);
BEGIN;
"""
_SORTED = "CREATE INDEX IF NOT EXISTS times_by_variant ON times (variant, took_ms, user)"


class Scratch:
    """The events that name searches, and how long searches took."""

    def __init__(self) -> None:
        self.db = sqlite3.connect("", isolation_level=None)
        self.db.executescript(f"PRAGMA journal_mode=OFF;{_SCHEMA}")

    def close(self) -> None:
        self.db.close()

    def add_events(self, events: Iterable[tuple[str, str, str, str]]) -> None:
        """Add (request id, action, entity, id); what is there already is not added again."""
        with _written():
            self.db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)", events)

    def events(self, ids: Iterable[str]) -> Events:
        """The events of some requests."""
        found: dict[str, set[Event]] = {}
        rows = self._rows(
            "SELECT * FROM events WHERE request_id IN (SELECT value FROM json_each(?))",
            orjson.dumps(list(ids)).decode(),
        )
        for request_id, *event in rows:
            action, entity, key = event
            found.setdefault(request_id, set()).add((action, entity, key))
        return found

    def items(self, action: str) -> set[Item]:
        """The items with an action."""
        return set(
            self._rows("SELECT DISTINCT entity, item_id FROM events WHERE action = ?", action)
        )

    def acted(self) -> Iterator[str]:
        """The ids of requests with an action; an impression is none."""
        query = "SELECT DISTINCT request_id FROM events WHERE action <> 'impression'"
        with _written():
            yield from (name for (name,) in self.db.execute(query))

    def add_times(self, variant: int, user: int, took_ms: Iterable[float]) -> None:
        """Add the searches of a user."""
        with _written():
            self.db.executemany(
                "INSERT INTO times VALUES (?, ?, ?)", ((variant, each, user) for each in took_ms)
            )

    def times(self, variant: int) -> StoredTimes:
        """The searches of a variant, once all are added."""
        self._rows(_SORTED)
        return StoredTimes(self, variant)

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _written():
            return self.db.execute(query, values).fetchall()


@dataclass(frozen=True)
class StoredTimes:
    """How long the searches of a variant took: `percentiles.Times`, exactly as of arrays."""

    scratch: Scratch
    variant: int

    def quantile(self, share: float) -> float:
        ((count,),) = self._rows("SELECT COUNT(*) FROM times WHERE variant = ?")
        if not count:
            return nan
        place = (count - 1) * share
        before = floor(place)
        ends = self._rows(
            "SELECT took_ms FROM times WHERE variant = ? ORDER BY took_ms LIMIT 2 OFFSET ?", before
        )
        return float(np.quantile(np.array(ends)[:, 0], place - before))

    def at_most(self, value: float) -> Ratio:
        rows = self._rows(
            "SELECT SUM(took_ms <= ?2), COUNT(*) FROM times WHERE variant = ?1 "
            "GROUP BY user ORDER BY user",
            value,
        )
        return Ratio(*np.array(rows, np.float64).reshape(-1, 2).T)

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self.scratch._rows(query, self.variant, *values)


@contextmanager
def opened(workspace: Workspace) -> Iterator[Scratch]:
    """A scratch with the events of the feedback log.

    Raises:
        Corrupt: the log is damaged. Unavailable: the temporary folder is full.
    """
    with closing(Scratch()) as scratch:
        if workspace.feedback.exists():
            scratch.add_events(each_of_searches(workspace))
        yield scratch


def unlogged(workspace: Workspace, scratch: Scratch) -> int:
    """How many of the searches that events name are not in the log."""
    with reading_searches(workspace.searches) as db:
        query = "SELECT 1 FROM searches WHERE request_id = ?"
        return sum(db.execute(query, [name]).fetchone() is None for name in scratch.acted())


@contextmanager
def _written() -> Iterator[None]:
    """What SQLite says of the temporary file, as an error for the user."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(
            f"A temporary file of the report cannot be written or read ({error}).",
            where=tempfile.gettempdir(),
            how="Make room there, or set TMPDIR to a folder with more.",
        ) from error
