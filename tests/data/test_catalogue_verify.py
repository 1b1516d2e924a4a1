"""What `index verify` says of the catalogue and of other SQLite files."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.verify import catalogue_notes, check_catalogue, check_sqlite
from omnisearch.data.workspace.errors import Corrupt

FIRST = Path(__file__).parents[1] / "workspaces" / "first-edition" / "catalogue.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "catalogue.db"
    shutil.copy(FIRST, place)
    open_catalogue(place).conn.close()
    return place


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount


def test_a_catalogue_without_faults(path: Path) -> None:
    assert check_catalogue(path) == [] and catalogue_notes(path) == []


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE pins SET board_titles = '[1]'", "have board_titles that are no JSON"),
        ("UPDATE pins SET engaged_queries = '[\"a\"]'", "engaged_queries that are no JSON"),
        ("UPDATE products SET colours = '{'", "16 rows of products have colours"),
        ("UPDATE products SET materials = '{}'", "materials that are no JSON"),
        ("UPDATE products SET price = 9e999", "a price that is no number"),
        ("UPDATE products SET price = 'cheap'", "have no real as price"),
        ("UPDATE engagements SET action = 'stare'", "an unknown action"),
        ("UPDATE engagements SET count = 0 WHERE entity = 'pin'", "have no count"),
        ("UPDATE engagements SET entity = 'pins'", "an unknown entity type"),
        ("UPDATE queries SET id = 'Blue  Sofa' WHERE rowid = 3", "'Blue  Sofa'"),
        ("UPDATE queries SET split = 'dev'", "an unknown split"),
        ("UPDATE meta SET value = 'now'", "have value that are no JSON"),
        ("UPDATE pins SET title = x'00ff' WHERE rowid = 1", "1 rows of pins have no text as title"),
        ("UPDATE pins SET title = CAST(x'ff' AS TEXT) WHERE rowid = 1", "UTF-8"),
        ("ALTER TABLE products DROP COLUMN price", "The table products lacks price"),
        ("ALTER TABLE boards RENAME TO bards", "no table or trigger boards"),
    ],
)
def test_each_fault_is_a_sentence(path: Path, statement: str, says: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    try:
        (problem,) = check_catalogue(path)
    except Corrupt as error:
        problem = str(error)
    assert says in problem and str(path) in problem and "copy of" in problem


def test_rows_that_outlive_their_items_are_counted(path: Path) -> None:
    gone = "(SELECT item_id FROM engagements WHERE entity = 'pin' LIMIT 1)"
    change(path, f"DELETE FROM pins WHERE id = {gone}")
    assert check_catalogue(path) == []
    assert any("rows of engagements name items" in note for note in catalogue_notes(path))


def test_damage_that_sqlite_finds(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2 * 4096 : 3 * 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="damaged"):
        check_sqlite(path, "Delete it.")
    path.write_bytes(b"no database, but text of some length" * 99)
    with pytest.raises(Corrupt, match=r"Delete it\."):
        check_sqlite(path, "Delete it.")
