"""Errors of the system, SQLite and libraries are led back to what to say of them."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch.data.catalogue.feedback import feedback_rows, open_feedback
from omnisearch.data.catalogue.schema import SCHEMA_VERSION, open_catalogue
from omnisearch.data.catalogue.verify import damage_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import cause_of
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady, Unavailable


def raised(code: int, text: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/a"), "/w/a: The disk is full."),
        (OSError(errno.EDQUOT, "Quota", "/w/a"), "quota"),
        (OSError(errno.EROFS, "Read-only", "/w/a"), "read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/w/a"), "permission is missing"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError("4096 requested and 100 written"), "The disk is full."),  # numpy's tofile
        (MemoryError(), "not enough memory"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "The disk is full."),
        (ValueError('IoError { Os { code: 28, kind: StorageFull, message: "" } }'), "disk is full"),
        (RuntimeError("[enforce fail] No space left on device"), "The disk is full."),
        (raised(sqlite3.SQLITE_FULL, "database or disk is full"), "The disk is full."),
        (raised(sqlite3.SQLITE_BUSY, "database is locked"), "Another process"),
        (raised(sqlite3.SQLITE_READONLY, "attempt to write a readonly database"), "writable"),
        (raised(sqlite3.SQLITE_IOERR, "disk I/O error"), "cannot be read or written"),
    ],
)
def test_what_is_said_of_an_error(error: Exception, said: str) -> None:
    found = cause_of(error)
    assert isinstance(found, Unavailable) and said in str(found) and found.how
    assert "/" not in found.what


def test_what_is_no_cause() -> None:
    assert cause_of(TypeError("x")) is None and cause_of(InputError("x")) is None


def test_a_file_that_cannot_be_read_is_not_called_damaged() -> None:
    error = Corrupt("The manifest cannot be read.", where="/w/m", how="Make a new one.")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert isinstance(cause_of(error), Unavailable)
    error.__cause__ = FileNotFoundError(errno.ENOENT, "No such file")
    assert cause_of(error) is None


@pytest.mark.parametrize("text", ["no such table: pins", "malformed JSON", "Could not decode to"])
def test_a_damaged_database(text: str) -> None:
    assert isinstance(cause_of(raised(1, text)), Corrupt)
    assert isinstance(cause_of(EOFError("No data left in file")), Corrupt)


@pytest.fixture
def catalogue(workspace: Workspace) -> Path:
    open_catalogue(workspace.catalogue, create=True).conn.close()
    return workspace.catalogue


@pytest.mark.parametrize("version", [-5, 0, 1, 258, 2**30])
def test_a_damaged_version_is_not_a_newer_one(version: int, catalogue: Path) -> None:
    with closing(sqlite3.connect(catalogue)) as db:
        db.execute(f"PRAGMA user_version={version}")
    with pytest.raises(Corrupt, match="Put back a copy"):
        open_catalogue(catalogue)


def test_another_database_or_nothing_in_its_place(catalogue: Path, workspace: Workspace) -> None:
    open_feedback(workspace.feedback, create=True).close()
    with closing(sqlite3.connect(workspace.text_cache)) as db:
        db.execute("CREATE TABLE vectors (key BLOB PRIMARY KEY)")
    for other in (workspace.feedback, workspace.text_cache):
        catalogue.write_bytes(other.read_bytes())
        with pytest.raises(Corrupt):
            open_catalogue(catalogue)
    catalogue.write_bytes(b"")
    with pytest.raises(NotReady, match="is empty"):
        open_catalogue(catalogue)
    catalogue.unlink()
    catalogue.mkdir()
    with pytest.raises(Unavailable, match="A folder stands where a file is needed"):
        open_catalogue(catalogue)


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("INSERT INTO pins (id, title) VALUES ('a', x'41')", "no text as title"),
        ("INSERT INTO pins (id) VALUES (NULL)", "have no id"),
        (
            "INSERT INTO pins (id, created_at) VALUES ('a', 9007199254740993)",
            "too large a created_at",
        ),
        ("INSERT INTO pins (id, board_titles) VALUES ('a', '[\"a\"')", "have board_titles"),
        ("INSERT INTO products (id, colours) VALUES ('a', '[1]')", "have colours"),
        ("INSERT INTO pins (id, engaged_queries) VALUES ('a', '[[1, 2]]')", "have engaged_queries"),
        ("INSERT INTO meta VALUES ('a', '{')", "have value"),
        ("INSERT INTO pins (id, title) VALUES ('a', CAST(x'ff' AS TEXT))", "UTF-8"),
        ("ALTER TABLE pins DROP COLUMN title", "lacks title"),
        (f"PRAGMA user_version={SCHEMA_VERSION + 1}", "version"),
    ],
)
def test_damage_is_found(statement: str, where: str, catalogue: Path) -> None:
    assert damage_of(catalogue) is None
    with closing(sqlite3.connect(catalogue)) as db, db:
        db.execute(statement)
    assert where in (damage_of(catalogue) or "")


def test_a_catalogue_of_all_kinds_is_intact(tiny_workspace: Workspace) -> None:
    assert damage_of(tiny_workspace.catalogue) is None


@pytest.mark.parametrize("row", ["'{'", "'[1]'", "x'00'", "CAST(x'ff' AS TEXT)"])
def test_a_damaged_row_of_feedback(row: str, workspace: Workspace) -> None:
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        log.execute(f"INSERT INTO events VALUES (1, 'a', 0, {row})")
    with pytest.raises(Corrupt, match="feedback log cannot be read"):
        list(feedback_rows(workspace, "engagements")[1])
