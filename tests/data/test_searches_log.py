"""The log of searches: one of an earlier version is brought up to date, and keeps what it has."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch.data.catalogue.searches import (
    Logged,
    add_searches,
    country_code,
    open_searches,
)
from omnisearch.data.workspace.errors import Corrupt

VERSION_1 = """
CREATE TABLE searches (
    request_id TEXT PRIMARY KEY, time INTEGER NOT NULL, user BLOB NOT NULL,
    experiment TEXT NOT NULL, variant TEXT NOT NULL, query TEXT NOT NULL, language TEXT NOT NULL,
    page INTEGER NOT NULL, total INTEGER NOT NULL, took_ms REAL NOT NULL,
    generation INTEGER NOT NULL, drafted TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX searches_by_experiment ON searches (experiment, time);
CREATE INDEX searches_by_user ON searches (user, time);
PRAGMA user_version=1;
"""
VERSION_2 = """
ALTER TABLE searches ADD COLUMN country TEXT NOT NULL DEFAULT '';
ALTER TABLE searches ADD COLUMN device TEXT NOT NULL DEFAULT '';
PRAGMA user_version=2;
"""
SHOWN = '[["pin","p1"]]'
OLD = ("a-1", 5, b"anna", "deeper", "control", "lamp", "en", 1, 7, 2.5, 3, "")
NEW = Logged(
    "a-2", 6, b"anna", "deeper", "control", "rug", "en", 1, 7, 2.5, 3, "", "US", "phone", SHOWN
)


@pytest.fixture(params=["", VERSION_2], ids=["version 1", "version 2"])
def earlier(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "searches.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
        db.execute(f"INSERT INTO searches VALUES ({', '.join('?' * len(OLD))})", OLD)
        db.commit()
        db.executescript(request.param)
    return path


def rows(path: Path) -> list[Logged]:
    with closing(open_searches(path)) as log:
        return [Logged(*row) for row in log.execute("SELECT * FROM searches ORDER BY time")]


def test_an_earlier_log_keeps_its_searches_and_takes_what_was_shown(earlier: Path) -> None:
    assert rows(earlier) == [Logged(*OLD, "", "", "")]
    with closing(open_searches(earlier)) as log:
        assert add_searches(log, [NEW]) == 1
    assert rows(earlier) == [Logged(*OLD, "", "", ""), NEW]


def test_workers_that_open_an_earlier_log_at_once_migrate_it_once(earlier: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: rows(earlier), range(16)))
    assert found == [[Logged(*OLD, "", "", "")]] * 16


def test_a_log_of_a_newer_program_is_refused(earlier: Path) -> None:
    with closing(sqlite3.connect(earlier)) as db:
        db.execute("PRAGMA user_version=4")
    with pytest.raises(Corrupt, match="version 4"):
        open_searches(earlier)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("us", "US"), (" DE ", "DE"), (None, ""), ("", ""), ("Germany", ""), ("d1", ""), ("ÄÖ", "")],
)
def test_of_a_country_only_its_code_is_kept(given: str | None, kept: str) -> None:
    assert country_code(given) == kept
