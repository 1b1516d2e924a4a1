"""A disk that is full or read-only: a clear error, the old state lives, and all works again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

HERE = Path(__file__).parent
ROOM = 96 * 1024 * 1024
WRITERS = (
    ("import", "pins.jsonl"),
    ("import", "mine.npy", "--vectors", "mine", "--entity", "pin"),
    ("enrich", "queries"),
    ("enrich", "graph", "--again"),
    ("train", "--preset", "tiny", "--steps", "2"),
    ("rank", "train"),
    ("export", "onnx"),
    ("index", "build"),
    ("index", "rebuild"),
    ("index", "update"),
    ("index", "rollback"),
)
READERS = (("status",), ("index", "status"), ("index", "verify"), ("search", "sofa"))


@pytest.fixture(scope="module")
def two_generations(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that can be rolled back, and files to import beside it."""
    home = tmp_path_factory.mktemp("disk")
    shutil.copytree(trained.root, home / "workspace")
    pipeline.rebuild_index(home / "workspace")
    db = open_catalogue(home / "workspace" / "catalogue.db")
    ids = [item["id"] for batch in read_items(db, "pin") for item in batch]
    with db.conn:  # something to publish
        db.conn.execute("UPDATE pins SET title = title || ' anew' WHERE id = ?", [ids[0]])
    db.conn.close()
    (home / "pins.jsonl").write_text(
        "".join(
            json.dumps({"id": f"new{n}", "title": f"sofa {n}" * 50}) + "\n" for n in range(2000)
        )
    )
    np.save(home / "mine.npy", np.ones((len(ids), 256), np.float32))
    (home / "mine.ids").write_text("".join(f"{key}\n" for key in ids))
    return home


@pytest.fixture
def disk(two_generations: Path, tmp_path: Path) -> Iterator[Path]:
    """A small file system with the workspace on it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted only by root")
    try:
        shutil.copytree(two_generations / "workspace", place / "workspace")
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def run(commands: tuple[tuple[str, ...], ...], workspace: Path, files: Path) -> list[list]:
    """The exit status and the words of each command, without the ends of its lines."""
    words = [
        command if command[0] == "fill" else (*command, "-w", str(workspace))
        for command in commands
    ]
    script = [sys.executable, str(HERE / "many_commands.py"), json.dumps(words)]
    temporary = {"TMPDIR": str(files), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        script, cwd=files, env=os.environ | temporary, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        [code, " ".join(said.split())] for code, said in json.loads(done.stdout.splitlines()[-1])
    ]


def contents(workspace: Path) -> dict[str, bytes]:
    """The published files; the databases change when SQLite tidies up."""
    return {
        path.relative_to(workspace).as_posix(): path.read_bytes()
        for path in workspace.rglob("*")
        if path.is_file() and not re.search(r"\.db|^\.|^query_cache", path.name)
    }


@pytest.mark.parametrize(
    "left", [0, *(pytest.param(room, marks=pytest.mark.slow) for room in (200_000, 1_500_000))]
)
def test_a_full_disk(left: int, disk: Path, two_generations: Path) -> None:
    workspace = disk / "workspace"
    before = contents(workspace)
    commands = []
    for writer in WRITERS:
        commands += [("fill", str(disk), str(left)), writer]
    commands += [("fill", str(disk), "0"), *READERS]
    results = run(tuple(commands), workspace, two_generations)
    for command, (code, said) in zip(WRITERS, results, strict=False):
        if left == 0 or code:
            assert code == 1 and "The disk is full." in said, (command, said)
    for command, (code, said) in zip(READERS, results[len(WRITERS) :], strict=True):
        assert code == 0, (command, said)
    assert left or contents(workspace) == before
    (disk / "filler").unlink()
    again = run(WRITERS, workspace, two_generations)
    for command, (code, said) in zip(WRITERS, again, strict=True):
        assert code == 0, (command, said)
    assert not list(workspace.rglob(".*.tmp"))


def test_a_read_only_disk(disk: Path, two_generations: Path) -> None:
    workspace = disk / "workspace"
    before = contents(workspace)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    results = run((*WRITERS, *READERS), workspace, two_generations)
    for command, (code, said) in zip(WRITERS, results, strict=False):
        assert code == 1 and "The file system is read-only." in said, (command, said)
    for command, (code, said) in zip(READERS, results[len(WRITERS) :], strict=True):
        assert code == 0, (command, said)
    assert contents(workspace) == before
