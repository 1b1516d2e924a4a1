"""The catalogue as a data set: what comes back is what was there, and nothing half is ever read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch import pipeline
from omnisearch.data.catalogue.changes import changed_since
from omnisearch.data.catalogue.feedback import add_events, add_judgments, open_feedback
from omnisearch.data.catalogue.schema import (
    SCHEMA_VERSION,
    catalogue_columns,
    open_catalogue,
)
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.dataset.export import export_catalogue
from omnisearch.data.dataset.load import import_catalogue
from omnisearch.data.dataset.place import place_at
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.data.workspace.errors import Corrupt, InputError, OmniError, Unavailable

MAIN = "from omnisearch.cli.main import main; main()"


def content(path: Path) -> dict[str, Any]:
    """Every row of every table of a database, its schema and its version."""
    with closing(sqlite3.connect(path)) as db:
        made = sorted(db.execute("SELECT type, name, sql FROM sqlite_master").fetchall(), key=repr)
        tables = [name for kind, name, _ in made if kind == "table"]
        rows = {name: sorted(map(repr, db.execute(f"SELECT * FROM {name}"))) for name in tables}
        return {**rows, "schema": made, "version": db.execute("PRAGMA user_version").fetchone()}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def same(one: Workspace, other: Workspace) -> None:
    before, after = content(one.catalogue), content(other.catalogue)
    for table in before.keys() | after.keys():
        assert after[table] == before[table], table
    if one.item_vectors.exists():
        assert files(other.item_vectors) == files(one.item_vectors)


def round_trip(space: Workspace, folder: Path, buckets: int = 4) -> Workspace:
    export_catalogue(space, place_at(str(folder / "set")), buckets)
    import_catalogue(folder / "again", place_at(str(folder / "set")))
    return Workspace(folder / "again")


@pytest.fixture(scope="module")
def shop(tiny_workspace: Workspace, tmp_path_factory: Any) -> Workspace:
    """The tiny world, and whatever else a catalogue may hold."""
    space = Workspace(tmp_path_factory.mktemp("dataset") / "shop")
    shutil.copytree(tiny_workspace.root, space.root)
    db = open_catalogue(space.catalogue)
    ids = [key for (key,) in db.conn.execute("SELECT id FROM pins ORDER BY id DESC")]
    random = np.random.default_rng(5)
    made = random.integers(0, 256, (len(ids), 16), dtype=np.uint8)
    rows = random.standard_normal((len(ids), 7), dtype=np.float32)
    rows[0, 0] = -0.0
    write_vectors(space, db, "made_here", "pin", ids, rows, made=made, made_by="a model")
    with db.conn:
        # The events of few days, for few files.
        day = "(SELECT MAX(time) / 86400 FROM engagements)"
        db.conn.execute(f"DELETE FROM engagements WHERE time / 86400 < {day} - 9")
        db.conn.execute("DELETE FROM pins WHERE id = ?", [ids[0]])  # its events and boards stay
        db.conn.execute("UPDATE pins SET attributes = ? WHERE id = ?", ['{"x":["1","é"]}', ids[1]])
        db.conn.execute("INSERT INTO machine_captions VALUES ('pin', ?, 'a.jpg', 'x')", [ids[1]])
        db.conn.execute(
            "DELETE FROM engagements WHERE event IN (SELECT MAX(event) FROM engagements)"
        )
    db.conn.close()
    with closing(open_feedback(space.feedback, create=True)) as log:
        add_events(log, [("e1", b'{"query":"lamp"}'), ("e2", b"{}")], 1_900_000_000)
        add_judgments(log, [("k", b'{"grade":2}')], 1_900_000_001)
    return space


@pytest.fixture(scope="module")
def exported(shop: Workspace, tmp_path_factory: Any) -> Path:
    """The shop as a data set. Read only."""
    folder = tmp_path_factory.mktemp("exported") / "set"
    export_catalogue(shop, place_at(str(folder)), 4)
    return folder


def test_an_imported_catalogue_is_the_one_that_was_exported(
    shop: Workspace, exported: Path, tmp_path: Path
) -> None:
    again = Workspace(tmp_path / "again")
    import_catalogue(again.root, place_at(str(exported)))
    same(shop, again)
    assert content(again.feedback) == content(shop.feedback)
    with closing(sqlite3.connect(again.catalogue)) as db:
        counts = [db.execute(f"SELECT COUNT(*) FROM {t}").fetchone() for t in catalogue_columns()]
    assert all(count for (count,) in counts)  # no table was compared empty
    export_catalogue(again, place_at(str(tmp_path / "set")), 4)
    assert files(tmp_path / "set") == files(exported)


def test_both_catalogues_go_on_alike(shop: Workspace, exported: Path, tmp_path: Path) -> None:
    """The change log, the times of first engagements and the note of the feedback live on."""
    one, other = Workspace(tmp_path / "one"), Workspace(tmp_path / "other")
    shutil.copytree(shop.root, one.root)
    import_catalogue(other.root, place_at(str(exported)))
    (tmp_path / "pins-new.jsonl").write_text('{"id": "new", "title": "a lamp"}\n')
    (tmp_path / "engagements.jsonl").write_text(
        '{"time": 1000000, "query": "lamp", "entity": "pin", "item_id": "new", "action": "save"}\n'
    )
    for space in (one, other):
        for name in ("pins-new.jsonl", "engagements.jsonl"):
            pipeline.import_files(space, [tmp_path / name])
        pipeline.enrich(space, "boards", "queries")
    found = [content(space.catalogue) for space in (one, other)]
    for each, space in zip(found, (one, other), strict=True):
        del each["imports"]  # when
        each["changes"] = changed_since(open_catalogue(space.catalogue), 0)
    assert found[0] == found[1]


def test_items_are_in_the_bucket_of_their_id_and_events_in_their_day(
    shop: Workspace, exported: Path
) -> None:
    with closing(sqlite3.connect(shop.catalogue)) as db:
        pins = {key for (key,) in db.execute("SELECT id FROM pins")}
        days = dict(
            db.execute("SELECT date(time, 'unixepoch'), COUNT(*) FROM engagements GROUP BY 1")
        )
    seen = set()
    for path in exported.glob("entity=pin/bucket=*/*.parquet"):
        bucket = int(path.parent.name.removeprefix("bucket="))
        read = pq.ParquetFile(path).read().to_pydict()
        for key in read.get("id") or read["item_id"]:
            hashed = hashlib.blake2b(key.encode(), digest_size=8).digest()
            assert int.from_bytes(hashed, "big") % 4 == bucket, path
        seen |= set(read["id"]) if path.name == "pins.parquet" else set()
    assert seen == pins
    for path in exported.glob("day=*/engagements.parquet"):
        times = pq.ParquetFile(path).read().column("time").to_numpy()
        day = path.parent.name.removeprefix("day=")
        assert {str(np.datetime64(int(each), "s"))[:10] for each in times} == {day}
        assert days.pop(day) == len(times)
    assert not days


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WHOLE = st.integers(-(2**53), 2**53)
TIMES = st.integers(-(10**10), 10**11)
OTHER = {
    "id": TEXTS,
    "query": TEXTS,
    "entity": st.sampled_from(["pin", "product"]),
    "action": st.sampled_from(["save", "impression"]),
    "availability": st.sampled_from([None, "in_stock", "preorder"]),
    "split": st.sampled_from([None, "train", "test"]),
    "count": st.integers(1, 2**53),
    "event": st.integers(-(2**63), 2**63 - 1),
    "time": TIMES,
    "number": st.integers(1, 2**53),
    "attributes": st.none() | st.dictionaries(TEXTS, TEXTS).map(json.dumps),
    "value": st.lists(TEXTS).map(json.dumps),
    "engaged_queries": st.none() | st.just('[["lamp", 2.5, 7]]'),
    **dict.fromkeys(
        ("board_titles", "colours", "materials", "patterns", "product_types", "more_images"),
        st.none() | st.lists(TEXTS).map(json.dumps),
    ),
}
KINDS = {
    "TEXT": st.none() | TEXTS,
    "INTEGER": st.none() | WHOLE,
    "REAL": st.none() | st.floats(allow_nan=False, allow_infinity=False),
}
NEEDED = {"board_id": TEXTS, "item_id": TEXTS, "judge": TEXTS, "key": TEXTS, "name": TEXTS}
NEEDED["grade"] = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def catalogues(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for table, columns in catalogue_columns().items():
        if table in ("item_vectors", "changes", "engaged"):
            continue
        row = {name: (OTHER | NEEDED).get(name, KINDS[kind]) for name, kind in columns.items()}
        if table == "queries":
            row["id"] = st.sampled_from(["lamp", "blue dress", "日本", "sofa"])
        if table == "imports":
            row["id"] = WHOLE
        found[table] = draw(st.lists(st.fixed_dictionaries(row), max_size=5))
    return found


@settings(max_examples=25)
@given(tables=catalogues(), buckets=st.integers(1, 5))
def test_whatever_the_tables_hold_comes_back(
    tables: dict[str, list[dict[str, Any]]], buckets: int, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("any")
    space = Workspace.create(folder / "shop")
    db = open_catalogue(space.catalogue, create=True)
    with db.conn:
        for table, rows in tables.items():
            for row in rows:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
                db.conn.execute(sql, list(row.values()))
    db.conn.close()
    same(space, round_trip(space, folder, buckets))
    shutil.rmtree(folder)


def test_an_empty_catalogue_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    open_catalogue(workspace.catalogue, create=True).conn.close()
    same(workspace, round_trip(workspace, tmp_path))


def test_a_url_is_a_place_like_a_folder(shop: Workspace, exported: Path, tmp_path: Path) -> None:
    export_catalogue(shop, place_at("memory://bucket/shop"), 4)
    store = fsspec.filesystem("memory")
    there = {
        name.removeprefix("/bucket/shop/"): store.cat_file(name)
        for name in store.find("/bucket/shop")
    }
    assert there == files(exported)
    import_catalogue(tmp_path / "again", place_at("memory://bucket/shop"))
    same(shop, Workspace(tmp_path / "again"))
    with pytest.raises(InputError, match="something at this place already"):
        export_catalogue(shop, place_at("memory://bucket/shop"), 4)


def test_what_comes_into_the_catalogue_meanwhile_is_not_in_it(
    shop: Workspace, exported: Path, tmp_path: Path
) -> None:
    space = Workspace(tmp_path / "shop")
    shutil.copytree(shop.root, space.root)
    (tmp_path / "boards.jsonl").write_text('{"id": "new", "title": "late"}\n')
    asked = []

    def progress(done: int, total: int) -> None:
        if not asked:  # pins are written, boards and board_items are not
            pipeline.import_files(space, [tmp_path / "boards.jsonl"])
        asked.append((done, total))

    export_catalogue(space, place_at(str(tmp_path / "set")), 4, progress)
    assert files(tmp_path / "set") == files(exported)
    assert asked[-1][0] == asked[-1][1] and len(asked) > 50


def refused(folder: Path, tmp_path: Path, kind: type[OmniError], match: str) -> None:
    """The import ends with this error, and leaves nothing behind."""
    with pytest.raises(kind, match=match) as caught:
        import_catalogue(tmp_path / "new", place_at(str(folder)))
    assert caught.value.where and caught.value.how
    assert str(tmp_path / ".new") not in str(caught.value)
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


DAMAGED = (
    "manifest.json",
    "meta.parquet",
    "entity=pin/bucket=002/pins.parquet",
    "entity=pin/bucket=001/vectors-made_here.parquet",
    "feedback_events.parquet",
)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_and_nothing_is_imported(
    exported: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(exported, tmp_path / "set")
    path = tmp_path / "set" / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    refused(tmp_path / "set", tmp_path, Corrupt, name)
    path.write_bytes(whole[:middle])
    refused(tmp_path / "set", tmp_path, Corrupt, name)
    path.unlink()
    says = "manifest is missing" if name == "manifest.json" else f"{name} is missing"
    refused(tmp_path / "set", tmp_path, OmniError, says)
    path.write_bytes(whole)
    shutil.copy(path, path.with_name("more.parquet"))
    refused(tmp_path / "set", tmp_path, Corrupt, "more.parquet is not in the manifest")
    path.with_name("more.parquet").unlink()
    import_catalogue(tmp_path / "new", place_at(str(tmp_path / "set")))


def rewritten(folder: Path, **changes: Any) -> None:
    """Change the manifest, with the hashes of the files as they are now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    if "files" not in changes:
        manifest["files"] = {
            name: {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()}
            for name, held in files(folder).items()
            if name != "manifest.json"
        }
    path.write_bytes(sealed(manifest))


