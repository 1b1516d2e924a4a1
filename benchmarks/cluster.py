"""A whole search in a cluster, by its trips, beside the local index and a plain hybrid query.

    OMNISEARCH_QDRANT=/usr/local/bin/qdrant python benchmarks/cluster.py [--workspace demo]
        [--nodes 3] [--shards 0] [--replicas 1] [--queries 300] [--rounds 2]

Starts so many Qdrant nodes on loopback, loads the live generation of a copy of the workspace into
them, and asks the same queries in turns of: the local index; the cluster, with whole searches (six
sources, exact cosines, rankers, related queries, texts); and the cluster with what is called a
hybrid query, dense and sparse vectors of the products prefetched to 150 and fused by rank, ids
alone.

Prints p50 and p99 by the wall, processor milliseconds of this process and of the nodes, what each
trip takes, the share of queries whose first 20 results are the same, the largest difference of
scores, and bytes an item. Nodes and this process share the machine: compare lines of one run. Ends
with 1 if fewer than 99% of the queries have the same first 20 results, or a score differs by more
than 0.001.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_process import Node, Place, processor_of, program, started

from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.cluster.names import WORDS, collection
from omnisearch.indexer.cluster.nodes import Nodes
from omnisearch.indexer.segment import QDRANT
from omnisearch.pipeline import build_index

K, DEPTH = 20, 150
BROAD = 3_000  # of graph searches whose results are compared: both find nearly all


class Timed:
    """Takes the time of each trip of the cluster's nodes."""

    def __init__(self, nodes: Nodes) -> None:
        self._together, self.taken = nodes.together, list[float]()
        nodes.together = self._timed  # type: ignore[method-assign]

    def _timed(self, method: str, requests: Sequence[Any]) -> list[Any]:
        start = time.perf_counter()
        found = self._together(method, requests)
        self.taken.append((time.perf_counter() - start) * 1000)
        return found


def hybrid(nodes: Nodes, name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], list[int]]:
    """Searches one collection by vector and words, fused by rank: the points of the best K."""
    from qdrant_client import grpc

    def search(vector: np.ndarray, keys: np.ndarray, counts: np.ndarray) -> list[int]:
        dense = grpc.VectorInput(dense=grpc.DenseVector(data=vector.tolist()))
        sparse = grpc.SparseVector(values=counts.tolist(), indices=keys.tolist())
        request = grpc.QueryPoints(
            collection_name=name,
            prefetch=[
                grpc.PrefetchQuery(query=grpc.Query(nearest=dense), using=LEARNED, limit=DEPTH),
                grpc.PrefetchQuery(
                    query=grpc.Query(nearest=grpc.VectorInput(sparse=sparse)),
                    using=WORDS,
                    limit=DEPTH,
                ),
            ],
            query=grpc.Query(fusion=grpc.Fusion.RRF),
            limit=K,
        )
        (answer,) = nodes.together("Query", [request])
        return [point.id.num for point in answer.result]

    return search


def line(name: str, wall: list[float], own: float, theirs: float) -> str:
    shares = "".join(f"{np.percentile(wall, share):9.2f}" for share in (50, 99))
    return f"{name:34}{shares}{own:11.2f}{theirs:11.2f}"


def measured(
    queries: list[str],
    kinds: dict[str, Callable[[str], object]],
    nodes: list[Node],
    rounds: int,
) -> dict[str, tuple[list[float], float, float]]:
    """Of each kind the wall milliseconds, and the mean processor milliseconds here and of nodes."""
    wall: dict[str, list[float]] = {kind: [] for kind in kinds}
    own, theirs = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    for number in range(rounds + 1):
        for query in queries:
            for kind, ask in kinds.items():
                before = sum(processor_of(node.pid) for node in nodes)
                spent, start = time.process_time(), time.perf_counter()
                ask(query)
                took = (time.perf_counter() - start) * 1000
                if number:  # the first round warms up
                    wall[kind].append(took)
                    own[kind] += time.process_time() - spent
                    theirs[kind] += sum(processor_of(node.pid) for node in nodes) - before
    mean = 1000 / (rounds * len(queries))
    return {kind: (wall[kind], own[kind] * mean, theirs[kind] * mean) for kind in kinds}


