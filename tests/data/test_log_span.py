"""Stray events do not move the days that are learned from and measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omnisearch.data.catalogue.log_left_out import training_left_out, window_left_out
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY, Split, evaluation_window, time_split

START = 1_700_000_000
END = START + 60 * DAY


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    """Sixty days of a log with ten queries a day over two pins."""
    found = open_catalogue(tmp_path / "catalogue.db", create=True)
    with found.conn:
        found["pins"].insert_all([{"id": "a"}, {"id": "b"}])
    for number in range(600):
        add(found, START + number * DAY // 10, f"query {number}")
    yield found
    found.conn.close()


def add(
    db: Any, time: int, query: str, item: str = "a", action: str = "save", entity: str = "pin"
) -> None:
    with db.conn:
        db.conn.execute(
            "INSERT INTO engagements (time, query, entity, item_id, action, count) "
            "VALUES (?, ?, ?, ?, ?, 1)",
            [time, query, entity, item, action],
        )


def test_one_click_now_does_not_move_the_windows(db: Any) -> None:
    before = time_split(db)
    assert before.evaluates
    for year in (1, 2):
        add(db, END + year * 365 * DAY, "feedback", action="click")
    assert time_split(db) == before
    left = {
        each.what: each.count for each in window_left_out(db, before, evaluation_window(before))
    }
    assert list(left.values()) == [2]
    assert all(what.startswith("events since 20") for what in left)


def test_events_that_go_on_do_move_them(db: Any) -> None:
    for number in range(60):
        add(db, END + 365 * DAY + number * 3600, f"new {number}")
    assert time_split(db).eval_until == END + 365 * DAY + 59 * 3600 + 1


def test_a_slow_shop_keeps_its_last_days(db: Any) -> None:
    """Fewer than fifty queries in the last week, but no strays: they are not thrown away."""
    for number in range(40):
        add(db, END + number * DAY, f"slow {number}")
    assert time_split(db).eval_until == END + 39 * DAY + 1


def test_one_event_of_1970_does_not_make_a_short_log_long(db: Any) -> None:
    with db.conn:
        db.conn.execute("DELETE FROM engagements WHERE time < ?", [END - 20 * DAY])
    whole = time_split(db)
    assert not whole.evaluates
    add(db, 20240115, "a date read as seconds")
    assert time_split(db) == whole


def test_what_training_leaves_out_is_counted_once_each(db: Any) -> None:
    split = time_split(db)
    assert split == Split(split.train_until, split.train_until + 15 * DAY, split.eval_until)
    early = START + DAY
    add(db, early, "query 1", action="click")
    add(db, early, "query 1", action="impression")
    add(db, early, "query 1", "gone")
    add(db, early, "same", "same", "click", "query")
    add(db, early, "held", "a")
    with db.conn:
        db["queries"].insert({"id": "held", "split": "test"})
    found = {
        each.why.split(",")[0].split(";")[0]: each.count for each in training_left_out(db, split)
    }
    later = sum(1 for n in range(600) if START + n * DAY // 10 >= split.train_until)
    assert sorted(found.values()) == sorted([later, 1, 1, 1, 1, 600 - later - 50])
    assert found["their pin or product is not in the catalogue"] == 1
    assert found["a pin is in at most 50 pairs and a product in 200 of each kind"] > 0
    text = "\n".join(map(str, training_left_out(db, split)))
    assert "Left out: events of held-out queries (1): their data set keeps these" in text
