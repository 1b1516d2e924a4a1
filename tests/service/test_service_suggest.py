"""/v1/suggest: in time whatever searches do, and cheap for its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from server_process import Server

from omnisearch.data.workspace import Workspace
from omnisearch.service.config import ServiceConfig
from omnisearch.service.gate.guard import Rates
from omnisearch.service.routes.suggest import suggest_answer
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.serving import Serving


def test_the_answer(server: Server, a_title: str) -> None:
    title = a_title
    status, headers, body = server.get(f"/v1/suggest?q={quote(title[:-2])}")
    found = orjson.loads(body)
    assert status == 200 and headers["cache-control"] == "private, max-age=60"
    assert found["generation"] == 1 and found["query"] == title[:-2]
    first = found["suggestions"][0]
    assert first["text"].startswith(title[:-2]) and first["typos"] == 0
    assert first["highlights"] == [[0, len(title) - 2]] and first["filter"] is None
    through_routes = server.json(f"/v1/suggest?k=8&q={quote(title[:-2])}")
    assert through_routes["suggestions"] == found["suggestions"]
    assert server.json("/v1/suggest?q=l&k=50&language=en")["suggestions"]
    assert server.json("/v1/suggest?q=%20")["suggestions"] == []


@pytest.mark.parametrize(
    "query", ["", "q=", "q=a&k=0", "q=a&k=51", "q=a&language=German", "q=a&b=1"]
)
def test_what_cannot_be_answered(server: Server, query: str) -> None:
    status, _, body = server.get(f"/v1/suggest?{query}")
    assert status == 422 and orjson.loads(body)["error"]["what"]


@pytest.fixture
def stuck(trained: Workspace, tmp_path: Path) -> Iterator[Serving]:
    """A service of which every thread for searches is taken."""
    import shutil

    shutil.copytree(trained.root, tmp_path / "workspace")
    workspace, release = Workspace(tmp_path / "workspace"), threading.Event()
    counters = Counters(Counters.make(1, workspace.root), 1)
    serving = Serving(workspace, ServiceConfig(threads=1, waiting=1), counters, JsonLog())
    serving.open()

    async def take() -> None:
        serving.pool.run(release.wait, 60)
        serving.pool.run(release.wait, 60)

    asyncio.run(take())
    yield serving
    release.set()
    asyncio.run(serving.close())


def test_it_answers_while_searches_do_not(stuck: Serving) -> None:
    found = asyncio.run(asyncio.wait_for(suggest_answer(stuck, "l", 8, None, ""), 20))
    assert len(orjson.loads(found)["suggestions"]) == 8


def test_ten_of_them_count_as_one_request() -> None:
    from omnisearch.service.errors import Refusal

    rates = Rates(0.001, 2)
    for _ in range(10):
        rates.take("reader", 0.1)
    rates.take("reader")
    with pytest.raises(Refusal):
        rates.take("reader")
