"""Generations: published whole or not at all, checked, put back, kept, and never built twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import orjson
import pytest
import sqlite_utils
from indexer_fakes import FakeEncoder, put
from safetensors.numpy import load, save

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.tokens import query_tokens
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.locks import build_lock
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.table import ItemTable
from omnisearch.indexer.update import update
from omnisearch.indexer.verify import rollback, status, verify

Small = tuple[Workspace, sqlite_utils.Database]


def change(db: sqlite_utils.Database, number: int) -> None:
    put(db, "pin", id="pin000", title=f"change {number}")


def numbers(workspace: Workspace) -> list[int]:
    return sorted(int(path.name) for path in workspace.generations.iterdir())


def leftovers(workspace: Workspace) -> list[Path]:
    found = [*workspace.generations.glob(".*"), *workspace.signals.glob("*/.*")]
    return [*found, *workspace.root.glob(".CURRENT.*")]


def test_without_an_index_there_is_a_way_to_one(workspace: Workspace) -> None:
    with pytest.raises(NotReady, match="omnisearch index build"):
        Generation.open(workspace)
    assert status(workspace) == {"live": None, "generations": []}
    with pytest.raises(NotReady):
        rollback(workspace)
    with pytest.raises(NotReady):
        verify(workspace)


def test_status_tells_of_every_generation(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    change(db, 1)
    update(workspace, db, FakeEncoder())
    found = status(workspace)
    assert found["live"] == 2
    newest, oldest = found["generations"]
    assert (newest["number"], newest["live"], newest["based_on"]) == (2, True, 1)
    assert (oldest["number"], oldest["live"]) == (1, False)
    assert newest["entities"]["pin"] == {"rows": 60, "own": 1, "content": 1}
    assert newest["segments"] == [1, 2]
    assert newest["spaces"]["pin learned"]["vectors"] == 1
    assert oldest["spaces"]["pin learned"]["vectors"] == 60
    assert oldest["spaces"]["pin learned"]["recall"]["recall"] > 0.9
    assert oldest["bytes"] > newest["bytes"] > 1_000
    (workspace.generations / "1" / "manifest.json").write_text("{")
    assert "manifest" in status(workspace)["generations"][1]["problem"]
    workspace.current.write_text("two")
    assert "'two'" in status(workspace)["problem"]


def test_retention_keeps_the_newest_and_the_live_one(small: Small) -> None:
    workspace, db = small
    for number in range(4):
        change(db, number)
        build(workspace, db, FakeEncoder(), BuildOptions(retention=3))
    assert numbers(workspace) == [2, 3, 4]
    rollback(workspace, 2)
    change(db, 9)
    assert update(workspace, db, FakeEncoder(), BuildOptions(retention=1)) == 5
    assert numbers(workspace) == [2, 5]
    assert Generation.open(workspace).manifest["based_on"] == 2


def test_going_back(small: Small) -> None:
    workspace, db = small
    for number in range(3):
        change(db, number)
        build(workspace, db, FakeEncoder())
    assert rollback(workspace) == 2
    assert Generation.open(workspace).number == 2
    assert rollback(workspace) == 1
    with pytest.raises(NotReady, match="before 1"):
        rollback(workspace)
    with pytest.raises(InputError, match="Existing generations: 1, 2, 3"):
        rollback(workspace, 7)
    assert rollback(workspace, 3) == 3
    damaged = workspace.generations / "2" / "pin" / "tokens.txt"
    damaged.write_bytes(damaged.read_bytes() + b"x")
    with pytest.raises(Corrupt, match=r"tokens.txt does not have the size"):
        rollback(workspace)
    assert Generation.open(workspace).number == 3
    assert rollback(workspace, 1) == 1
    # The number of a generation is never used again.
    assert build(workspace, db, FakeEncoder()) == 4


def test_every_file_is_verified(small: Small, tmp_path: Path) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    folder = workspace.generations / "1"
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    assert verify(workspace) == []
    for path in paths:
        if path.name.startswith(".tantivy-"):
            continue
        content = path.read_bytes()
        damaged = bytearray(content or b"x")
        damaged[len(damaged) // 2] ^= 0x10
        path.write_bytes(bytes(damaged))
        if path.name == "manifest.json":
            path.write_bytes(content[: len(content) // 2])
        with pytest.raises(Corrupt, match=path.name):
            Generation.open(workspace)
        (problem,) = verify(workspace)
        assert path.name in problem
        path.write_bytes(content)
    (folder / "pin" / "extra.hnsw").write_bytes(b"")
    assert verify(workspace) == ["pin/extra.hnsw is not in the manifest."]
    (folder / "pin" / "extra.hnsw").unlink()
    (folder / "pin" / "ids.jsonl").unlink()
    assert verify(workspace) == ["pin/ids.jsonl is missing."]


def content_file(rows: int, first: int = 0) -> bytes:
    digests = np.zeros((rows, 16), np.uint8)
    return save({"rows": np.arange(first, first + rows), "digests": digests})


def test_tables_and_content_of_other_items_are_refused(small: Small) -> None:
    """A segment of a changed price alone, below which the item's words are said to be gone."""
    workspace, db = small
    build(workspace, db, FakeEncoder())
    with db.conn:
        db.conn.execute("UPDATE products SET price = 7.5 WHERE id = 'product003'")
    assert update(workspace, db, FakeEncoder()) == 2
    Generation.open(workspace)
    path = workspace.generation(2) / "dead.safetensors"
    (place,) = load(path.read_bytes())["1/product/table"]
    gone = np.array([place], np.int64)
    path.write_bytes(save({"1/product/table": gone, "1/product/content": gone}))
    with pytest.raises(Corrupt, match="words and vectors of others"):
        Generation.open(workspace, verify=False)


