"""An import that fails on the way: what it leaves, and what it says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlite_utils
from importing import jsonl, table

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers import transaction
from omnisearch.data.importers.files import import_file
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.importers.formats import format_named
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, Unavailable


def _damaged_in_the_middle(path: Path) -> Path:
    """An array that is cut short after rows that are taken and one that is refused."""
    rows = ",\n".join(f'{{"id": "p{i}"}}' for i in range(3000))
    path.write_text(f'[{{"title": "no id"}},\n{rows},')
    return path


def test_a_first_import_that_fails_on_the_way_leaves_no_workspace(tmp_path):
    path = _damaged_in_the_middle(tmp_path / "pins.json")
    with pytest.raises(InputError, match="damaged or was cut short"):
        import_file(Workspace(tmp_path / "shops" / "mine"), path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_import_that_fails_leaves_what_was_there_before(workspace, tmp_path):
    path = _damaged_in_the_middle(tmp_path / "pins.json")
    workspace.root.mkdir(exist_ok=True)
    workspace.settings.write_text("# mine\n")
    with pytest.raises(InputError, match="damaged or was cut short"):
        import_file(workspace, path)
    assert list(workspace.root.iterdir()) == [workspace.settings]
    import_file(workspace, jsonl(tmp_path / "products.jsonl", {"id": "s1"}))
    with pytest.raises(InputError, match="damaged or was cut short"):
        import_file(workspace, path)
    assert len(table(workspace, "products")) == 1


def test_a_new_catalogue_that_another_process_has_opened_is_not_removed(workspace, tmp_path):
    path = _damaged_in_the_middle(tmp_path / "pins.json")
    other: list[sqlite3.Connection] = []

    def open_too(done: int, total: int) -> None:
        if not other:
            other.append(sqlite3.connect(workspace.catalogue))
            other[0].execute("SELECT * FROM pins").fetchall()

    with pytest.raises(InputError, match="damaged or was cut short"):
        import_file(workspace, path, progress=open_too)
    other[0].execute("INSERT INTO pins (id) VALUES ('of the other')")
    other[0].commit()
    assert [row[0] for row in table(workspace, "pins")] == ["of the other"]


def test_a_catalogue_that_is_removed_while_an_import_waits_for_it_is_told(
    workspace, tmp_path, monkeypatch
):
    """Its rows would go into a file that nobody finds."""
    path = jsonl(tmp_path / "pins.jsonl", {"id": "p1"})

    def opened_and_removed(file: Path, *, create: bool) -> sqlite_utils.Database:
        db = open_catalogue(file, create=create)
        file.unlink()
        return db

    monkeypatch.setattr(transaction, "open_catalogue", opened_and_removed)
    with pytest.raises(Unavailable, match=r"failed and removed it\. Import again\."):
        import_file(workspace, path)
    monkeypatch.undo()
    assert import_file(workspace, path).taken == 1


def test_a_damaged_file_says_that_nothing_of_it_was_imported(workspace, tmp_path):
    """Files before it were: `nothing was imported` would be wrong."""
    good = jsonl(tmp_path / "products.jsonl", {"id": "s1"})
    bad = _damaged_in_the_middle(tmp_path / "pins.json")
    with pytest.raises(InputError, match="again; nothing of it was imported") as error:
        pipeline.import_files(workspace.root, [good, bad])
    assert "nothing was imported" not in str(error.value).lower()
    assert len(table(workspace, "products")) == 1


def test_a_first_import_of_a_synthetic_folder_that_fails_leaves_no_workspace(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "meta.json").write_text('{"synthetic": true}')
    (folder / "truth.safetensors").write_bytes(b"the truth")
    _damaged_in_the_middle(folder / "pins.json")
    space = Workspace(tmp_path / "shops" / "mine")
    with pytest.raises(InputError, match="damaged or was cut short"):
        import_folder(space, folder)
    assert list(tmp_path.iterdir()) == [folder]
    jsonl(folder / "products.jsonl", {"id": "s1"})
    (folder / "pins.json").rename(folder / "queries.json")
    with pytest.raises(InputError, match="damaged or was cut short"):
        import_folder(space, folder)
    assert len(table(space, "products")) == 1  # imported before the fault


def test_a_first_import_of_a_data_set_that_fails_leaves_no_workspace(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "judgments.csv").write_text("search_term,product_uid,relevance\nangle,1,3\n")
    (folder / "products.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="ZIP archive"):
        format_named("home_depot").read(Workspace(tmp_path / "shops" / "mine"), folder)
    assert list(tmp_path.iterdir()) == [folder]
