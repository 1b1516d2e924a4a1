"""/v1/experiments: reports are made beside the service, and nothing waits for them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from server_process import Server
from test_service_workers import wait_for

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import experiment_of
from omnisearch.service.serving import reports

WORDS = {"name": "words", "variants": {"control": {}, "words": {"system": "token"}}}


def test_a_report_is_made_beside_the_service(served: Workspace) -> None:
    with Server(served.root) as server:
        assert server.json("/v1/experiments") == {"experiments": []}
        status, _, body = server.get("/v1/experiments/words")
        assert status == 404 and "no experiment 'words'" in json.loads(body)["error"]["what"]
        store.create(served, experiment_of(WORDS, "test"))
        waiting = server.json("/v1/experiments/words")
        assert waiting["report"] is None and "not been started" in waiting["why_not"]
        store.start(served, "words")
        wait_for(lambda: server.json("/v1/search?q=dress&user=u1")["experiment"] is not None)
        time.sleep(1)  # the log is written every half second
        began = time.monotonic()
        first = server.json("/v1/experiments/words")
        assert first["making"] and first["report"] is None and first["age_seconds"] is None
        assert time.monotonic() - began < 1
        wait_for(lambda: not server.json("/v1/experiments/words")["making"], 30)
        found = server.json("/v1/experiments/words")
        assert sum(found["report"]["users"].values()) == 1 and found["why_not"] == ""
        assert found["age_seconds"] < 30
        [told] = server.json("/v1/experiments")["experiments"]
        assert told["state"] == "running" and told["variants"] == ["control", "words"]


def test_what_is_made_is_kept_and_a_failure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def made(root: Path, name: str) -> dict[str, object]:
        asked.append(name)
        await asyncio.sleep(0.05)
        if name == "broken":
            raise ValueError
        return {"report": {"made": len(asked)}}

    async def tried() -> None:
        monkeypatch.setattr(reports, "_in_a_process", made)
        kept = reports.Reports(tmp_path)
        assert kept.of("one") == (reports.Made(), True) and kept.of("one")[1]
        assert kept.of("broken")[1]
        await asyncio.sleep(0.3)
        assert asked == ["one", "broken"]
        assert kept.of("one")[0].report == {"made": 1} and not kept.of("one")[1]
        assert "could not be made" in kept.of("broken")[0].why_not
        monkeypatch.setattr(reports, "_FRESH", 0.0)
        stale, making = kept.of("one")
        assert stale.report == {"made": 1} and making  # shown until the newer one has come
        await kept.close()

    asyncio.run(tried())


def test_the_process_says_why_there_is_no_report(
    workspace: Workspace, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_catalogue(workspace.catalogue, create=True).conn.close()
    monkeypatch.setattr(reports.os, "nice", lambda _: 0)
    reports.main(str(workspace.root), "none")
    assert "There is no experiment 'none'" in json.loads(capfdbinary.readouterr().out)["why_not"]
