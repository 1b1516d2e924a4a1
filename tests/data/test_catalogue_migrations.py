"""A catalogue of the first schema is migrated whole or not at all, once, and keeps its rows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.migrations import migrate
from omnisearch.data.catalogue.schema import SCHEMA_VERSION, open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, OmniError
from omnisearch.data.workspace.files import sha256_file

ITEM = """
    id TEXT PRIMARY KEY, title TEXT, description TEXT, caption TEXT, board_titles TEXT,
    engaged_queries TEXT, domain TEXT, link TEXT, image TEXT, language TEXT, country TEXT,
    created_at INTEGER, campaign TEXT"""
SCHEMA_1 = f"""
CREATE TABLE pins ({ITEM});
CREATE TABLE products ({ITEM},
    brand TEXT, price REAL, currency TEXT, size TEXT,
    colours TEXT, materials TEXT, patterns TEXT, product_types TEXT
);
CREATE TABLE boards (id TEXT PRIMARY KEY, title TEXT, owner TEXT, language TEXT);
CREATE TABLE board_items (
    board_id TEXT, entity TEXT, item_id TEXT, added_at INTEGER,
    PRIMARY KEY (board_id, entity, item_id)
) WITHOUT ROWID;
CREATE INDEX board_items_by_item ON board_items (entity, item_id);
CREATE TABLE queries (id TEXT PRIMARY KEY, text TEXT, language TEXT, country TEXT, split TEXT);
CREATE TABLE engagements (
    event INTEGER PRIMARY KEY,
    time INTEGER NOT NULL, query TEXT NOT NULL, entity TEXT NOT NULL, item_id TEXT NOT NULL,
    action TEXT NOT NULL, count INTEGER NOT NULL,
    language TEXT, country TEXT, surface TEXT, session TEXT, position INTEGER
);
CREATE INDEX engagements_by_time ON engagements (time);
CREATE TABLE judgments (
    query TEXT, entity TEXT, item_id TEXT, judge TEXT, grade REAL NOT NULL, time INTEGER,
    PRIMARY KEY (query, entity, item_id, judge)
) WITHOUT ROWID;
CREATE TABLE features (
    name TEXT, entity TEXT, file TEXT, rows INTEGER, dim INTEGER, sha256 TEXT,
    PRIMARY KEY (name, entity)
);
CREATE TABLE imports (
    id INTEGER PRIMARY KEY, file TEXT, sha256 TEXT, kind TEXT, format TEXT, time INTEGER,
    rows INTEGER, taken INTEGER, changed INTEGER, refused INTEGER, rejects TEXT
);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
PRAGMA user_version=1;
"""
TABLES = (
    *("pins", "products", "boards", "board_items", "queries", "engagements", "judgments"),
    *("features", "imports", "meta"),
)
VECTORS = np.array([[1, 2], [3, 4]], np.float32)


def make_first(folder: Path) -> Path:
    """A catalogue of the first schema with two pins and their vectors; returns its path."""
    path = folder / "catalogue.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA_1)
        db.execute("INSERT INTO pins (id, title) VALUES ('a', 'Sofa'), ('b', 'Vase')")
        (folder / "features").mkdir()
        np.save(folder / "features/image-pin-1.npy", VECTORS)
        (folder / "features/image-pin-1.ids").write_text('"a"\n"b"\n')
        digest = sha256_file(folder / "features/image-pin-1.npy")
        row = ("image", "pin", "image-pin-1.npy", 2, 2, digest)
        db.execute("INSERT INTO features VALUES (?, ?, ?, ?, ?, ?)", row)
        db.commit()
    return path


def contents(path: Path) -> dict[str, list]:
    """Table → its rows, sorted, as the first schema names tables and columns."""
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        names = {name: name for name in TABLES}
        if version > 1:
            names["features"] = "item_vectors"
        found = {
            key: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for key, name in names.items()
        }
        first = {"features": 6, "products": 21, "pins": 13}
        added = [row[first[name] :] for name in ("pins", "products") for row in found[name]]
        assert not any(value for row in added for value in row)  # codes, availability, attributes
        return found | {name: [row[:n] for row in found[name]] for name, n in first.items()}


def check_migrated(path: Path, before: dict[str, list]) -> None:
    """Opening it finds the newest schema, all rows, the vectors, and no copy."""
    db = open_catalogue(path)
    with closing(db.conn):
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        found = open_vectors(Workspace(path.parent), db, "image", "pin")
        assert found is not None and found.ids == ["a", "b"]
        assert np.array_equal(found.vectors, VECTORS)
    assert contents(path) == before
    assert not list(path.parent.glob("*.before-*"))
    assert not (path.parent / "features").exists()


def run(program: str, path: Path, *words: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", program, str(path), *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


# The process kills itself at its n-th statement, rename or removal.
KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from omnisearch.data.catalogue.schema import open_catalogue
left = int(sys.argv[2])
def moment(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
connect = sqlite3.connect
def traced(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.set_trace_callback(moment)
    return connection
sqlite3.connect = traced
sys.addaudithook(lambda event, _: moment() if event in ("os.rename", "os.remove") else None)
open_catalogue(Path(sys.argv[1]))
"""


