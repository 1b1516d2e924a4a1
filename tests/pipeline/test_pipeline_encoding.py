"""`omnisearch encode`: the same bytes whoever encodes, whatever is killed, and nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.dataset.export import export_catalogue
from omnisearch.data.dataset.place import place_at
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, MissingExtra, NotReady
from omnisearch.indexer.signals import read_signals
from omnisearch.pipeline import encoding
from omnisearch.pipeline.encoded_file import Done, Task, encode_task
from omnisearch.pipeline.encoding import Encoded, encode_dataset

MAIN = "from omnisearch.cli.main import main; main()"
BUCKETS = 4


@pytest.fixture(scope="module")
def dataset(trained: Workspace, tmp_path_factory: Any) -> Path:
    """The trained workspace as a data set. Read only."""
    folder = tmp_path_factory.mktemp("dataset") / "set"
    export_catalogue(trained, place_at(str(folder)), BUCKETS)
    return folder


def here(tasks: list[Task]) -> Iterator[tuple[Task, Done]]:
    """Runs the tasks in this process."""
    return ((task, encode_task(task)) for task in tasks)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoding.RUNNERS, "local", here)


def encode(space: Workspace, source: Path, target: Path, **options: Any) -> Encoded:
    return encode_dataset(space, place_at(str(source)), place_at(str(target)), **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def encoded(trained: Workspace, dataset: Path, tmp_path_factory: Any) -> dict[str, bytes]:
    """The files of an undisturbed run."""
    folder = tmp_path_factory.mktemp("encoded") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encoding.RUNNERS, "local", here)
        done = encode(trained, dataset, folder)
    assert done.files == done.encoded == 3 * BUCKETS
    return files(folder)


def vectors_in(found: dict[str, bytes], entity: str) -> dict[str, dict[str, Any]]:
    """Space → id → vector or None."""
    spaces: dict[str, dict[str, Any]] = {}
    for name, held in found.items():
        if name.startswith(f"entity={entity}/"):
            table = pq.read_table(pa.BufferReader(held))
            for space in set(table.column_names) - {"id"}:
                ids, rows = (table.column(part).to_pylist() for part in ("id", space))
                spaces.setdefault(space, {}).update(zip(ids, rows, strict=True))
    return spaces


def test_the_vectors_are_those_that_an_index_is_built_of(
    trained: Workspace, encoded: dict[str, bytes]
) -> None:
    (folder,) = (path.parent for path in trained.signals.glob("*/*/manifest.json"))
    for entity, signals in read_signals(folder).items():
        found = vectors_in(encoded, entity)
        assert found.keys() == signals.spaces.keys()
        for space, rows in signals.spaces.items():
            if entity != "query":  # an index has only those that were engaged
                assert sorted(found[space]) == signals.ids
            for key, row in zip(signals.ids, rows, strict=True):
                vector = found[space][key]
                assert (vector is None) == (not row.any())
                np.testing.assert_allclose(row if vector is None else vector, row, atol=1e-5)
    with closing(sqlite3.connect(trained.catalogue)) as db:
        queries = {key for (key,) in db.execute("SELECT id FROM queries")}
    assert vectors_in(encoded, "query")["learned"].keys() == queries


def test_what_has_not_changed_is_not_encoded_again(
    trained: Workspace, dataset: Path, encoded: dict[str, bytes], tmp_path: Path, in_process: None
) -> None:
    out, space = tmp_path / "out", Workspace(tmp_path / "space")
    told: list[tuple[int, int]] = []
    encode(trained, dataset, out, progress=lambda *counts: told.append(counts))
    assert files(out) == encoded and told[-1] == (3 * BUCKETS, 3 * BUCKETS)
    assert encode(trained, dataset, out).encoded == 0 and files(out) == encoded
    shutil.copytree(trained.root, space.root)
    with closing(open_catalogue(space.catalogue).conn) as db, db:
        db.execute("UPDATE products SET price = 7")  # no encoder reads it
    export_catalogue(space, place_at(str(tmp_path / "cheaper")), BUCKETS)
    assert encode(space, tmp_path / "cheaper", out).encoded == 0 and files(out) == encoded
    with closing(open_catalogue(space.catalogue).conn) as db, db:
        (key,) = db.execute("SELECT MIN(id) FROM pins").fetchone()
        db.execute("UPDATE pins SET title = 'a red lamp' WHERE id = ?", [key])
    export_catalogue(space, place_at(str(tmp_path / "changed")), BUCKETS)
    assert encode(space, tmp_path / "changed", out).encoded == 1
    encode(space, tmp_path / "changed", tmp_path / "anew")
    assert files(out) == files(tmp_path / "anew")
    differing = {name for name in encoded if files(out)[name] != encoded[name]}
    assert len(differing) == 2 and "manifest.json" in differing
    before, after = vectors_in(encoded, "pin"), vectors_in(files(out), "pin")
    assert [k for k in before["learned"] if before["learned"][k] != after["learned"][k]] == [key]
    # Other buckets: what belonged to the earlier ones is gone.
    export_catalogue(trained, place_at(str(tmp_path / "two")), 2)
    assert encode(trained, tmp_path / "two", out).files == 6
    assert len(files(out)) == 7


def test_what_was_damaged_since_is_encoded_again(
    trained: Workspace, dataset: Path, encoded: dict[str, bytes], tmp_path: Path, in_process: None
) -> None:
    out = tmp_path / "out"
    for name, held in encoded.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(held)
    one, other, third = sorted(name for name in encoded if name.startswith("entity=pin"))[:3]
    middle = len(encoded[one]) // 2
    flipped = bytes([encoded[one][middle] ^ 1])
    (out / one).write_bytes(encoded[one][:middle] + flipped + encoded[one][middle + 1 :])
    (out / other).write_bytes(encoded[other][:middle])
    (out / third).unlink()
    (out / third).with_name(".encoded.parquet.0123abcd.tmp").write_bytes(b"of a killed worker")
    assert encode(trained, dataset, out).encoded == 3 and files(out) == encoded


def test_nothing_is_left_of_a_worker_that_was_killed_while_it_wrote(
    trained: Workspace,
    dataset: Path,
    encoded: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"

    def killed(tasks: list[Task]) -> Iterator[tuple[Task, Done]]:
        for task, done in here(tasks):
            (out / task.folder / ".encoded.parquet.0123abcd.tmp").write_bytes(b"half of a file")
            yield task, done

    monkeypatch.setitem(encoding.RUNNERS, "local", killed)
    encode(trained, dataset, out)
    assert files(out) == encoded


def test_what_cannot_be_encoded_is_refused(
    trained: Workspace, dataset: Path, tmp_path: Path, in_process: None
) -> None:
    with pytest.raises(NotReady, match="No encoder"):
        encode(trained, dataset, tmp_path / "out", checkpoint="other")
    with pytest.raises(InputError, match="something else"):
        encode(trained, dataset, dataset)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="letter"):
        encode(trained, dataset, tmp_path / "mine")
    with pytest.raises(InputError, match="nothing at this place"):
        encode(trained, tmp_path / "none", tmp_path / "out", checkpoint="other")
    shutil.copytree(dataset, tmp_path / "set")
    path = next((tmp_path / "set").glob("entity=product/bucket=001/products.parquet"))
    path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    with pytest.raises(Corrupt, match=r"bucket=001/products.parquet.*sha256"):
        encode(trained, tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    space = Workspace(tmp_path / "space")
    shutil.copytree(trained.root, space.root)
    db = open_catalogue(space.catalogue)
    ids = [key for (key,) in db.conn.execute("SELECT id FROM pins")]
    write_vectors(space, db, "image", "pin", ids, np.ones((len(ids), 3), "f4"), replace=True)
    db.conn.close()
    export_catalogue(space, place_at(str(tmp_path / "three")), 2)
    with pytest.raises(InputError, match="has 3 dimensions"):
        encode(trained, tmp_path / "three", tmp_path / "out")


def test_without_ray_a_sentence_says_what_to_install(
    trained: Workspace, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"omnisearchsage\[cluster\].*--runner local"):
        encode(trained, dataset, tmp_path / "out", runner="ray")


def started(space: Workspace, *words: object, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, "encode", *map(str, words), "-w", str(space.root)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | more
    )


def processes(wanted: Callable[[Path], bool]) -> list[int]:
    """The processes of which something holds, by their folder in /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted(path):
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