def test_what_is_verified_is_not_all_in_memory(small: Small, monkeypatch) -> None:
    """Of a million items, what result pages show would be a gigabyte."""
    workspace, db = small
    build(workspace, db, FakeEncoder())
    asked, display = Counter[str](), ItemTable.display

    def counted(table: ItemTable, rows: range) -> list:
        assert len(rows) <= 7
        asked[table.entity] += len(rows)
        return display(table, rows)

    monkeypatch.setattr("omnisearch.indexer.verify._AT_ONCE", 7)
    monkeypatch.setattr(ItemTable, "display", counted)
    assert verify(workspace) == []
    assert asked == {name: len(t) for name, t in Generation.open(workspace).tables.items()}


def test_files_that_agree_with_a_forged_manifest_are_still_checked(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    folder = workspace.generations / "1"
    pristine = workspace.root / "pristine"
    shutil.copytree(folder, pristine)
    for name, content in (
        ("pin/learned.hnsw", b"\xff" * 5000),
        ("pin/learned.npy", b"\x93NUMPY garbage"),
        ("pin/learned-present.npy", b""),
        ("pin/columns.safetensors", b"\xff" * 100),
        ("pin/ids.jsonl", b'"only one"\n'),
        ("pin/ids.jsonl", b"1\n" * 60),
        ("pin/vocabulary.json", b"[]"),
        ("pin/display.jsonl", b"{}"),
        ("pin/tantivy/meta.json", b"{}"),
        ("pin/content.safetensors", b"\xff" * 100),
        ("pin/content.safetensors", content_file(59)),
        ("pin/content.safetensors", content_file(60, first=1)),
    ):
        shutil.rmtree(folder)
        shutil.copytree(pristine, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(Corrupt):
            Generation.open(workspace, verify=False)
    shutil.rmtree(folder)
    shutil.copytree(pristine, folder)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    entities = manifest["entities"]
    for forged in (
        manifest | {"files": {"../../CURRENT": {"bytes": 2, "sha256": ""}}},
        manifest | {"files": []},
        manifest | {"format": 99},
        manifest | {"entities": {"pin": {"rows": 10**9}}},
        manifest | {"entities": entities | {"pin": entities["pin"] | {"content": 59}}},
        manifest | {"spaces": [{"entity": "pin"}]},
        manifest | {"spaces": 3},
    ):
        (folder / "manifest.json").write_bytes(sealed(forged))
        with pytest.raises(Corrupt):
            Generation.open(workspace)


def test_the_pointer_names_a_generation_or_nothing(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    for text in ("", "-1", "1.5", "../1", "९"):
        workspace.current.write_text(text)
        with pytest.raises(Corrupt, match="rollback --number"):
            Generation.open(workspace)
    workspace.current.write_text("8")
    with pytest.raises(NotReady, match="no generation 8"):
        Generation.open(workspace)
    assert rollback(workspace, 1) == 1
    assert Generation.open(workspace).number == 1
    workspace.current.write_text("nonsense")
    assert build(workspace, db, FakeEncoder()) == 2
    assert Generation.open(workspace).number == 2


def test_reading_changes_nothing(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    folder = workspace.generations / "1"

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".tantivy-")
        }

    before = state()
    generation = Generation.open(workspace)
    generation.tokens["pin"].search(query_tokens("lamp"), 3)
    generation.spaces["pin", "learned"].search(FakeEncoder().queries(["lamp"])[0], 3, 50)
    assert state() == before
    with pytest.raises(ValueError, match="read-only"):
        generation.spaces["pin", "learned"].vectors[0] = 1


_BUILD = """
import os, signal, sys
sys.path[:0] = [{here!r}, {root!r}]
from omnisearch import indexer
from omnisearch.data.workspace import locks
from omnisearch.indexer import build, publish, signals, update
from indexer_fakes import FakeEncoder
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

workspace = Workspace.open(sys.argv[1])
db = open_catalogue(workspace.catalogue)
point = sys.argv[2]
if point == "lock":
    with locks.build_lock(workspace):
        print("held", flush=True)
        sys.stdin.read()
elif point == "loop":
    print("begun", flush=True)
    while True:
        with db.conn:
            db.conn.execute("UPDATE pins SET title = title || ' again' WHERE id < 'pin003'")
        indexer.build.build(workspace, db, FakeEncoder())
        indexer.update.update(workspace, db, FakeEncoder())
else:
    module, name = point.rsplit(".", 1)
    setattr(sys.modules[module], name, die)
    getattr(getattr(indexer, sys.argv[3]), sys.argv[3])(workspace, db, FakeEncoder())
"""


def start(workspace: Workspace, *arguments: str) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    script = _BUILD.format(here=str(here), root=str(here.parents[1]))
    return subprocess.Popen(
        [sys.executable, "-c", script, str(workspace.root), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


PUBLISHING = (
    ("omnisearch.indexer.publish.write_tokens", 1),
    ("omnisearch.indexer.publish.write_manifest", 1),
    ("omnisearch.indexer.publish.write_pointer", 1),
    ("omnisearch.indexer.publish.retain", 2),
)
ENCODING = (
    ("omnisearch.indexer.signals.write_manifest", 1),
    ("omnisearch.indexer.signals.write_pointer", 1),
    ("omnisearch.indexer.signals.remove_folder", 1),
)
STEPS = [("build", *step) for step in (*ENCODING, *PUBLISHING)]
STEPS += [("update", *step) for step in PUBLISHING]


@pytest.mark.parametrize(("how", "point", "live"), STEPS)
def test_killed_at_a_step(small: Small, how: str, point: str, live: int) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    change(db, 1)
    process = start(workspace, point, how)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    generation = Generation.open(workspace)
    assert generation.number == live
    assert verify(workspace) == []
    found = generation.tokens["pin"].search(query_tokens("change"), 3)[0]
    assert len(found) == (1 if live == 2 else 0)
    number = update(workspace, db, FakeEncoder())
    assert leftovers(workspace) == []
    generation = Generation.open(workspace)
    assert generation.number == number
    assert len(generation.tokens["pin"].search(query_tokens("change"), 3)[0]) == 1


def test_killed_before_the_first_generation(small: Small) -> None:
    workspace, db = small
    start(workspace, "omnisearch.indexer.publish.write_manifest", "build").communicate(timeout=60)
    with pytest.raises(NotReady):
        Generation.open(workspace)
    assert leftovers(workspace)
    assert build(workspace, db, FakeEncoder()) == 1
    assert leftovers(workspace) == []
    assert verify(workspace) == []


def test_killed_at_any_moment(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    db.conn.close()
    newest = 1
    for delay in (0.03, 0.09, 0.17, 0.31, 0.44):
        process = start(workspace, "loop")
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(delay)
        process.kill()
        process.communicate()
        generation = Generation.open(workspace)
        assert generation.number >= newest
        newest = generation.number
        assert verify(workspace) == []
    db = open_catalogue(workspace.catalogue)
    build(workspace, db, FakeEncoder())
    assert leftovers(workspace) == []


def test_two_builds_do_not_collide(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    process = start(workspace, "lock")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    change(db, 1)
    with pytest.raises(NotReady, match="Another process"):
        build(workspace, db, FakeEncoder())
    with pytest.raises(NotReady, match="Another process"):
        rollback(workspace, 1)
    assert Generation.open(workspace).number == 1  # reading goes on
    process.kill()
    process.communicate()
    assert update(workspace, db, FakeEncoder()) == 2
    with build_lock(workspace):
        assert not db.conn.in_transaction