def test_a_kill_at_any_moment_leaves_a_whole_catalogue(tmp_path: Path) -> None:
    versions = []
    for moment in range(1, 100):
        folder = tmp_path / str(moment)
        folder.mkdir()
        path = make_first(folder)
        before = contents(path)
        process = run(KILLED, path, moment)
        assert process.wait(timeout=60) in (0, -9), process.stderr and process.stderr.read()
        with closing(sqlite3.connect(path)) as db:
            versions.append(db.execute("PRAGMA user_version").fetchone()[0])
        check_migrated(path, before)
        if process.returncode == 0:
            break
    assert versions == sorted(versions) and len(versions) > 10
    assert (
        versions.count(1) > 5 and versions.count(SCHEMA_VERSION) > 2
    )  # killed before and after the commit


# Says that it migrates, and takes its time.
SLOW = """
import sys, time
from pathlib import Path
from omnisearch.data.catalogue import migrations
from omnisearch.data.catalogue.schema import open_catalogue
step = migrations.MIGRATIONS[1]
def slow(connection, folder):
    print("migrates", file=sys.stderr)
    time.sleep(0.5)
    step(connection, folder)
migrations.MIGRATIONS[1] = slow
(Path(sys.argv[1]).parent / f"ready-{sys.argv[2]}").touch()
while len(list(Path(sys.argv[1]).parent.glob("ready-*"))) < 3:
    time.sleep(0.001)
print(open_catalogue(Path(sys.argv[1])).execute("SELECT COUNT(*) FROM item_vectors").fetchone(),
      file=sys.stderr)
"""


