"""Workspaces of earlier versions: the catalogue is migrated, what is too old is named."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from omnisearch.data.catalogue.schema import SCHEMA_VERSION, open_catalogue
from omnisearch.data.catalogue.vectors import open_all_vectors
from omnisearch.data.importers.folders import import_folder
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.engine.config import engine_config
from omnisearch.engine.search import SearchEngine
from omnisearch.pipeline.recipe import build_index
from omnisearch.pipeline.status import workspace_status

HERE = Path(__file__).parent / "workspaces"


def copy_of(name: str, folder: Path) -> Workspace:
    """A copy of an earlier workspace, in which tests may write."""
    shutil.copytree(HERE / name, folder / name)
    return Workspace(folder / name)


@pytest.fixture
def first(tmp_path: Path) -> Workspace:
    return copy_of("first-edition", tmp_path)


def rows_of(workspace: Workspace) -> dict[str, list]:
    """Table → its rows."""
    with closing(sqlite3.connect(workspace.catalogue)) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in tables
        }


def test_the_catalogue_is_migrated_in_place(first: Workspace) -> None:
    before = rows_of(first)
    old = {path.name: path.read_bytes() for path in (first.root / "features").iterdir()}
    db = open_catalogue(first.catalogue)
    after = rows_of(first)
    assert [row[:6] for row in after.pop("item_vectors")] == before.pop("features")
    assert after.pop("machine_captions") == after.pop("changes") == []
    assert after.pop("log_changes") == [(0,)]
    first_seen: dict[str, int] = {}
    for _, time, query, _, _, action, *_ in after["engagements"]:
        if action != "impression":
            first_seen[query] = min(time, first_seen.get(query, time))
    assert after.pop("engaged") == sorted(first_seen.items(), key=repr)
    # Codes, and of all items availability, attributes and further pictures.
    for name, added in (("products", 6), ("pins", 3)):
        assert all(row[-added:] == (None,) * added for row in after[name])
        after[name] = [row[:-added] for row in after[name]]
    assert after == before and len(after["engagements"]) == 581
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert {path.name: path.read_bytes() for path in first.item_vectors.iterdir()} == old
    assert not (first.root / "features").exists()
    assert not list(first.root.glob("*.before-*"))

    for name, entity in (("pinsage", "pin"), ("itemsage", "product")):
        [found] = open_all_vectors(first, db, entity).values()
        imported = np.load(HERE / "shop" / f"features-{name}-{entity}.npy", allow_pickle=False)
        assert found.name == name and np.array_equal(found.vectors, imported)
    db.conn.close()


def test_what_was_imported_need_not_be_imported_again(first: Workspace) -> None:
    assert workspace_status(first)["item_vectors"] == {
        "itemsage of product": [15, 16],
        "pinsage of pin": [34, 16],
    }
    assert workspace_status(first)["next"] is None
    before = rows_of(first)
    reports = import_folder(first, HERE / "shop")
    # One pin, whose date is none, was refused then; it is taken without the date now.
    assert [report.changed for report in reports] == [1] + [0] * 8
    after = rows_of(first)
    assert after["pins"].pop()[0] == after["changes"].pop()[2] == "pin-37"
    assert len(after.pop("imports")) == len(before.pop("imports")) + 9
    assert after == before


def test_the_engine_answers_as_the_first_edition_did(first: Workspace) -> None:
    with pytest.raises(Corrupt, match=r"format 4.*`omnisearch index build`"):
        SearchEngine.open(first)
    build_index(first)
    with pytest.raises(NotReady, match=r"log_impression.*`omnisearch rank train`"):
        SearchEngine.open(first)  # what they learned from counts is not asked for any more
    shutil.rmtree(first.exports)  # int8 scores would differ; what was recorded is PyTorch's
    engine = SearchEngine.open(first, with_rankers=False)
    assert load_encoder(first).checkpoint == engine.snapshot.encoder.checkpoint
    assert engine.config.relevance_weight == 0.3
    recorded = json.loads((HERE / "first-edition.json").read_text("utf-8"))
    for system in recorded.keys() - {"l1", "full"}:
        for query, results in recorded[system].items():
            found = engine.rank(query, system, 5)
            items = [(entity, key) for entity, key, _ in results]
            if system in ("token", "rrf"):  # BM25 reads codes, stems and engaged queries otherwise
                assert len({row[:2] for row in found} & set(items)) >= 3
                continue
            assert [row[:2] for row in found] == items
            scores = [score for *_, score in results]
            assert [score for *_, score in found] == pytest.approx(scores, abs=2e-3)
    engine.close()


def test_a_depth_outside_its_table_is_refused(first: Workspace) -> None:
    first.settings.write_text("[engine]\ntoken_pins = 100\n")
    with pytest.raises(InputError, match=r"'token_pins'.*\[engine\.depths\]") as error:
        SearchEngine.open(first)
    assert str(first.settings) in error.value.where
    first.settings.write_text("[engine.depths]\ntoken_pins = 100\n")
    assert engine_config(first).depths["token_pins"] == 100


def test_rankers_of_other_features_are_refused(first: Workspace) -> None:
    build_index(first)
    pointer = first.rankers / "CURRENT"
    folder = first.rankers / pointer.read_text().strip()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["features"] = manifest["features"][:-1]
    content = json.dumps(manifest).encode()
    name = hashlib.sha256(content).hexdigest()[:16]
    (folder / "manifest.json").write_bytes(content)
    folder.rename(first.rankers / name)
    pointer.write_text(name)
    with pytest.raises(NotReady, match="omnisearch rank train"):
        SearchEngine.open(first)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_index_of_an_older_format_is_refused(number: int, tmp_path: Path) -> None:
    workspace = copy_of(f"index-format-{number}", tmp_path)
    with pytest.raises(Corrupt, match=rf"format {number}.*`omnisearch index build`"):
        SearchEngine.open(workspace)
    status = workspace_status(workspace)  # the catalogue is of use
    assert status["catalogue"]["pins"] == 6
    assert status["item_vectors"] == {"itemsage of product": [3, 16], "pinsage of pin": [6, 16]}
