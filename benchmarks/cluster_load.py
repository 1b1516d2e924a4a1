"""Loading a build into Qdrant nodes: points a second, seconds until green, bytes an item.

    python benchmarks/cluster_load.py --urls http://127.0.0.1:6333 [--rows 20000] [--dim 256]
        [--replicas 1] [--int8] [--folders STORAGE ...]

Loads synthetic pins, with the words and vectors of `benchmarks/index.py`, and verifies them. Prints
for each step its seconds, and the processor seconds here; with `--folders`, the nodes' storage
folders on this machine, also the bytes on disk for each item. Without a node it says so and ends.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from index import Vectors, fill

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.nodes import Nodes
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.loading import load as loading
from omnisearch.indexer.loading.collections import drop
from omnisearch.indexer.loading.verify import verify
from omnisearch.indexer.segment import Segment

NAME = "benchmark-of-loading"
M, EF = 16, 150


@contextmanager
def timed(what: str) -> Iterator[None]:
    start, spent = time.perf_counter(), time.process_time()
    yield
    seconds, here = time.perf_counter() - start, time.process_time() - spent
    print(f"{what:38} {seconds:8.1f} s {here:8.1f} processor s here")


def synthetic(folder: Path, rows: int, dim: int) -> Segment:
    """A build of synthetic pins; its own graphs are poor, since they are not looked at."""
    workspace = Workspace.create(folder / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    with closing(db.conn):
        fill(db, rows)
        build(workspace, db, Vectors(rows, dim), BuildOptions(m=2, ef_construction=4, recall_ef=1))
    segment = Generation.open(workspace, verify=False).segments[0]
    options = {"m": M, "ef_construction": EF, "recall_ef": EF}
    return replace(segment, manifest={**segment.manifest, "options": options})


def bytes_in(folders: list[Path]) -> int:
    blocks = (path.stat().st_blocks for folder in folders for path in folder.rglob("*"))
    return 512 * sum(blocks)


def steps(nodes: Nodes, segment: Segment, folders: list[Path]) -> None:
    """Load as `load` does, and say what each step takes."""
    config = nodes.config
    collections = loading.collections_of(config, segment)
    points = sum(map(len, collections.values()))
    before = bytes_in(folders)
    with timed("collections and their fields"):
        loading.create(nodes, config, collections, segment.manifest)
    start = time.perf_counter()
    with timed("upload"):
        for name, each in collections.items():
            loading.upload(nodes, name, each, lambda points: None)
    print(f"{'points a second':38} {points / (time.perf_counter() - start):8.0f}")
    with timed("graphs, until green"):
        loading.build_graphs(nodes, config, list(collections))
    with timed("copies"):
        loading.replicate(nodes, config, list(collections))
    for name in collections:
        loading.note(nodes, name, {loading.MANIFEST: loading.stamp_of(segment)})
    with timed("verify"):
        checked = verify(nodes, config, segment)
    for name, spaces in checked.recall.items():
        for space, recall in spaces.items():
            print(f"recall of {name} {space}: {recall['recall']}")
    print(*checked.problems, sep="\n")
    if folders:
        print(f"{'bytes on disk for each item':38} {(bytes_in(folders) - before) / points:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--urls", default="", help="of the nodes, separated by spaces")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--folders", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if not options.urls:
        print("No node: start Qdrant and give --urls.")
        return
    config = ClusterConfig(
        urls=options.urls, name=NAME, replicas=options.replicas, int8=options.int8
    )
    with tempfile.TemporaryDirectory() as folder, closing(Nodes(config)) as nodes:
        segment = synthetic(Path(folder), options.rows, options.dim)
        names = loading.collections_of(config, segment)
        drop(nodes, names)
        try:
            steps(nodes, segment, options.folders)
        finally:
            drop(nodes, names)


if __name__ == "__main__":
    main()