def test_of_three_processes_one_migrates(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    before = contents(path)
    said = [process.communicate(timeout=60)[1] for process in [run(SLOW, path, n) for n in "abc"]]
    assert sorted(said) == ["(1,)\n", "(1,)\n", "migrates\n(1,)\n"]
    check_migrated(path, before)


def test_the_copy_of_another_process_is_left_alone(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    before = contents(path)
    copy = tmp_path / f"catalogue.db.before-{SCHEMA_VERSION}"
    with (
        closing(sqlite3.connect(path)) as other,
        closing(sqlite3.connect(path, timeout=0.1)) as connection,
    ):
        other.execute("BEGIN IMMEDIATE")
        copy.write_bytes(b"half of it")
        with pytest.raises(OmniError, match="Another process"):
            migrate(connection, path, SCHEMA_VERSION)
        assert copy.read_bytes() == b"half of it"
    check_migrated(path, before)


def test_what_lies_only_in_the_log_is_migrated_too(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM pins").fetchall()  # so that the log cannot be emptied
        with closing(sqlite3.connect(path)) as writer:
            writer.execute("INSERT INTO pins (id, title) VALUES ('c', 'Lamp')")
            writer.commit()
        before = contents(path)
        check_migrated(path, before)
    assert len(before["pins"]) == 3


def test_both_folders_are_joined(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    before = contents(path)
    (tmp_path / "item_vectors").mkdir()
    (tmp_path / "item_vectors" / "other.npy").touch()
    check_migrated(path, before)
    assert (tmp_path / "item_vectors" / "other.npy").exists()


def test_the_id_lists_of_earlier_vectors_are_hashed(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        migrate(connection, path, 2)  # what the second edition left
        digest = sha256_file(tmp_path / "item_vectors" / "image-pin-1.npy")
        note = f'{{"model": "vit", "files": ["{digest}"]}}'
        connection.execute("INSERT INTO meta VALUES ('image_model', ?)", [note])
        connection.commit()
    with closing(open_catalogue(path).conn) as connection:
        ids = tmp_path / "item_vectors" / "image-pin-1.ids"
        row = connection.execute("SELECT ids_sha256, made_sha256, made_by FROM item_vectors")
        assert row.fetchone() == (sha256_file(ids), None, "vit")
    ids.write_text('"b"\n"a"\n')
    db = open_catalogue(path)
    with closing(db.conn), pytest.raises(Corrupt, match=r"image-pin-1\.ids.*hash.*Import"):
        open_vectors(Workspace(tmp_path), db, "image", "pin")


def test_the_copies_of_killed_migrations_are_removed(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    open_catalogue(path).conn.close()
    for version in (2, 3):
        (tmp_path / f"catalogue.db.before-{version}").touch()
    open_catalogue(path).conn.close()
    assert not list(tmp_path.glob("*.before-*"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Nothing stops root from writing."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("locked", ["folder", "file"])
def test_what_cannot_be_written_is_said(locked: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_first(Path(folder))
        before = contents(path)
        Path(folder).chmod(0o555 if locked == "folder" else 0o777)
        path.chmod(0o444)
        with as_nobody(), pytest.raises(OmniError, match="writable") as error:
            open_catalogue(path)
        assert error.value.where == str(path) and error.value.exit_code == 1
        Path(folder).chmod(0o777)
        path.chmod(0o666)
        assert not list(Path(folder).glob("*.before-*"))
        check_migrated(path, before)


FULL = """
import resource, signal, sys
from pathlib import Path
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace.errors import OmniError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    open_catalogue(Path(sys.argv[1]))
except OmniError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_the_old_catalogue(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    before = contents(path)
    said = run(FULL, path).communicate(timeout=60)[1]
    assert "could not be migrated" in said and "room" in said
    assert contents(path) == before
    check_migrated(path, before)


def test_a_newer_catalogue_is_refused(tmp_path: Path) -> None:
    path = make_first(tmp_path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    content = path.read_bytes()
    with pytest.raises(Corrupt, match=r"made by a newer OmniSearch.* Update"):
        open_catalogue(path)
    assert path.read_bytes() == content and (tmp_path / "features").exists()


def test_a_newer_catalogue_may_differ_in_a_column_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    open_catalogue(path, create=True).conn.close()
    for sql, said in (
        (f"PRAGMA user_version={SCHEMA_VERSION + 1}", "is damaged"),
        ("ALTER TABLE pins ADD COLUMN colour_space TEXT", "made by a newer OmniSearch.* Update"),
    ):
        with closing(sqlite3.connect(path)) as db:
            db.execute(sql)
        with pytest.raises(Corrupt, match=said):
            open_catalogue(path)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = {
    "TEXT": texts,
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "REAL": st.floats(allow_nan=False),
}


@st.composite
def rows_of_all_tables(draw: st.DrawFn) -> dict[str, list[tuple]]:
    drawn = {}
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA_1)
        for table in TABLES:
            columns = db.execute(f"PRAGMA table_info({table})").fetchall()
            values = [
                VALUES[kind] if needed or key else st.none() | VALUES[kind]
                for _, _, kind, needed, _, key in columns
            ]
            drawn[table] = draw(st.lists(st.tuples(*values), max_size=3))
    return drawn


@settings(max_examples=15)
@given(rows_of_all_tables())
def test_any_rows_survive(drawn: dict[str, list[tuple]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(SCHEMA_1)
            for table, rows in drawn.items():
                for row in rows:
                    marks = ",".join("?" * len(row))
                    db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
            db.commit()
        before = contents(path)
        open_catalogue(path).conn.close()
        assert contents(path) == before
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_migrated_catalogue_is_as_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = make_first(tmp_path), tmp_path / "new" / "catalogue.db"
    described = []
    for path in (old, new):
        with closing(open_catalogue(path, create=True).conn) as connection:
            names = connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
            tables = sorted(name for kind, name, _ in names if kind == "table")
            columns = [
                connection.execute(f"PRAGMA table_info({name})").fetchall() for name in tables
            ]
            described.append((sorted(names), columns))
    assert described[0] == described[1]
