"""A request's time bounds its trips to nodes that hang, and the answer says what it is without."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from qdrant_nodes import asked, copied, need_program, running
from test_cluster_faults import process_of

from omnisearch.engine.filters import Filters
from omnisearch.engine.sources import RELATED, SOURCES
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.nodes import Nodes, Unreachable
from omnisearch.indexer.cluster.time_left import trips_until
from omnisearch.service.config import ServiceConfig
from omnisearch.service.routes.operations import prometheus
from omnisearch.service.searching import Search, read_in_time, search
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.serving import Serving

SECONDS = 2.5  # a request's time; a node may take 20 s by the settings
FOUND = {name for name, source in SOURCES.items() if source.search is None}


def stop(process: int) -> None:
    """Suspend a process; returns when none of its threads can answer any more."""
    os.kill(process, signal.SIGSTOP)
    threads = Path(f"/proc/{process}/task")
    while any(
        (each / "stat").read_text().rpartition(")")[2].split()[0] != "T"
        for each in threads.iterdir()
    ):
        time.sleep(0.001)


class Hanging:
    """A service over one node that can be made to hang before any of a request's trips."""

    def __init__(self, serving: Serving, url: str) -> None:
        self.serving, self._process = serving, process_of(url)
        collections = serving.snapshot.generation.segments[0].collections
        assert collections is not None
        self._nodes = collections.nodes

    @contextmanager
    def before(self, trip: int) -> Iterator[None]:
        """The node hangs from the so manieth trip on; 1 is the first."""
        real, made = self._nodes.together, 0

        def together(method: str, requests: Sequence[Any]) -> list[Any]:
            nonlocal made
            made += 1
            if made == trip:
                stop(self._process)
            return real(method, requests)

        self._nodes.together = together  # type: ignore[method-assign]
        try:
            yield
        finally:
            self._nodes.together = real  # type: ignore[method-assign]
            os.kill(self._process, signal.SIGCONT)

    def ask(self, query: str, **more: Any) -> Any:
        """The answer, which must come in time, and must leave no thread waiting."""

        async def asked() -> Any:
            start = time.monotonic()
            found = await search(self.serving, Search(query, SECONDS, **more))
            assert time.monotonic() - start < SECONDS
            assert not self.serving.pool.under_way
            return found

        return asyncio.run(asked())


@pytest.fixture(scope="module")
def hanging(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hanging]:
    need_program()
    folder = tmp_path_factory.mktemp("deadlines")
    with running(folder / "nodes", 1) as urls:
        workspace = copied(trained, folder / "workspace", urls, "late")
        counters = Counters(Counters.make(1, workspace.root), 1)
        serving = Serving(workspace, ServiceConfig(threads=2, waiting=2), counters, JsonLog())
        serving.open()
        yield Hanging(serving, urls[0])
        asyncio.run(serving.close())


def test_sources_that_are_late_are_named(hanging: Hanging) -> None:
    with hanging.before(1):
        found = hanging.ask("kitchen rug")
    assert set(found.degraded) == {*FOUND, RELATED.name}
    assert not found.hits and not found.nothing_fits
    whole = hanging.ask("kitchen rug")
    assert whole.hits and not whole.degraded


def test_without_cosines_the_results_are_fused_by_rank(hanging: Hanging) -> None:
    with hanging.before(2):
        found = hanging.ask("kitchen rug")
    assert found.degraded == ["cosines"]
    assert found.hits and found.related


