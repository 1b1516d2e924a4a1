"""`omnisearch catalogue enrich`: what the SQLite path gives, whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from omnisearch import pipeline
from omnisearch.cli.main import app
from omnisearch.data.catalogue import log_span
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import DAY, time_split
from omnisearch.data.dataset.export import export_catalogue
from omnisearch.data.dataset.load import import_catalogue
from omnisearch.data.dataset.manifest import read_manifest
from omnisearch.data.dataset.place import place_at
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import entry_of, sealed
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.enrichment.dataset import log as dataset_log
from omnisearch.enrichment.dataset import spill
from omnisearch.enrichment.dataset.columns import enrich_dataset

BUCKETS = 4


def exported(space: Workspace, folder: Path, buckets: int = BUCKETS) -> Path:
    export_catalogue(space, place_at(str(folder)), buckets)
    return folder


def enrich(folder: Path) -> dict[str, dict[str, Any]]:
    return enrich_dataset(place_at(str(folder)))


def files(folder: Path) -> dict[str, bytes]:
    """The content of each file; changes and the manifest, which counts them, aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("changes.parquet", "manifest.json")
    }


def content(space: Workspace) -> dict[str, list[str]]:
    """Every row of every table but that of the changes."""
    with closing(sqlite3.connect(space.catalogue)) as db:
        names = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {
            name: sorted(map(repr, db.execute(f"SELECT * FROM {name}")))
            for name in names
            if name not in ("changes", "sqlite_sequence")
        }


@pytest.fixture(scope="module")
def shop(tiny_workspace: Workspace, tmp_path_factory: Any) -> Workspace:
    """The tiny world with the log of forty days, and with the enrichment of another log."""
    space = Workspace(tmp_path_factory.mktemp("shop") / "shop")
    shutil.copytree(tiny_workspace.root, space.root)
    pipeline.enrich(space, "boards", "queries")
    with closing(open_catalogue(space.catalogue).conn) as db, db:
        last = "(SELECT MAX(time) FROM engagements)"
        db.execute(f"DELETE FROM engagements WHERE time < {last} - 40 * {DAY}")
        db.execute("DELETE FROM pins WHERE id IN (SELECT item_id FROM engagements LIMIT 1)")
        db.execute("UPDATE products SET board_titles = '[\"of nobody\"]'")
        db.execute(
            "UPDATE queries SET split = 'test' WHERE id IN (SELECT query FROM engagements LIMIT 9)"
        )
    return space


@pytest.fixture(scope="module")
def dataset(shop: Workspace, tmp_path_factory: Any) -> Path:
    """The shop as a data set, not enriched. Read only."""
    return exported(shop, tmp_path_factory.mktemp("dataset") / "set")


