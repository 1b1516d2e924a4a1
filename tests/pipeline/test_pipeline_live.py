"""Publishing again and again, as the service does."""

from __future__ import annotations

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
    live.build_if_due()
    assert Generation.open(workspace).manifest["segments"] == [1, 2]
    put("new3", "new4")
    live.publish()
    live.build_if_due()
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