def compared(local: SearchEngine, far: SearchEngine, queries: list[str]) -> bool:
    """Print how alike the results are where graph searches find nearly all; whether enough."""
    config = EngineConfig(ef=BROAD)
    here, there = (engine.at(engine.snapshot) for engine in (local, far))
    here.config = there.config = config
    same, worst = 0, 0.0
    for query in queries:
        a, b = here.search(query, K).hits, there.search(query, K).hits
        same += [(hit.entity, hit.id) for hit in a] == [(hit.entity, hit.id) for hit in b]
        scores = {(hit.entity, hit.id): hit.score for hit in a}
        both = [hit for hit in b if (hit.entity, hit.id) in scores]
        worst = max([worst, *(abs(scores[hit.entity, hit.id] - hit.score) for hit in both)])
    print(
        f"first {K} the same, at ef {BROAD:,}: {same} of {len(queries)} queries; "
        f"largest difference of scores {worst:.1e}"
    )
    return same >= 0.99 * len(queries) and worst <= 1e-3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Path(folder), [Place()] * options.nodes, program()) as nodes,
    ):
        local = SearchEngine.open(options.workspace)
        shutil.copytree(options.workspace, Path(folder) / "workspace", symlinks=True)
        workspace = Workspace(Path(folder) / "workspace")
        os.environ["OMNISEARCH_CLUSTER_URLS"] = " ".join(node.url for node in nodes)
        os.environ["OMNISEARCH_CLUSTER_TIMEOUT"] = "30"
        os.environ["OMNISEARCH_CLUSTER_SHARDS"] = str(options.shards)
        os.environ["OMNISEARCH_CLUSTER_REPLICAS"] = str(options.replicas)
        start = time.perf_counter()
        build_index(workspace, backend=QDRANT)
        far = SearchEngine.open(workspace)
        print(f"built and loaded in {time.perf_counter() - start:.1f} s, {options.nodes} nodes")
        return 0 if report(local, far, nodes, options) else 1


def report(
    local: SearchEngine, far: SearchEngine, nodes: list[Node], options: argparse.Namespace
) -> bool:
    """Measure and print; whether both engines' results are alike."""
    build = far.snapshot.generation.segments[0]
    assert build.collections is not None
    spoken = build.collections.nodes
    ids = far.snapshot.generation.tables["query"].ids
    rng = np.random.default_rng(0)
    queries = [ids[at] for at in rng.choice(len(ids), min(options.queries, len(ids)), False)]
    for engine in (local, far):
        engine.warm(queries)
    items = sum(len(table) for table in build.tables.values())
    stored = sum(node.bytes for node in nodes)
    print(f"{items:,} items and queries; {stored / items:,.0f} bytes each in the nodes' folders")
    alike = compared(local, far, queries)
    plain = hybrid(spoken, collection(spoken.config.name, build.number, "product"))
    timed = Timed(spoken)
    given: dict[str, Any] = {}
    tokens = build.tokens["product"]
    for text in queries:
        query = far.snapshot.query(text)
        vector, _ = far.cache.vector(far.snapshot.encoder, query.text)
        asked = tokens.asked(query.terms, DEPTH, tokens.statistics)  # type: ignore[attr-defined]
        empty = np.zeros(0, np.uint32), np.zeros(0, np.float32)
        given[text] = (vector, *((asked.keys, asked.vector) if asked else empty))
    kinds: dict[str, Callable[[str], object]] = {
        "local, whole": lambda text: local.search(text, K),
        "cluster, whole": lambda text: far.search(text, K),
        "cluster, plain hybrid query": lambda text: plain(*given[text]),
    }
    found = measured(queries, kinds, nodes, options.rounds)
    print(f"\n{'ms':34}{'p50':>9}{'p99':>9}{'processor':>11}{'of nodes':>11}")
    for kind, each in found.items():
        print(line(kind, *each))
    middle = {kind: statistics.median(each[0]) for kind, each in found.items()}
    whole, basis = middle["cluster, whole"], middle["cluster, plain hybrid query"]
    print(f"whole over plain hybrid, p50: {whole / basis:.1f} times")
    timed.taken.clear()
    trips = []
    for query in queries:
        far.search(query, K)
        trips.append(list(timed.taken))
        timed.taken.clear()
    for number in range(max(map(len, trips))):
        each = [one[number] for one in trips if len(one) > number]
        name = ("rankings of all sources", "exact cosines")[number] if number < 2 else "a further"
        print(f"trip {number + 1}, {name}: p50 {statistics.median(each):.2f} ms of {len(each)}")
    return alike


if __name__ == "__main__":
    sys.exit(main())
