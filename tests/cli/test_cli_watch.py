"""`omnisearch watch`: real files, put into a folder that a real process watches."""

from __future__ import annotations

import json
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import sqlite_utils
from commandline import MAIN, omnisearch

from omnisearch import SearchEngine, pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from tests.data.importers.shop_feeds import (
    ga4,
    google_table,
    google_xml,
    shop,
    shopify,
    woocommerce,
)

SECONDS = 90.0  # a busy machine is slow


class Watching:
    """A running `omnisearch watch`, and the lines that it has printed."""

    def __init__(self, folder: Path, workspace: Path, *options: str) -> None:
        command = [sys.executable, "-c", MAIN, "watch", folder, "-w", workspace, *options]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._open: list[str] = []  # those not waited for
        self._new: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("Watching")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line)

    def wait_for(self, *words: str) -> str:
        """A line that has all of the words, and was not waited for before."""
        until = time.monotonic() + SECONDS
        while not (found := [line for line in self._open if all(word in line for word in words)]):
            try:
                self._open.append(self._new.get(timeout=max(0.01, until - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {words} in {self.lines}") from None
            self.lines.append(self._open[-1])
        self._open.remove(found[0])
        return found[0]

    def end(self, number: int = signal.SIGTERM) -> str:
        """End it; returns all it has printed."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0 and "Traceback" not in errors, errors
        while not self._new.empty():
            self.lines.append(self._new.get())
        return "".join(self.lines)


@contextmanager
def watching(folder: Path, workspace: Path, *options: str) -> Iterator[Watching]:
    run = Watching(folder, workspace, *options)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """One pin with imported text vectors, whose encoder is not known: words are indexed alone."""
    space = Workspace.create(tmp_path / "workspace")
    (tmp_path / "pins.jsonl").write_text(row("z"))
    pipeline.import_files(space, [tmp_path / "pins.jsonl"])
    with closing(open_catalogue(space.catalogue).conn) as connection:
        db = sqlite_utils.Database(connection)
        write_vectors(space, db, "text", "pin", ["z"], np.ones((1, 4), np.float32))
    return space.root


def row(key: str, title: str = "A sofa") -> str:
    return json.dumps({"id": key, "title": title}) + "\n"


def titles(workspace: Path, table: str = "pins") -> dict[str, str]:
    with closing(open_catalogue(Workspace(workspace).catalogue).conn) as connection:
        return dict(connection.execute(f"SELECT id, title FROM {table}"))


def imports(workspace: Path) -> list[str]:
    with closing(open_catalogue(Workspace(workspace).catalogue).conn) as connection:
        rows = connection.execute("SELECT file FROM imports ORDER BY id").fetchall()
        return [Path(file).name for (file,) in rows]


def test_files_that_are_there_arrive_grow_and_change(folder: Path, workspace: Path) -> None:
    there = imports(workspace)
    event = {"time": 1, "query": "sofa", "entity": "pin", "item_id": "a", "action": "save"}
    (folder / "engagements.jsonl").write_text(json.dumps(event))  # its pin is imported first
    (folder / "pins.jsonl").write_text(row("a"))
    (folder / "notes.txt").write_text("not ours")
    with watching(folder, workspace) as run:
        run.wait_for("pins.jsonl: 1 row, 1 changed.")
        run.wait_for("engagements.jsonl: 1 row, 1 changed.")
        # Renamed into place.
        (folder / ".pins-b.jsonl").write_text(row("b"))
        (folder / "pins-c.jsonl.part").write_text(row("c"))
        (folder / "pins-d.jsonl.tmp").write_text(row("d"))
        (folder / ".pins-b.jsonl").rename(folder / "pins-b.jsonl")
        # Written slowly: nothing is read before it has ended.
        with (folder / "pins-e.jsonl").open("w") as file:
            for number in range(12):
                file.write(row(f"e{number}")[:-5])
                file.flush()
                time.sleep(0.2)
                file.write(row(f"e{number}")[-5:])
                file.flush()
        run.wait_for("pins-e.jsonl: 12 rows, 12 changed.")
        # Refused, as a whole and in part; the watch goes on.
        (folder / "products.parquet").write_bytes(b"not a Parquet file")
        (folder / "pins-f.jsonl").write_text(row("f") + '{"title": "no id"}\n')
        run.wait_for("products.parquet was not imported")
        run.wait_for("pins-f.jsonl: 2 rows, 1 changed, 1 refused", "rejects")
        # Changed.
        (folder / "pins.jsonl").write_text(row("a", "A better sofa"))
        run.wait_for("pins.jsonl: 1 row, 1 changed.")
        said = run.end()
    found = titles(workspace)
    assert found.keys() == {"a", "b", *(f"e{number}" for number in range(12)), "f", "z"}
    assert found["a"] == "A better sofa"
    assert said.count("products.parquet was not imported") == 1 and "notes.txt" not in said
    names = imports(workspace)[len(there) :]
    assert names[:2] == ["pins.jsonl", "engagements.jsonl"] and names.count("pins-e.jsonl") == 1
    with watching(folder, workspace) as run:  # again: only what was refused is read
        run.wait_for("products.parquet was not imported")
        run.end(signal.SIGINT)
    assert imports(workspace) == there + names


def test_what_arrives_is_found(folder: Path, trained: Workspace, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    with watching(folder, workspace.root) as run:
        (folder / "products.jsonl").write_text(row("new", "Teal quokka figurine"))
        run.wait_for("Published generation 2.")
        run.end(signal.SIGINT)
    engine = SearchEngine.open(workspace)
    assert [hit.id for hit in engine.search("quokka", system="token").hits] == ["new"]
    engine.close()


def test_an_import_under_way_is_finished(folder: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "new"
    (folder / "pins.jsonl").write_text("".join(row(str(number)) for number in range(60_000)))
    log = Workspace(workspace).catalogue.with_name("catalogue.db-wal")
    with watching(folder, workspace) as run:
        until = time.monotonic() + SECONDS
        while not (log.exists() and log.stat().st_size > 1_000_000):
            assert time.monotonic() < until
            time.sleep(0.01)
        run.end()
    assert len(titles(workspace)) == 60_000


def test_other_names_take_the_kind(folder: Path, workspace: Path) -> None:
    (folder / "stock-2031.csv").write_text("id,title\ns,A sofa\n")
    (folder / "pins.csv").write_text("id,title\np,A lamp\n")
    with watching(folder, workspace, "--kind", "products") as run:
        run.wait_for("stock-2031.csv: 1 row, 1 changed.")
        run.end()
    assert titles(workspace) == {"p": "A lamp", "z": "A sofa"}
    assert titles(workspace, "products") == {"s": "A sofa"}


def test_exports_of_shop_systems_may_have_any_name(folder: Path, workspace: Path) -> None:
    goods = shop(3)
    events = [{"name": "view_search_results", "at": 1_700_000_000, "user": "u", "term": "sofa"}]
    ga4(folder / "bq-results-1.jsonl", events)  # its products are imported first
    shopify(folder / "export (1).csv", goods)
    google_xml(folder / "feed", goods)
    google_table(folder / "feed.txt", goods)
    woocommerce(folder / "wc-product-export.csv", goods)
    (folder / "stock.csv").write_text("id,title\ns,A sofa\n")
    (folder / "picture").write_bytes(b"\x89PNG")
    for name in ("products.xlsx", "~$products.xlsx", "Prices.ODS"):
        (folder / name).write_bytes(b"PK")
    with watching(folder, workspace) as run:
        run.wait_for("bq-results-1.jsonl: ", "rows")
        run.wait_for("stock.csv was left alone", "--kind")
        run.wait_for("products.xlsx was not imported", "are not read. Save the sheet as CSV")
        run.wait_for("Prices.ODS was not imported", "are not read. Save the sheet as CSV")
        said = run.end()
    names = {"export (1).csv", "feed", "feed.txt", "wc-product-export.csv", "bq-results-1.jsonl"}
    assert set(imports(workspace)[1:]) == names and imports(workspace)[-1] == "bq-results-1.jsonl"
    assert {good.key for good in goods} <= titles(workspace, "products").keys()
    assert said.count("stock.csv") == 1 and "picture" not in said
    assert said.count("xlsx was not") == said.count("ODS was not") == 1 and "~$" not in said
    with watching(folder, workspace, "--kind", "pins") as run:  # what is known by columns is not
        run.wait_for("stock.csv: 1 row, 1 changed.")
        run.end()
    assert titles(workspace) == {"s": "A sofa", "z": "A sofa"}


def test_wrong_input(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words, says in (
        ((tmp_path / "none",), "no such folder"),
        ((tmp_path / "file",), "not a folder"),
        ((folder, "--kind", "sofas"), "Use one of pins"),
    ):
        done = omnisearch("watch", *words, "-w", tmp_path / "workspace", check=False)
        assert done.returncode == 2 and says in " ".join(done.stderr.split())
    assert not (tmp_path / "workspace").exists()