@pytest.fixture(scope="module")
def wanted(shop: Workspace, tmp_path_factory: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What the SQLite path makes of it: the files, and the counts."""
    space = Workspace(tmp_path_factory.mktemp("enriched") / "shop")
    shutil.copytree(shop.root, space.root)
    counts = pipeline.enrich(space, "boards", "queries")
    return files(exported(space, space.root.with_name("set"))), counts


def test_the_files_are_those_of_the_catalogue_that_was_enriched(
    dataset: Path, wanted: tuple[dict[str, bytes], dict[str, Any]], tmp_path: Path
) -> None:
    expected, counts = wanted
    shutil.copytree(dataset, tmp_path / "set")
    assert files(tmp_path / "set") != expected
    assert enrich(tmp_path / "set") == counts
    assert all(each["items_changed"] >= 100 for each in counts.values())
    assert files(tmp_path / "set") == expected
    import_catalogue(tmp_path / "again", place_at(str(tmp_path / "set")))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    again = enrich(tmp_path / "set")
    assert all(each["items_changed"] == 0 for each in again.values())
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")} == before


def test_a_url_is_a_place_like_a_folder(
    shop: Workspace, wanted: tuple[dict[str, bytes], dict[str, Any]]
) -> None:
    place = place_at("memory://bucket/enriched")
    export_catalogue(shop, place, BUCKETS)
    told: list[tuple[int, int]] = []
    enrich_dataset(place, lambda *counts: told.append(counts))
    assert told[-1][0] == told[-1][1] == len(told)
    store = fsspec.filesystem("memory")
    held = {name: store.cat_file(f"/bucket/enriched/{name}") for name in place.names()}
    assert {name: held[name] for name in wanted[0]} == wanted[0]
    for name, entry in read_manifest(place).files.items():
        assert entry_of(held[name]) == entry


ITEMS = st.sampled_from([("pin", f"p{n}") for n in range(4)] + [("product", "p0"), ("pin", "gone")])
TITLES = st.sampled_from(
    ["Oak table", "oak  TABLE", "stuff", "my stuff", "lamp", "", "♥", "Küche", "a b c"]
)
QUERIES = st.sampled_from([f"q{n}" for n in range(25)] + ["", "é", "日本"])
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60 * DAY) | st.integers(0, 3) | st.integers(900 * DAY, 1000 * DAY),
        QUERIES,
        ITEMS | st.sampled_from([("query", "q1"), ("query", "q2")]),
        st.sampled_from(["save", "click", "checkout", "impression"]),
        st.integers(1, 2**40),
    ),
    max_size=90,
)
SAVES = st.lists(
    st.tuples(st.integers(0, 12), ITEMS, st.none() | st.integers(0, 60 * DAY)), max_size=60
)


def catalogue(folder: Path, events: Any, saves: Any, titles: Any, held_out: Any) -> Workspace:
    """Of four pins and a product; board 12 is on none of the boards that there are."""
    space = Workspace.create(folder)
    with closing(open_catalogue(space.catalogue, create=True).conn) as db, db:
        db.executemany("INSERT INTO pins (id) VALUES (?)", [(f"p{n}",) for n in range(4)])
        db.execute("INSERT INTO products (id, engaged_queries) VALUES ('p0', '[[\"old\", 1, 1]]')")
        db.executemany(
            "INSERT INTO boards (id, title) VALUES (?, ?)",
            [(f"b{n}", title) for n, title in enumerate(titles)],
        )
        db.executemany(
            "INSERT OR IGNORE INTO board_items VALUES (?, ?, ?, ?)",
            [(f"b{board}", *item, when) for board, item, when in saves],
        )
        db.executemany(
            "INSERT INTO engagements (event, time, query, entity, item_id, action, count) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (n * 2**33 - 2**34 + n, when, normalise_query(query), *item, action, count)
                for n, (when, query, item, action, count) in enumerate(events)
            ],
        )
        db.executemany("INSERT INTO queries (id, split) VALUES (?, ?)", sorted(held_out.items()))
    return space


@contextmanager
def small(fewest: int) -> Iterator[None]:
    """Spans and chunks of few events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_span, "FEWEST", fewest)
        patch.setattr(dataset_log, "FEWEST", fewest)
        patch.setattr(log_span, "_STRAY", 3)
        patch.setattr(spill, "_BYTES", 300)
        patch.setattr(spill, "_ORDERED", 3)
        yield


