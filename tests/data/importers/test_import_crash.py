"""A process that is killed while it imports leaves the whole file or nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.importers.files import import_file
from omnisearch.data.importers.vectors import import_vectors
from omnisearch.data.workspace import Workspace

ROWS = 30_000
PROGRAM = """
import sys
from pathlib import Path
from omnisearch.data.importers.files import import_file
from omnisearch.data.importers.vectors import import_vectors
from omnisearch.data.workspace import Workspace
workspace, path = Workspace.create(sys.argv[1]), Path(sys.argv[2])
def progress(done, total):
    print(done, total, flush=True)
print("start", flush=True)
if path.suffix == ".npy":
    import_vectors(workspace, path, "pinsage", "pin", progress=progress)
else:
    import_file(workspace, path, progress=progress)
print("end", flush=True)
"""


def start(workspace: Workspace, path: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(workspace.root), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def kill_at(process: subprocess.Popen[str], share: float) -> None:
    """Kill -9 once `share` of the file is read; 1 is somewhere around the commit."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words == ["start"] and share == 0:
            break
        if len(words) == 2 and int(words[0]) >= share * int(words[1]):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def pins(tmp_path_factory):
    path = tmp_path_factory.mktemp("crash") / "pins.jsonl"
    rows = ({"id": f"p{i}", "title": f"Pin {i}", "created_at": i} for i in range(ROWS))
    # Every hundredth row is refused, so that a rejects file is on its way too.
    path.write_bytes(
        b"".join(orjson.dumps(row) + b"\n" + b"{\n" * (i % 100 == 0) for i, row in enumerate(rows))
    )
    return path


def counted(workspace: Workspace) -> tuple[int, int]:
    """Pins and imports that the catalogue holds, which must be sound."""
    db = open_catalogue(workspace.catalogue, create=True)
    assert db.conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    pins = db.conn.execute("SELECT COUNT(*) FROM pins").fetchone()[0]
    imports = db.conn.execute("SELECT COUNT(*) FROM imports").fetchone()[0]
    db.conn.close()
    return pins, imports


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_a_killed_import_is_whole_or_nothing_and_can_be_repeated(tmp_path, pins, share):
    workspace = Workspace.create(tmp_path / "workspace")
    kill_at(start(workspace, pins), share)
    found = counted(workspace)
    assert found in ([(0, 0)] if share < 1 else [(0, 0), (ROWS, 1)])
    report = import_file(workspace, pins)
    assert (report.taken, report.refused) == (ROWS, ROWS // 100)
    assert report.changed == ROWS - found[0]
    assert counted(workspace) == (ROWS, found[1] + 1)
    # No rejects file but those that the catalogue names.
    assert len(list(workspace.rejects.iterdir())) == found[1] + 1


@pytest.mark.slow
@pytest.mark.parametrize("delay", np.linspace(0.01, 0.5, 12).round(3).tolist())
def test_killed_at_any_moment(tmp_path, pins, delay):
    workspace = Workspace.create(tmp_path / "workspace")
    process = start(workspace, pins)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = counted(workspace)
    assert found in [(0, 0), (ROWS, 1)]
    assert import_file(workspace, pins).changed == ROWS - found[0]
    assert counted(workspace)[0] == ROWS


@pytest.mark.parametrize("share", [0.3, 1])
def test_killed_while_vectors_are_replaced(tmp_path, pins, share):
    workspace = Workspace.create(tmp_path / "workspace")
    import_file(workspace, pins)
    ids = "".join(f"p{i}\n" for i in range(ROWS))
    for name, value in (("old.npy", 1), ("new.npy", 2)):
        np.save(tmp_path / name, np.full((ROWS, 32), value, np.float32))
        (tmp_path / name).with_suffix(".ids").write_text(ids)
    import_vectors(workspace, tmp_path / "old.npy", "pinsage", "pin")
    kill_at(start(workspace, tmp_path / "new.npy"), share)

    def value() -> float:
        db = open_catalogue(workspace.catalogue)
        feature = open_vectors(workspace, db, "pinsage", "pin")
        db.conn.close()
        assert feature is not None
        assert len(np.unique(feature.vectors)) == 1
        return float(feature.vectors[0, 0])

    assert value() in ([1] if share < 1 else [1, 2])
    import_vectors(workspace, tmp_path / "new.npy", "pinsage", "pin")
    assert value() == 2