def ended(process: subprocess.Popen[str]) -> None:
    said = process.communicate(timeout=500)
    assert process.returncode == 0, said


@pytest.mark.slow
def test_killed_commands_and_workers_change_nothing(
    trained: Workspace, dataset: Path, encoded: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = started(trained, dataset, "--out", out)
    while len(files(out)) < 2 and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)  # its workers, which hold its output open, end too
    assert 2 <= len(files(out)) < len(encoded) and not (out / "manifest.json").exists()
    ended(started(trained, dataset, "--out", out))
    assert files(out) == encoded
    shutil.rmtree(out)
    second, killed = started(trained, dataset, "--out", out), 0
    while second.poll() is None and killed == 0:
        if files(out):
            for worker in processes(
                lambda path: (
                    f"PPid:\t{second.pid}\n" in (path / "status").read_text()
                    and b"spawn_main" in (path / "cmdline").read_bytes()
                )
            ):
                os.kill(worker, signal.SIGKILL)
                killed += 1
        time.sleep(0.005)
    ended(second)
    assert killed and files(out) == encoded


def of_ray(mark: str) -> list[int]:
    """The processes of the Ray that was started with a mark in its environment."""
    return processes(
        lambda path: (
            f"MARK={mark}".encode() in (path / "environ").read_bytes()
            and b"ray" in (path / "cmdline").read_bytes()
        )
    )


def listening(pids: list[int]) -> set[str]:
    """The addresses, in hex, that processes listen on."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                found.add(parts[1].split(":")[0])
    return found


@pytest.mark.slow
def test_ray_writes_the_same_bytes_also_if_its_workers_are_killed(
    trained: Workspace, dataset: Path, encoded: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    out, mark = tmp_path / "out", str(tmp_path)
    process = started(trained, dataset, "--out", out, "--runner", "ray", MARK=mark)
    killed, addresses = 0, set()
    while process.poll() is None:
        if files(out) and not killed:
            addresses |= listening(of_ray(mark))
            for worker in of_ray(mark):
                if b"ray::encode_task" in Path(f"/proc/{worker}/cmdline").read_bytes():
                    os.kill(worker, signal.SIGKILL)
                    killed += 1
        time.sleep(0.005)
    ended(process)
    assert killed and files(out) == encoded
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert addresses and addresses <= loopback
    assert not of_ray(mark)
