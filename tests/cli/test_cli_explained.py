"""An error of SQLite is told of the file that it is about."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch.cli.common import explained
from omnisearch.data.catalogue import schema
from omnisearch.data.workspace.errors import Corrupt, Unavailable


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(schema, "opened", set())
    schema.open_catalogue(tmp_path / "catalogue.db", create=True).conn.close()
    return tmp_path / "catalogue.db"


def told(path: Path, sql: str) -> tuple[type, str]:
    connection = sqlite3.connect(path, timeout=0)
    try:
        connection.execute(sql)
    except sqlite3.Error as error:
        found = explained(error, "rank teach")
        return type(found), found.where
    finally:
        connection.close()
    raise AssertionError("no error")


def test_another_database_that_is_damaged_is_named(catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / "soft_labels.db").write_bytes(b"no database" * 1000)
    where = str(tmp_path / "soft_labels.db")
    assert told(tmp_path / "soft_labels.db", "SELECT * FROM grades") == (Corrupt, where)


def test_another_database_that_is_locked_is_named(catalogue: Path, tmp_path: Path) -> None:
    path = tmp_path / "queries.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE cache (key)")
        other.execute("BEGIN EXCLUSIVE")
        assert told(path, "INSERT INTO cache VALUES (1)") == (Unavailable, str(path))


def test_the_catalogue_is_named_where_it_is_its_own(catalogue: Path) -> None:
    assert told(catalogue, "SELECT * FROM gone") == (Corrupt, str(catalogue))
