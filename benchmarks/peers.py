"""A whole search beside the hybrid searches of a Qdrant server and of LanceDB.

    OMNISEARCH_QDRANT=/usr/local/bin/qdrant python benchmarks/peers.py [--workspace demo]
        [--items 500000] [--queries 300] [--rounds 3]

All have the same items (pins and products), learned vectors, query vectors and texts, a graph of
the same breadth, and read their sources to a depth of 150; the queries are asked in turns of each.
Qdrant is a server on loopback with one collection, asked over gRPC by bare stubs: dense vectors and
the values of BM25, prefetched and fused by reciprocal rank. LanceDB has its vector and full-text
indexes and its reranker by reciprocal rank, in process. Both are given vectors, and Qdrant also the
words as keys; ours reads the text, looks the vector up in its cache on disk, has six sources,
exact cosines, both rankers, the blend, related queries and the texts. An engine is skipped if it is
not installed; Qdrant's program is named by the environment variable OMNISEARCH_QDRANT.

With --items the workspace is copied and grows to so many: each new item is one of its items with a
third of the words replaced by words of others, and its vectors moved by noise.

Prints p50 and p99 of a search by the wall, the processor milliseconds of the process that asks and
of the server, resident memory and bytes on disk an item, and recall@10 of the dense ranking against
exact search. Other programs move the wall more than the processor time: compare lines of one run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from peer_engines import (
    Asked,
    QdrantServer,
    fill_lance,
    lance,
    ours,
    qdrant,
    serve,
)
from peer_items import grown
from qdrant_process import processor_of

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.text.keys import term_keys
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.indexer.generation import ENCODER, Generation, folder_of

RECALLED = 10


@dataclass
class Peer:
    """One engine in a process of its own, and what was measured of it.

    Attributes:
        taken: kind of search → (wall, processor, the server's processor) seconds of each.
        server: the id of the server's process, if there is one.
    """

    name: str
    process: BaseProcess
    pipe: Connection
    kinds: list[str]
    folders: list[Path]
    server: int | None = None
    taken: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    found: dict[int, list[int]] = field(default_factory=dict)  # query → the dense ranking

    @property
    def pid(self) -> int:
        """The process that has the items."""
        return self.server or self.process.pid or 0

    def _served(self) -> float:
        return processor_of(self.server) if self.server else 0.0

    def ask(self, kind: str, number: int, counted: bool) -> None:
        before = self._served()
        self.pipe.send((kind, number))
        wall, processor, found = self.pipe.recv()
        if kind == "dense":
            self.found[number] = found
        if counted:
            served = self._served() - before
            self.taken.setdefault(kind, []).append((wall, processor, served))


def started(name: str, folders: list[Path], server: int | None, *given: Any) -> Peer:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, *given), daemon=True)
    process.start()
    there.close()
    return Peer(name, process, here, here.recv(), folders, server)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def on_disk(folders: list[Path]) -> int:
    """Bytes of the blocks of files and of all files in folders."""
    total = 0
    for path in (path for folder in folders for path in (folder, *folder.rglob("*"))):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except FileNotFoundError:  # a server removes what it has merged
            continue
    return total


def asked_of(workspace: Path, count: int) -> list[Asked]:
    """Queries of the log, drawn at random, with their vectors, which are then in the cache."""
    engine = SearchEngine.open(workspace)
    ids = engine.snapshot.generation.tables["query"].ids
    drawn = np.random.default_rng(0).choice(len(ids), min(count, len(ids)), replace=False)
    found = []
    for text in (ids[row] for row in drawn.tolist()):
        read = engine.snapshot.query(text)
        (vector,) = engine.cache.vectors(engine.snapshot.encoder, [read.text])
        counts = dict(zip(term_keys(read.terms).tolist(), read.terms.values(), strict=True))
        weights = [use.weight for use in counts.values()]
        found.append(Asked(text, vector, list(counts), weights))
    engine.close()
    return found


def opened(
    workspace: Path, scratch: Path, queries: list[Asked], stack: ExitStack
) -> Iterator[Peer]:
    generation = Generation.open(Workspace.open(workspace))
    folder = folder_of(Workspace.open(workspace), generation.number)
    parts = [path for path in folder.iterdir() if path.name != ENCODER]
    yield started("ours", parts, None, ours, workspace, queries)
    if not os.environ.get("OMNISEARCH_QDRANT") or importlib.util.find_spec("qdrant_client") is None:
        print("Qdrant is skipped: OMNISEARCH_QDRANT names no program, or qdrant-client is missing.")
    else:
        home = scratch / "qdrant"
        server = QdrantServer(home)
        stack.callback(server.node.stop)
        server.fill(generation)
        pid = server.node.pid
        yield started("Qdrant", [home], pid, qdrant, server.port, queries)
    if importlib.util.find_spec("lancedb") is None:
        print("LanceDB is skipped: the package lancedb is not installed.")
    else:
        home = scratch / "lance"
        fill_lance(home, generation)
        yield started("LanceDB", [home], None, lance, home, queries)


def recall(workspace: Path, queries: list[Asked], found: dict[int, list[int]]) -> float:
    """The share of the nearest items that are among the first found, equally near ones alike."""
    spaces = Generation.open(Workspace.open(workspace)).spaces
    vectors = np.concatenate(
        [np.asarray(spaces[entity, LEARNED].vectors) for entity in ITEM_ENTITIES]
    )
    shares = []
    for number, places in found.items():
        cosines = vectors @ queries[number].vector
        least = np.partition(cosines, -RECALLED)[-RECALLED] - 1e-6
        shares.append(np.count_nonzero(cosines[places[:RECALLED]] >= least) / RECALLED)
    return float(np.mean(shares))


def report(peers: list[Peer], items: int, workspace: Path, queries: list[Asked]) -> None:
    print(f"{items:,} items, {len(queries)} queries, {os.cpu_count()} cores", end="; ")
    print(f"load {os.getloadavg()[0]:.1f}")
    print(f"{'':60}{'p50 ms':>9}{'p99 ms':>9}{'processor ms':>14}{'of a server':>13}{'sum':>8}")
    for peer in peers:
        for kind, times in peer.taken.items():
            wall, processor, served = 1000 * np.array(times).T
            p50, p99 = np.percentile(wall, (50, 99))
            mine, its = processor.mean(), served.mean()
            print(
                f"{f'{peer.name}, {kind}':60}{p50:9.2f}{p99:9.2f}{mine:14.2f}"
                f"{its if peer.server else 0:13.2f}{mine + its:8.2f}"
            )
    print(f"{'':20}{'MB resident':>12}{'bytes an item':>15}{'bytes on disk':>15}{'recall@10':>11}")
    for peer in peers:
        memory, share = resident(peer.pid), recall(workspace, queries, peer.found)
        print(
            f"{peer.name:20}{memory / 1e6:12,.0f}{memory / items:15,.0f}"
            f"{on_disk(peer.folders) / items:15,.0f}{share:11.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--items", type=int, help="grow a copy of the workspace to so many")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="a folder for indexes, else a temporary one")
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.scratch)))
        workspace = options.workspace
        if options.items:
            workspace = grown(workspace, scratch / "workspace", options.items)
        queries = asked_of(workspace, options.queries)
        peers = list(opened(workspace, scratch, queries, stack))
        turns = [(peer, kind) for peer in peers for kind in peer.kinds]
        for turn in range(options.rounds + 1):
            for number in range(len(queries)):
                for peer, kind in turns:
                    peer.ask(kind, number, counted=turn > 0)  # the first fills caches
        tables = Generation.open(Workspace.open(workspace)).tables
        items = sum(len(tables[entity]) for entity in ITEM_ENTITIES)
        report(peers, items, workspace, queries)
        for peer in peers:
            peer.pipe.send(None)
            peer.process.join()


if __name__ == "__main__":
    main()