def test_spelling_that_is_late_blocks_nobody_and_leaves_time(hanging: Hanging) -> None:
    query = "abstract shpaes spooky beauty"

    async def longest_pause(asked: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
        """The answer, and for how long the event loop did nothing else."""
        task, last, longest = asyncio.ensure_future(asked()), time.monotonic(), 0.0
        while not task.done():
            await asyncio.sleep(0.01)
            last, longest = time.monotonic(), max(longest, time.monotonic() - last)
        return task.result(), longest

    with hanging.before(1):
        read, longest = asyncio.run(
            longest_pause(lambda: read_in_time(hanging.serving, query, SECONDS))
        )
    assert read.query.unspelled and read.query.text == read.query.typed
    assert read.query.vector is not None  # there was time left for the model
    assert longest < 0.3 * SECONDS - 0.1
    with hanging.before(1):
        assert "spelling" in hanging.ask(query).degraded
    whole = hanging.ask(query)
    assert whole.searched == "abstract shapes spooky beauty" and not whole.degraded


def test_a_cluster_that_is_late_does_not_say_that_nothing_fits(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = hanging.serving.snapshot
    manifest = snapshot.generation.segments[0].manifest
    monkeypatch.setitem(manifest, "floor", {"cosine": 1.5})  # of no item
    assert hanging.ask("xqzvw kjhgf").nothing_fits
    with hanging.before(2):
        found = hanging.ask("xqzvw kjhgf")
    assert not found.nothing_fits and "nothing_fits" in found.degraded


def test_facets_are_not_counted_by_half(hanging: Hanging) -> None:
    # No item has the word, so that what the sources return without the filter is counted.
    brand = hanging.serving.snapshot.index.attributes.named("brand").values[0]
    asked = {"filters": Filters(brand=brand), "facets": ("brand",)}
    assert hanging.ask("xqzvw", **asked).facets
    with hanging.before(3):
        found = hanging.ask("xqzvw", **asked)
    assert found.facets == [] and "facets" in found.degraded


def test_metrics_tell_how_often_nodes_failed_and_others_were_asked_as_well(
    hanging: Hanging,
) -> None:
    serving, counters = hanging.serving, hanging.serving.counters
    nodes = serving.snapshot.generation.segments[0].collections.nodes
    counters.put("pid", 1)
    with patch.object(nodes, "failures", 3), patch.object(nodes, "repeated", 5):
        serving._beat()
    told = prometheus(counters).splitlines()
    assert 'omnisearch_worker_node_failures_total{worker="0"} 3' in told
    assert 'omnisearch_worker_node_repeats_total{worker="0"} 5' in told


def test_an_evaluation_does_not_measure_what_has_no_cosines(hanging: Hanging) -> None:
    engine = hanging.serving.engine
    with (
        hanging.before(2),
        trips_until(time.monotonic() + SECONDS),
        pytest.raises(Unreachable, match="did not answer for cosines"),
    ):
        engine.rank("kitchen rug")


@contextmanager
def silent() -> Iterator[str]:
    """The URL of a node that takes connections, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1] - 1}"


def test_another_node_is_asked_before_the_time_of_a_request_is_over(
    clustered: Any, node: list[str]
) -> None:
    from qdrant_client import grpc

    request = grpc.GetPoints(
        collection_name="clustered_2_pin", ids=[grpc.PointId(num=each) for each in (1, 2)]
    )
    seconds = 4.0
    with silent() as mute, asked([mute, node[0]], "clustered", timeout=60.0) as nodes:
        for _ in range(2):  # each of the two is the first to be asked once
            start = time.monotonic()
            with trips_until(start + seconds):
                found = nodes.together("Get", [request, request])
            assert [len(each.result) for each in found] == [2, 2]
            assert time.monotonic() - start < seconds
        assert nodes.repeated == 1
        assert nodes.failures == 0


def test_what_a_node_refuses_is_not_asked_of_another(node: list[str]) -> None:
    from qdrant_client import grpc

    request = grpc.GetPoints(collection_name="no_such_collection", ids=[grpc.PointId(num=1)])
    with silent() as mute, asked([mute, node[0]], "none", timeout=60.0) as nodes:
        with pytest.raises(Unreachable, match="no_such_collection"):
            nodes.together("Get", [request])
        assert nodes.repeated == nodes.failures == 0


def test_a_node_is_left_alone_if_it_is_silent_and_not_if_a_request_is_short_of_time() -> None:
    pytest.importorskip("qdrant_client")
    from qdrant_client import grpc

    request = grpc.QueryBatchPoints(collection_name="any")
    with silent() as url:
        nodes = Nodes(ClusterConfig(urls=url, timeout=0.6))

        def ask(seconds: float) -> float:
            start = time.monotonic()
            with trips_until(start + seconds), pytest.raises(Unreachable):
                nodes.together("QueryBatch", [request])
            return time.monotonic() - start

        assert ask(0.2) < 0.5
        assert nodes.failures == 0
        time.sleep(0.4)
        ask(0.2)
        assert nodes.failures == 1
        assert 0.5 < ask(60.0) < 3.0  # the setting is less
        with trips_until(time.monotonic() + 0.2):
            assert ask(60.0) < 0.5  # the one around it ends earlier
        assert ask(-1.0) < 0.1
        nodes.close()
