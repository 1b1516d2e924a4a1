"""A refresh that is killed at any moment, and run again, ends as one that was left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from shops import put
from test_pipeline_refresh import boards, shop, steady, told  # noqa: F401

from omnisearch import Workspace
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.indexer.generation import Generation
from omnisearch.pipeline.refreshing import last_refresh

pytestmark = pytest.mark.slow  # trains and is killed many times

MAIN = "from omnisearch.cli.main import main; main()"
# How many steps have ended, and seconds after that: a busy machine is slower than any clock says.
MOMENTS = [(0, 0.5), (1, 0.0), (2, 0.1), (3, 0.5), (3, 4.0), (4, 0.2), (4, 2.0)]


@pytest.fixture
def changed(shop: Workspace, tmp_path: Path) -> Workspace:  # noqa: F811
    """A shop with new products, boards, events and judgments, and a training of some seconds."""
    shop.settings.write_text(
        "[train]\nsteps = 60\nsave_every = 5\nwarm_steps = 30\nwarm_passes = 99\n"
    )
    put(shop, tmp_path, new="linen mirror", p00="velvet vase")
    boards(shop, tmp_path)
    told(shop)
    told(shop, grade=2.0)
    return shop


def start(workspace: Workspace) -> subprocess.Popen:
    command = [sys.executable, "-c", MAIN, "refresh", "--train", "-w", str(workspace.root)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)


def ended(workspace: Workspace) -> int:
    """How many steps of the refresh that is running have ended."""
    found = last_refresh(workspace)
    return len(found.steps) if found is not None and found.ended is None else 0


def state(workspace: Workspace) -> dict[str, Any]:
    """What users see: the catalogue, the live generation's content, the rankers' report."""
    tables = ("pins", "boards", "board_items", "engagements", "judgments")
    with closing(open_catalogue(workspace.catalogue).conn) as connection:
        found: dict[str, Any] = {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table in tables
        }
        found["vectors"] = connection.execute(
            "SELECT name, entity, rows, sha256, made_sha256 FROM item_vectors ORDER BY 1, 2"
        ).fetchall()
    manifest = Generation.open(workspace).manifest
    found["checkpoint"] = manifest["checkpoint"]
    found["index"] = {
        name: says["sha256"]
        for name, says in manifest["files"].items()
        if "/tantivy/" not in name and not name.startswith("encoder/")
    }
    folder = workspace.rankers / workspace.current_rankers.read_text().strip()
    report = orjson.loads((folder / "report.json").read_bytes())
    found["rankers"] = hashlib.sha256(orjson.dumps(report)).hexdigest()
    return found


def test_killed_at_any_moment(changed: Workspace, tmp_path: Path) -> None:
    whole = Workspace(tmp_path / "whole")
    shutil.copytree(changed.root, whole.root)
    process = start(whole)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    expected = state(whole)
    came_to = set()
    for moment in MOMENTS:
        copy = Workspace(tmp_path / "copy")
        shutil.copytree(changed.root, copy.root)
        process = start(copy)
        while process.poll() is None and ended(copy) < moment[0]:
            time.sleep(0.02)
        time.sleep(moment[1])
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = last_refresh(copy)
        if killed is not None and killed.ended is None:
            came_to.add(len(killed.steps))
        again = start(copy)
        _, errors = again.communicate(timeout=600)
        assert again.returncode == 0, errors
        found = state(copy)
        for part, value in expected.items():
            assert found[part] == value, (moment, part)
        assert not [path for path in copy.root.rglob(".*.tmp")]
        shutil.rmtree(copy.root)
    assert len(came_to) > 2, "the moments fall into one step"


def test_killed_again_and_again(changed: Workspace, tmp_path: Path) -> None:
    whole = Workspace(tmp_path / "whole")
    shutil.copytree(changed.root, whole.root)
    start(whole).communicate(timeout=600)
    for seconds in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0):
        process = start(changed)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(changed)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert state(changed) == state(whole)
