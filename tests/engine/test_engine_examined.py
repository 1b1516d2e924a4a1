"""What of the log tells which places users look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlite_utils

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY
from omnisearch.data.workspace import Workspace
from omnisearch.engine.examined import DAYS, examined_until
from omnisearch.ranker.examination import examination
from omnisearch.ranker.labels import MAX_POSITION

UNTIL = 1_700_000_000
PRIOR = np.arange(1, MAX_POSITION + 1) ** -0.7


@pytest.fixture
def db(tmp_path: Path) -> sqlite_utils.Database:
    return open_catalogue(Workspace.create(tmp_path / "workspace").catalogue, create=True)


def add(
    db: sqlite_utils.Database,
    item: str,
    action: str,
    position: int | None,
    count: int = 1,
    time: int = UNTIL - 1,
    query: str = "lamp",
    entity: str = "pin",
) -> None:
    event = db.conn.execute("SELECT COUNT(*) FROM engagements").fetchone()[0]
    db.conn.execute(
        "INSERT INTO engagements (event, time, query, entity, item_id, action, count, position) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (event, time, query, entity, item, action, count, position),
    )


def add_moved(db: sqlite_utils.Database, **options: object) -> None:
    """An item that is chosen as often at the second place as at the first."""
    for position in (1, 2):
        add(db, "p1", "impression", position, 100, **options)
        add(db, "p1", "save", position, 50, **options)


def test_counts_are_by_query_item_and_place(db: sqlite_utils.Database) -> None:
    add_moved(db)
    add(db, "p1", "click", 2, 20)
    add(db, "p1", "impression", MAX_POSITION + 3, 30)  # as if at MAX_POSITION
    add(db, "p1", "impression", MAX_POSITION, 10)
    add(db, "p1", "save", MAX_POSITION + 1, 9)
    add(db, "p1", "impression", 3, 40, query="rug")  # another pair, whose number comes after
    add(db, "p1", "impression", 4, 20, query="rug")
    add(db, "p1", "save", 4, 7, query="rug")
    add(db, "p1", "save", None, 99)
    add(db, "p2", "impression", 1, 99)
    pair = np.array([0, 0, 0, 1, 1])
    place = np.array([0, 1, MAX_POSITION - 1, 2, 3])
    views, choices = np.array([[100.0, 100, 40, 40, 20], [50, 70, 9, 0, 7]])
    wanted = examination(pair, place, views, choices, MAX_POSITION)
    np.testing.assert_allclose(examined_until(db, UNTIL), wanted)


def test_other_days_entities_and_data_sets_tell_nothing(db: sqlite_utils.Database) -> None:
    add_moved(db, time=UNTIL)
    add_moved(db, time=UNTIL - DAYS * DAY - 1)
    add_moved(db, entity="query")
    add_moved(db, query="of a data set")
    db["queries"].insert({"id": "of a data set", "split": "test"})
    np.testing.assert_allclose(examined_until(db, UNTIL), PRIOR)
    add_moved(db, time=UNTIL - DAYS * DAY)
    assert examined_until(db, UNTIL)[1] > PRIOR[1] + 0.2


def test_a_log_without_places_leaves_the_prior(db: sqlite_utils.Database) -> None:
    np.testing.assert_allclose(examined_until(db, UNTIL), PRIOR)
    add(db, "p1", "save", None, 50)
    add(db, "p1", "impression", None, 99)
    np.testing.assert_allclose(examined_until(db, UNTIL), PRIOR)
