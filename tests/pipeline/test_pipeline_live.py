"""Publishing again and again, as the service does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.indexer import increment
from omnisearch.indexer.generation import Generation
from omnisearch.pipeline.live import LiveIndex


def test_when_a_build_is_due_another_process_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnisearch.pipeline.encoder.installed", lambda name: False)
    monkeypatch.setattr(increment, "BUILD_ITEMS", 3)
    workspace = Workspace.create(tmp_path / "shop")
    file = tmp_path / "products.csv"

    def put(*ids: str) -> None:
        file.write_text("id,title\n" + "".join(f"{key},zebra rug\n" for key in ids), "utf-8")
        pipeline.import_files(workspace, [file])

    put(*(f"p{number}" for number in range(20)))
    pipeline.build_index(workspace)
    live = LiveIndex(workspace)
    assert not live.behind()
    put("new1", "new2")
    assert live.behind()
    live.publish()
    live.write_anew_if_due()
    assert Generation.open(workspace).manifest["segments"] == [1, 2]
    put("new3", "new4")
    live.publish()
    live.write_anew_if_due()
    deadline = time.monotonic() + 60
    while Generation.open(workspace).segments[0].number == 1:
        put(f"meanwhile{int(time.monotonic() * 10) % 1000}")
        live.publish()
        assert time.monotonic() < deadline
    live.publish()
    generation = Generation.open(workspace)
    assert not generation.manifest["build_due"] and not live.behind()
    ids = set(generation.tables["product"].ids)
    assert {"p0", "p19", "new1", "new4"} <= ids and any(key.startswith("mean") for key in ids)


def test_when_a_merge_is_due_another_process_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnisearch.pipeline.encoder.installed", lambda name: False)
    monkeypatch.setattr(increment, "_SMALL", 2)
    monkeypatch.setattr("omnisearch.pipeline.live._MOST", 4)
    workspace = Workspace.create(tmp_path / "shop")
    file = tmp_path / "products.csv"
    numbers = iter(range(1000))

    def put() -> None:
        file.write_text(f"id,title\nlive{next(numbers):03},zebra rug\n", "utf-8")
        pipeline.import_files(workspace, [file])

    put()
    pipeline.build_index(workspace)
    live = LiveIndex(workspace)
    deadline, ended, longest = time.monotonic() + 60, False, 0
    while not ended:
        put()
        live.publish()
        live.write_anew_if_due()
        segments = Generation.open(workspace).segments
        longest = max(longest, *(len(each.tables["product"]) for each in segments[1:]))
        ended = longest > 12  # which no publication has written
        assert time.monotonic() < deadline
    generation = Generation.open(workspace)
    assert generation.tables["product"].ids == [f"live{n:03}" for n in range(next(numbers))]


_STARTS_A_BUILD = """
import sys
from pathlib import Path
from omnisearch.data.workspace import Workspace
from omnisearch.pipeline.live import LiveIndex

live = LiveIndex(Workspace(Path(sys.argv[1])))
live._manifest = lambda number=None: {"build_due": True}
live.write_anew_if_due()
print(live._apart.pid, flush=True)
input()
"""


def test_a_build_ends_with_the_process_that_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = "import omnisearch.indexer.build as b, time; b.build = lambda *a: time.sleep(60)"
    (tmp_path / "sitecustomize.py").write_text(waiting, "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr("omnisearch.pipeline.encoder.installed", lambda name: False)
    workspace = Workspace.create(tmp_path / "shop")
    (tmp_path / "products.csv").write_text("id,title\np1,zebra rug\n", "utf-8")
    pipeline.import_files(workspace, [tmp_path / "products.csv"])
    pipeline.build_index(workspace)
    command = [sys.executable, "-c", _STARTS_A_BUILD, str(workspace.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        build = int(starter.stdout.readline())
        os.kill(starter.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while is_running(build):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False
