"""Nodes that are killed, hang or are gone: no wrong answer, and what is left out is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
from networks import network
from qdrant_nodes import copied, need_program, running, settle_in

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.response import Response
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.cluster.nodes import Refused, Unreachable
from omnisearch.indexer.cluster.time_left import trips_until
from omnisearch.indexer.generation import live_number

sys.path.append(str(Path(__file__).parents[1] / "service"))
from server_process import Server

BROAD = EngineConfig(ef=2_000)
SECONDS = 2.5  # a request's time, less than a node may take by the settings


def process_of(url: str) -> int:
    """The process of a node."""
    peer = f"http://127.0.0.1:{int(url.rpartition(':')[2]) + 2}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:3] == [b"--uri", peer]:
            return int(path.parent.name)
    raise LookupError(url)


def ids(response: Response) -> list[tuple[str, str]]:
    return [(hit.entity, hit.id) for hit in response.hits]


def in_two_copies(trained: Workspace, root: Path, urls: list[str]) -> Workspace:
    """`trained` with a second build of the same, generation 2, that is twice in the nodes."""
    workspace = Workspace(root)
    shutil.copytree(trained.root, root)
    settle_in(workspace, urls, "copies", timeout=3.0)
    with workspace.settings.open("a") as settings:
        settings.write("replicas = 2\n")
    assert pipeline.build_index(workspace) == 2
    return workspace


def expected_of(workspace: Workspace, count: int) -> dict[str, list[tuple[str, str]]]:
    """So many queries, and what the local build answers."""
    local = SearchEngine.open(workspace, BROAD, number=1)
    known = local.snapshot.generation.tables["query"].ids
    chosen = np.random.default_rng(1).choice(len(known), count, False)
    return {known[at]: ids(local.search(known[at])) for at in chosen}


def ask(engine: SearchEngine, expected: dict[str, list[tuple[str, str]]]) -> None:
    """Ask all; each is answered in time, and with all sources."""
    for query, found in expected.items():
        start = time.monotonic()
        with trips_until(start + SECONDS):
            answer = engine.search(query)
        assert time.monotonic() - start < SECONDS
        assert not answer.degraded and ids(answer) == found


def test_without_any_node_the_answer_says_what_is_missing(
    trained: Workspace, tmp_path: Path
) -> None:
    need_program()
    with running(tmp_path / "nodes", 1) as urls:
        workspace = copied(trained, tmp_path / "workspace", urls, "gone")
        engine = SearchEngine.open(workspace, BROAD)
        assert not engine.search("dress").degraded
        collections = engine.snapshot.generation.segments[0].collections
        assert collections is not None
        collections.nodes.ask(methodcaller("delete_collection", "gone_2_pin"))
        assert "token_pins" in engine.search("dress").degraded
        with pytest.raises(NotReady, match="has no collection gone_2_pin"):
            SearchEngine.open(workspace)
        os.kill(process_of(urls[0]), signal.SIGKILL)
        answer = engine.search("dress")
        assert answer.hits == []
        assert {"token_pins", "token_products", "learned_pins"} <= set(answer.degraded)
        assert not answer.nothing_fits
        with pytest.raises(Unreachable, match="did not answer"):
            engine.rank("dress")  # an evaluation must not measure this
        with pytest.raises(NotReady, match="No node of the cluster answered"):
            SearchEngine.open(workspace)
        # The generation before it is in files.
        assert SearchEngine.open(workspace, number=1).search("dress").hits


@pytest.mark.slow
def test_a_node_killed_or_hanging_changes_no_answer(trained: Workspace, tmp_path: Path) -> None:
    need_program()
    with running(tmp_path / "nodes", 3) as urls:
        workspace = in_two_copies(trained, tmp_path / "workspace", urls)
        engine = SearchEngine.open(workspace, BROAD)
        expected = expected_of(workspace, 40)
        collections = engine.snapshot.generation.segments[0].collections
        assert collections is not None

        ask(engine, expected)
        for url in urls:  # one of them has no copy, and asks the others
            hanging = process_of(url)
            os.kill(hanging, signal.SIGSTOP)
            repeated = collections.nodes.repeated
            ask(engine, expected)
            os.kill(hanging, signal.SIGCONT)
            assert collections.nodes.repeated > repeated
        os.kill(hanging, signal.SIGKILL)
        ask(engine, expected)
        assert collections.nodes.failures > 0


@pytest.mark.slow
def test_a_network_cut_between_nodes_changes_no_answer(trained: Workspace, tmp_path: Path) -> None:
    """Whoever searches reaches all nodes, but one of these reaches no other."""
    need_program()
    with network(3) as net, running(tmp_path / "nodes", 3, net.places) as urls:
        workspace = in_two_copies(trained, tmp_path / "workspace", urls)
        engine = SearchEngine.open(workspace, BROAD)
        expected = expected_of(workspace, 20)
        collections = engine.snapshot.generation.segments[0].collections
        assert collections is not None
        ask(engine, expected)
        for alone in range(3):
            net.cut(alone)
            ask(engine, expected)
            net.mend()
        assert collections.nodes.repeated > 0  # one of them has no copy, and asks the others
        # A build has copies on the node that is alone, and gives up; or has none there.
        net.cut(0)
        usual = workspace.settings.read_text()
        workspace.settings.write_text(f"{usual}load_timeout = 10\n")
        with suppress(NotReady, Refused):
            pipeline.build_index(workspace)
        ask(engine, expected)
        net.mend()
        workspace.settings.write_text(usual)
        before = live_number(workspace)
        assert pipeline.build_index(workspace) > before
        ask(SearchEngine.open(workspace, BROAD), expected)


@pytest.mark.slow
def test_a_service_goes_on_from_a_cluster(trained: Workspace, tmp_path: Path) -> None:
    need_program()
    with running(tmp_path / "nodes", 1) as urls:
        workspace = copied(trained, tmp_path / "workspace", urls, "served")
        engine = SearchEngine.open(workspace)
        with Server(workspace.root) as server:
            answer = json.loads(server.get("/v1/search?q=dress&k=20")[2])
            assert [(hit["entity"], hit["id"]) for hit in answer["hits"]] == ids(
                engine.search("dress", 20)
            )
            assert answer["degraded"] == []
            os.kill(process_of(urls[0]), signal.SIGKILL)
            status, _, body = server.get("/v1/search?q=dress&k=20")
            assert status == 200 and "token_pins" in json.loads(body)["degraded"]