@settings(max_examples=30, deadline=None)
@given(
    events=EVENTS,
    saves=SAVES,
    titles=st.lists(st.none() | TITLES, min_size=12, max_size=12),
    held_out=st.dictionaries(
        st.sampled_from(["q1", "q2", "日本"]), st.sampled_from([None, "train", "valid", "test"])
    ),
    buckets=st.integers(1, 3),
    fewest=st.sampled_from([1, 4, 50]),
)
def test_whatever_the_log_and_the_boards_are_it_is_what_sqlite_gives(
    events: Any,
    saves: Any,
    titles: Any,
    held_out: Any,
    buckets: int,
    fewest: int,
    tmp_path_factory: Any,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    space = catalogue(folder / "shop", events, saves, titles, held_out)
    with small(fewest):
        exported(space, folder / "set", buckets)
        counts = enrich(folder / "set")
        expected = pipeline.enrich(space, "boards", "queries")
    import_catalogue(folder / "again", place_at(str(folder / "set")))
    assert content(Workspace(folder / "again")) == content(space)
    for name in ("boards", "queries"):
        got = counts.get(name, {"items_changed": 0})
        assert got["items_changed"] == expected[name]["items_changed"]
    assert ("queries" in counts) == bool(events) and ("boards" in counts) == bool(saves)
    shutil.rmtree(folder)


def test_the_span_of_the_log_is_that_of_the_catalogue(tmp_path: Path) -> None:
    """With days to measure, and strays behind them: what hypothesis rarely draws."""
    events = [(n * DAY // 2, f"q{n}", ("pin", f"p{n % 4}"), "save", 1) for n in range(200)]
    events += [(400 * DAY, "late", ("pin", "p0"), "save", 1)]
    events += [(99 * DAY, "gone", ("pin", "gone"), "save", 1)] * 9
    saves = [(n, ("pin", f"p{n % 4}"), n * 10 * DAY) for n in range(12)]
    space = catalogue(tmp_path / "shop", events, saves, ["oak"] * 12, {})
    with small(10):
        db = open_catalogue(space.catalogue)
        split = time_split(db)
        db.conn.close()
        assert split.evaluates and split.eval_until < 100 * DAY
        exported(space, tmp_path / "set")
        counts = enrich(tmp_path / "set")
        assert counts == pipeline.enrich(space, "boards", "queries")
    assert counts["queries"]["engaged_until"] == split.train_until
    import_catalogue(tmp_path / "again", place_at(str(tmp_path / "set")))
    assert content(Workspace(tmp_path / "again")) == content(space)


_KILLED = """
import sys, time
from omnisearch.data.dataset.place import Place, place_at
from omnisearch.enrichment.dataset.columns import enrich_dataset

method, wanted, number = sys.argv[2], sys.argv[3], int(sys.argv[4])
plain = getattr(Place, method)
seen = []

def stop(place, name, *more):
    plain(place, name, *more)
    seen.extend([name] if wanted in name else [])
    if len(seen) == number:
        print("here", flush=True)
        time.sleep(60)

setattr(Place, method, stop)
enrich_dataset(place_at(sys.argv[1]))
"""


def killed(folder: Path, method: str, name: str, number: int) -> None:
    """Enrich in a process that is killed after so many calls about such files."""
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(folder), method, name, str(number)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == b"here\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()


def test_a_kill_before_all_is_written_changes_nothing_and_the_next_run_goes_on(
    dataset: Path, wanted: tuple[dict[str, bytes], dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    killed(folder, "write", ".new-", 3)
    (folder / "entity=pin/bucket=001/.pins.parquet.0123abcd.tmp").write_bytes(b"half of a file")
    left = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.new-*")}
    assert len(left) == 3
    held = files(folder)
    assert all(held[name] == whole for name, whole in files(dataset).items())
    import_catalogue(tmp_path / "old", place_at(str(folder)))
    assert enrich(folder) == wanted[1]
    assert files(folder) == wanted[0]
    moved = {path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert set(left.values()) <= moved  # not written again


def test_what_a_run_left_that_read_something_else_is_not_used(
    dataset: Path, wanted: tuple[dict[str, bytes], dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    killed(folder, "write", ".new-", 3)
    for path in folder.rglob("*.new-*"):
        path.rename(path.with_name(path.name[:-16] + "0" * 16))
    assert enrich(folder) == wanted[1]
    assert files(folder) == wanted[0]


@pytest.mark.parametrize(
    ("method", "name", "number"), [("write", "next-manifest", 1), ("move", ".new-", 4)]
)
def test_a_kill_while_files_are_replaced_is_told_and_finished(
    dataset: Path,
    wanted: tuple[dict[str, bytes], dict[str, Any]],
    tmp_path: Path,
    method: str,
    name: str,
    number: int,
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    killed(folder, method, name, number)
    with pytest.raises(InputError, match=r"being replaced.*run it again"):
        import_catalogue(tmp_path / "new", place_at(str(folder)))
    enrich(folder)
    assert files(folder) == wanted[0]
    import_catalogue(tmp_path / "new", place_at(str(folder)))


def test_a_damaged_data_set_stays_as_it_is(dataset: Path, tmp_path: Path) -> None:
    day = sorted(path.parent.name for path in dataset.glob("day=*/engagements.parquet"))[3]
    names = (f"{day}/engagements.parquet", "entity=board/bucket=002/boards.parquet")
    for number, name in enumerate((*names, "entity=product/bucket=003/products.parquet")):
        folder = tmp_path / str(number)
        shutil.copytree(dataset, folder)
        path = folder / name
        path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
        before = files(folder)
        with pytest.raises(Corrupt, match=f"{name}.*sha256"):
            enrich(folder)
        held = files(folder)
        assert all(held[each] == before[each] for each in before)
        assert all(".new-" in each for each in held.keys() - before.keys())
    with pytest.raises(InputError, match="nothing at this place"):
        enrich(tmp_path / "none")


def test_events_out_of_order_are_refused(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    path = sorted(folder.glob("day=*/engagements.parquet"))[5]
    rows = pq.ParquetFile(path).read()
    pq.write_table(rows.take(pa.array(range(len(rows))[::-1])), path)
    name = path.relative_to(folder).as_posix()
    said = json.loads((folder / "manifest.json").read_text())
    said["files"][name] = entry_of(path.read_bytes())
    (folder / "manifest.json").write_bytes(sealed(said))
    with pytest.raises(Corrupt, match=f"{name}.*order of time"):
        enrich(folder)


def test_the_command_says_what_changed(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    run = CliRunner().invoke(app, ["catalogue", "enrich", str(folder)])
    assert run.exit_code == 0, run.output
    assert "enrich boards: items changed" in run.output
    assert "enrich queries: items changed" in run.output
    run = CliRunner().invoke(app, ["catalogue", "enrich", str(folder), "--json"])
    data = json.loads(run.stdout)["data"]
    assert data["boards"] == {"items_changed": 0} and data["queries"]["items_changed"] == 0
    exported(catalogue(tmp_path / "bare", [], [], [], {}), tmp_path / "nothing")
    run = CliRunner().invoke(app, ["catalogue", "enrich", str(tmp_path / "nothing")])
    assert "nothing to enrich from" in run.output
