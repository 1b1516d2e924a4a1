"""The catalogue: opening, reading in batches, damage."""

from __future__ import annotations

import sqlite3

import pytest

from omnisearch.data.catalogue.items import count, field_texts, read_items
from omnisearch.data.catalogue.schema import get_meta, open_catalogue, set_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady


@pytest.fixture
def db(workspace):
    db = open_catalogue(workspace.catalogue, create=True)
    rows = [(f"p{i:03}", f"Pin {i}", '["a","b"]', '[["q",2,3]]') for i in range(250)]
    with db.conn:
        db.conn.executemany(
            "INSERT INTO pins (id, title, board_titles, engaged_queries) VALUES (?, ?, ?, ?)",
            rows[::-1],
        )
    yield db
    db.conn.close()


def test_a_workspace_without_a_catalogue_is_not_ready(tmp_path):
    with pytest.raises(NotReady, match="omnisearch import"):
        Workspace.open(tmp_path)
    with pytest.raises(NotReady, match="does not exist"):
        open_catalogue(tmp_path / "catalogue.db")
    assert not (tmp_path / "catalogue.db").exists()


def test_items_come_in_batches_by_id(db):
    batches = list(read_items(db, "pin", batch_size=100))
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert [item["id"] for batch in batches for item in batch] == [f"p{i:03}" for i in range(250)]
    assert batches[0][0]["board_titles"] == ["a", "b"]
    assert batches[0][0]["engaged_queries"] == [["q", 2, 3]]
    assert count(db, "pin") == 250


def test_items_by_id_keep_the_order_asked_for(db):
    asked = ["p007", "none", "p001", *[f"p{i:03}" for i in range(240)][::-1] * 3]
    found = [item["id"] for batch in read_items(db, "pin", ids=asked) for item in batch]
    assert found == [key for key in asked if key != "none"]


def test_texts_of_an_item_in_the_order_of_its_fields(db):
    [[item]] = read_items(db, "pin", ids=["p003"])
    assert field_texts(item) == ["Pin 3", "a", "b", "q"]
    assert field_texts(item, ("engaged_queries", "title")) == ["q", "Pin 3"]
    assert field_texts({"title": "", "colours": ["red"]}) == ["red"]


def test_notes(db):
    assert get_meta(db, "x", 5) == 5
    set_meta(db, "x", {"a": [1, None]})
    set_meta(db, "x", {"a": [2]})
    assert get_meta(db, "x") == {"a": [2]}


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_catalogue(workspace, content):
    workspace.catalogue.write_bytes(content)
    with pytest.raises(Corrupt, match="cannot be read"):
        open_catalogue(workspace.catalogue)


def test_a_catalogue_of_another_version(workspace):
    connection = sqlite3.connect(workspace.catalogue)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(Corrupt, match="version 99"):
        open_catalogue(workspace.catalogue)


def test_readers_see_the_old_state_while_another_writes(db, workspace):
    other = open_catalogue(workspace.catalogue)
    db.conn.execute("BEGIN IMMEDIATE")
    db.conn.execute("DELETE FROM pins")
    assert count(other, "pin") == 250
    db.conn.commit()
    assert count(other, "pin") == 0
    other.conn.close()
