"""When the model or a source is late, the answer comes from the others, and says so."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.engine.index import SourceRequest, SourceResult
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.sources import SOURCES
from omnisearch.service.config import ServiceConfig
from omnisearch.service.errors import Refusal
from omnisearch.service.searching import Search, search, users_search
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.serving import Serving


@pytest.fixture(scope="module")
def shared(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    import shutil

    folder = tmp_path_factory.mktemp("deadlines") / "workspace"
    shutil.copytree(trained.root, folder)
    workspace = Workspace(folder)
    counters = Counters(Counters.make(1, workspace.root), 1)
    serving = Serving(workspace, ServiceConfig(threads=2, waiting=2), counters, JsonLog())
    serving.open()
    yield serving
    asyncio.run(serving.close())


class SlowTower:
    """A model that takes its time."""

    def __init__(self, tower: Any, release: threading.Event) -> None:
        self.tower, self.release = tower, release
        self.checkpoint, self.dim = f"slow {time.monotonic()}", tower.dim

    def queries(self, texts: Any, batch_size: int = 256) -> np.ndarray:
        self.release.wait(20)
        return self.tower.queries(texts, batch_size)


@pytest.fixture
def late_model(shared: Serving) -> Iterator[Serving]:
    release = threading.Event()
    snapshot, tower = shared.snapshot, shared.snapshot.encoder
    object.__setattr__(snapshot, "encoder", SlowTower(tower, release))
    yield shared
    release.set()
    object.__setattr__(snapshot, "encoder", tower)


def hang(monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """Make one source hang until the event is set."""
    release, real, source = threading.Event(), LocalIndex._search, SOURCES[name]

    def search(self: LocalIndex, request: SourceRequest) -> SourceResult:
        if (request.entity, request.space) == (source.entity, source.space):
            release.wait(20)
        return real(self, request)

    monkeypatch.setattr(LocalIndex, "_search", search)
    return release


def test_a_late_model_leaves_the_token_sources(late_model: Serving) -> None:
    started = time.monotonic()
    found = asyncio.run(search(late_model, Search("kitchen rug", 1.0)))
    assert time.monotonic() - started < 1.0
    assert found.hits and found.cached is False
    assert set(found.degraded) == {
        *("query_embedding", "learned_pins", "learned_products"),
        *("pinsage_pins", "itemsage_products"),
    }


def test_each_degraded_answer_is_counted_once(
    late_model: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(wanted: Search) -> int:
        before = late_model.counters.fact("degraded")
        asyncio.run(users_search(late_model, wanted, "a-1"))
        return late_model.counters.fact("degraded") - before

    assert counted(Search("bathroom rug", 1.0, system="token")) == 0
    release = hang(monkeypatch, "token_products")
    try:
        assert counted(Search("bathroom rug", 2.0)) == 1
    finally:
        release.set()


def test_a_late_model_is_503_where_a_system_cannot_do_without(late_model: Serving) -> None:
    with pytest.raises(Refusal) as refused:
        asyncio.run(search(late_model, Search("kitchen rug", 0.5, system="embedding")))
    assert refused.value.status == 503 and refused.value.retry_after


def test_tokens_alone_do_not_wait_for_the_model(late_model: Serving) -> None:
    found = asyncio.run(search(late_model, Search("kitchen rug", 0.5, system="token")))
    assert found.hits and not found.degraded and found.cached is None


@pytest.mark.parametrize("name", ["learned_pins", "itemsage_products"])
def test_a_source_that_hangs_is_left_out(
    shared: Serving, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    release = hang(monkeypatch, name)

    async def ask() -> Any:
        return await search(shared, Search("kitchen rug", 2.5))

    started = time.monotonic()
    try:
        found = asyncio.run(ask())
        assert time.monotonic() - started < 5.0
        assert found.hits and name in found.degraded and "token_pins" not in found.degraded
    finally:
        release.set()
    whole = asyncio.run(search(shared, Search("kitchen rug", 20.0)))
    assert not whole.degraded and whole.generation == found.generation


def test_no_source_in_time_is_503(shared: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    release = hang(monkeypatch, "token_pins")
    try:
        with pytest.raises(Refusal) as refused:
            asyncio.run(search(shared, Search("kitchen rug", 0.5)))
        assert refused.value.status == 503
    finally:
        release.set()


def test_searches_that_would_wait_too_long_are_refused(
    shared: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = hang(monkeypatch, "token_pins")

    async def ask() -> list[Any]:
        asked = [search(shared, Search(f"lamp {i}", 1.0)) for i in range(12)]
        return await asyncio.gather(*asked, return_exceptions=True)

    try:
        answers = asyncio.run(ask())
    finally:
        release.set()
    assert all(isinstance(a, Refusal) and a.status == 503 for a in answers)
    assert any("wait for the engine" in a.what for a in answers)
    for _ in range(100):
        if not shared.pool.under_way:
            break
        time.sleep(0.05)
    assert asyncio.run(search(shared, Search("kitchen rug", 20.0))).hits