def test_a_data_set_of_an_earlier_schema_is_read(
    shop: Workspace, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(exported, folder)
    for path in [*folder.rglob("pins.parquet"), *folder.rglob("products.parquet")]:
        pq.write_table(pq.read_table(path).drop_columns(["more_images"]), path)
    rewritten(folder, schema=7)
    import_catalogue(tmp_path / "again", place_at(str(folder)))
    same(shop, Workspace(tmp_path / "again"))
    for path in folder.rglob("pins.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["title"]), path)
    rewritten(folder, schema=7)
    refused(folder, tmp_path, Corrupt, "it has the columns")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": SCHEMA_VERSION + 1}, f"schema {SCHEMA_VERSION + 1}.*Update OmniSearch"),
        ({"format": 2}, "format 2.*Update OmniSearch"),
        ({"schema": 6}, "schema 6.*with the OmniSearch that made it"),
        ({"schema": "8"}, "schema 8"),
        ({"holds": "weather"}, "no catalogue that OmniSearch exported"),
        ({"files": {"../../etc/passwd": {"bytes": 1, "sha256": "0"}}}, "no file of a catalogue"),
        ({"files": {"secrets.parquet": {"bytes": 1, "sha256": "0"}}}, "no file of a catalogue"),
    ],
)
def test_a_foreign_or_newer_data_set_is_refused_in_a_sentence(
    exported: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    shutil.copytree(exported, tmp_path / "set")
    rewritten(tmp_path / "set", **changes)
    refused(tmp_path / "set", tmp_path, InputError, says)


def altered(path: Path, column: str, values: list[Any]) -> None:
    table = pq.ParquetFile(path).read()
    at = table.schema.get_field_index(column)
    field = table.schema.field(at)
    pq.write_table(table.set_column(at, field, pa.array(values, field.type)), path)


def test_files_with_right_hashes_and_wrong_rows_are_refused(exported: Path, tmp_path: Path) -> None:
    cases = {
        "pins.parquet": ("id", "twice"),
        "engagements.parquet": ("action", "unknown action"),
        "judgments.parquet": ("entity", "unknown entity type"),
        "item_vectors.parquet": ("name", "cannot be vectors"),
        "vectors-made_here.parquet": ("row", "outside|once"),
        "meta.parquet": ("value", "no JSON"),
    }
    for name, (column, says) in cases.items():
        folder = tmp_path / name
        shutil.copytree(exported, folder / "set")
        path = next(iter(sorted((folder / "set").rglob(name))))
        rows = pq.ParquetFile(path).metadata.num_rows
        altered(path, column, [0 if column == "row" else "../x"] * rows)
        rewritten(folder / "set")
        refused(folder / "set", folder, Corrupt, says)
    folder = tmp_path / "columns"
    shutil.copytree(exported, folder / "set")
    pq.write_table(pa.table({"x": [1]}), folder / "set" / "meta.parquet")
    rewritten(folder / "set")
    refused(folder / "set", folder, Corrupt, "columns")
    folder = tmp_path / "fewer"
    shutil.copytree(exported, folder / "set")
    next((folder / "set").rglob("judgments.parquet")).unlink()
    rewritten(folder / "set")
    refused(folder / "set", folder, Corrupt, "rows of judgments")
    folder = tmp_path / "unknown"
    shutil.copytree(exported, folder / "set")
    vectors = next((folder / "set").rglob("vectors-made_here.parquet"))
    shutil.copy(vectors, vectors.with_name("vectors-other.parquet"))
    rewritten(folder / "set")
    refused(folder / "set", folder, Corrupt, "vectors-other.parquet belongs to nothing")


def test_a_damaged_catalogue_is_not_exported(shop: Workspace, tmp_path: Path) -> None:
    space = Workspace(tmp_path / "shop")
    shutil.copytree(shop.root, space.root)
    with closing(sqlite3.connect(space.catalogue)) as db, db:
        db.execute(
            "UPDATE pins SET availability = 'perhaps' WHERE id IN (SELECT MIN(id) FROM pins)"
        )
    with pytest.raises(Corrupt, match="unknown availability"):
        export_catalogue(space, place_at(str(tmp_path / "set")))
    assert not (tmp_path / "set").exists()


def test_places_that_cannot_be_used(shop: Workspace, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(InputError, match="something at this place"):
        export_catalogue(shop, place_at(str(tmp_path / "full")))
    with pytest.raises(InputError, match="cannot lie in its workspace"):
        export_catalogue(shop, place_at(str(shop.root / "set")))
    with pytest.raises(InputError, match="workspace is not empty"):
        import_catalogue(tmp_path / "full", place_at(str(exported)))
    with pytest.raises(InputError, match="nothing at this place"):
        import_catalogue(tmp_path / "new", place_at(str(tmp_path / "none")))
    with pytest.raises(InputError, match="nope"):
        place_at("nope://bucket/shop")
    with pytest.raises(Unavailable, match="cannot be read or written"):
        export_catalogue(shop, place_at("dir::file:///proc/no/such/folder"))
    assert files(tmp_path / "full") == {"file": b"mine"}


def killed_at(words: list[str], folder: Path, names: int) -> bool:
    """Run a command and kill it when there are so many files under a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        if sum(len(found) for _, _, found in os.walk(folder)) >= names:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 20, 60])
def test_a_killed_export_is_never_taken_for_whole(
    shop: Workspace, exported: Path, tmp_path: Path, moment: int
) -> None:
    folder, url = tmp_path / "set", f"dir::file://{tmp_path}/url/set"
    command = ["catalogue", "export", str(folder), "-w", str(shop.root), "--buckets", "4"]
    assert killed_at(command, tmp_path, moment) and not folder.exists()
    export_catalogue(shop, place_at(str(folder)), 4)  # removes what is left, too
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert files(folder) == files(exported)
    # A file system that cannot rename folders.
    command[2] = url
    (tmp_path / "url").mkdir()
    assert killed_at(command, tmp_path / "url", moment)
    with pytest.raises(InputError, match="manifest is missing"):
        import_catalogue(tmp_path / "new", place_at(url))
    with pytest.raises(InputError, match="export that was stopped"):
        export_catalogue(shop, place_at(url), 4)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [2, 4, 7])
def test_a_killed_import_leaves_nothing(
    shop: Workspace, exported: Path, tmp_path: Path, moment: int
) -> None:
    root = tmp_path / "new"
    command = ["catalogue", "import", str(exported), "-w", str(root)]
    assert killed_at(command, tmp_path, moment) and not root.exists()
    import_catalogue(root, place_at(str(exported)))
    same(shop, Workspace(root))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
