"""Services over a cluster beside the local index, while nodes and services fail under load.

    OMNISEARCH_QDRANT=/usr/local/bin/qdrant python benchmarks/cluster_services.py
        [--workspace demo] [--queries 300] [--seconds 60] [--clients 4]

Starts three Qdrant nodes and two services over a copy of the workspace, whose live generation is
built into the nodes with two copies of each shard. First the services' answers to the queries are
compared with the local index's, where graph searches find nearly all. Then clients go on asking,
each the other service if one does not answer, while a node is killed and comes back, another hangs,
and a service is killed and comes back.

Prints how many answers were the same; and under load, by what happened, how many there were, how
many were wrong, lacked a source and said so, or did not come, with p50 and p99 by the wall. Ends
with 1 if one was wrong or did not come.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from qdrant_process import Node, Place, program, started
from service_process import OmniSearch

from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.segment import QDRANT
from omnisearch.pipeline import build_index

K = 20
BROAD = 3_000  # of graph searches: both find nearly all
Item = tuple[str, str]


@dataclass
class Answers:
    """What clients saw while one thing happened."""

    wrong: int = 0
    degraded: int = 0
    failed: int = 0
    taken: list[float] = field(default_factory=list)

    def told(self, name: str) -> str:
        taken = self.taken or [float("nan")]
        times = "".join(f"{np.percentile(taken, share):9.0f}" for share in (50, 99))
        counts = f"{len(self.taken):9}{self.wrong:8}{self.degraded:10}{self.failed:8}"
        return f"{name:32}{counts}{times}"


class Clients:
    """Threads that ask services in turns; what they see is counted in `now`."""

    def __init__(self, ports: list[int], expected: dict[str, list[Item]], count: int) -> None:
        self.ports, self.expected, self.now = ports, expected, Answers()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(at,)) for at in range(count)]
        for thread in self._threads:
            thread.start()

    def _go(self, number: int) -> None:
        queries = list(self.expected)
        for turn in range(sys.maxsize):
            if self._stop.is_set():
                return
            query = queries[(turn * len(self._threads) + number) % len(queries)]
            start = time.perf_counter()
            answer = asked(self.ports, turn + number, query)
            took = (time.perf_counter() - start) * 1000
            with self._lock:
                self.now.taken.append(took)
                if answer is None:
                    self.now.failed += 1
                elif answer["degraded"]:
                    self.now.degraded += 1
                elif items(answer) != self.expected[query]:
                    self.now.wrong += 1

    def during(self, seconds: float) -> Answers:
        """What they see in so many seconds."""
        with self._lock:
            self.now = Answers()
        time.sleep(seconds)
        return self.now

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def items(answer: dict) -> list[Item]:
    return [(hit["entity"], hit["id"]) for hit in answer["hits"]]


def asked(ports: list[int], turn: int, query: str) -> dict | None:
    """The answer of the service whose turn it is, or of another; None if none answers."""
    words = urllib.parse.urlencode({"q": query, "k": K})
    for step in range(len(ports)):
        url = f"http://127.0.0.1:{ports[(turn + step) % len(ports)]}/v1/search?{words}"
        try:
            with urllib.request.urlopen(url, timeout=30) as body:
                return json.loads(body.read())
        except OSError:
            continue
    return None


def killed(service: OmniSearch) -> None:
    """Kill a service with its workers."""
    for pid in (service.process.pid, *service.pids):
        os.kill(pid, signal.SIGKILL)
    service.process.wait()


def under_load(
    services: list[OmniSearch],
    nodes: list[Node],
    again: Callable[[], OmniSearch],
    expected: dict[str, list[Item]],
    options: argparse.Namespace,
) -> bool:
    """Let things happen one after another, and print what clients see of each; whether every
    answer came and was right."""
    clients = Clients([each.port for each in services], expected, options.clients)
    seconds = options.seconds / 6
    print(
        f"\n{'':32}{'answers':>9}{'wrong':>8}{'degraded':>10}{'failed':>8}{'p50 ms':>9}{'p99':>9}"
    )

    def came_back() -> None:
        services[0] = again()
        clients.ports[0] = services[0].port

    happens: list[tuple[str, Callable[[], object]]] = [
        ("all are there", lambda: None),
        ("a node was killed", lambda: nodes[2].stop()),
        ("it is back", lambda: nodes[2].start()),
        ("another hangs", lambda: os.kill(nodes[1].pid, signal.SIGSTOP)),
        ("it goes on", lambda: os.kill(nodes[1].pid, signal.SIGCONT)),
        ("a service was killed", lambda: killed(services[0])),
        ("it is back", came_back),
    ]
    right = True
    try:
        for name, happen in happens:
            happen()
            seen = clients.during(seconds)
            right &= not (seen.wrong or seen.failed)
            print(seen.told(name), flush=True)
    finally:
        os.kill(nodes[1].pid, signal.SIGCONT)
        clients.end()
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Path(folder), [Place()] * 3, program()) as nodes,
    ):
        shutil.copytree(options.workspace, Path(folder) / "workspace", symlinks=True)
        workspace = Workspace(Path(folder) / "workspace")
        config = EngineConfig(ef=BROAD)
        local = SearchEngine.open(workspace, config)
        ids = local.snapshot.generation.tables["query"].ids
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(ids), min(options.queries, len(ids)), replace=False)
        expected = {}
        for at in chosen.tolist():
            hits = local.search(ids[at], K).hits
            expected[ids[at]] = [(hit.entity, hit.id) for hit in hits]
        os.environ |= {
            "OMNISEARCH_CLUSTER_URLS": " ".join(node.url for node in nodes),
            "OMNISEARCH_CLUSTER_REPLICAS": "2",
            "OMNISEARCH_ENGINE_EF": str(BROAD),
            "OMNISEARCH_SERVICE_DEADLINE_MS": "20000",  # a busy machine must not leave anything out
        }
        build_index(workspace, backend=QDRANT)

        def again() -> OmniSearch:
            return OmniSearch(workspace.root, 1)

        services = [again(), again()]
        try:
            ports = [each.port for each in services]
            found = [asked(ports, turn, query) for turn, query in enumerate(expected)]
            same = sum(
                answer is not None and not answer["degraded"] and items(answer) == expected[query]
                for answer, query in zip(found, expected, strict=True)
            )
            print(f"three nodes, two services: first {K} the same for {same} of {len(expected)}")
            return 0 if under_load(services, nodes, again, expected, options) else 1
        finally:
            for service in services:
                service.stop()


if __name__ == "__main__":
    sys.exit(main())
