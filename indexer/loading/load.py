"""Loading a build's segment into a cluster: one collection for each entity type.

A collection is filled without graphs and with one copy of each shard; then the graphs are built,
and at last the shards are copied to further nodes, graphs and all, so that all copies are equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

from omnisearch.data.workspace.files import sha256_file
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.names import MANIFEST, OWNER, WORDS, collection
from omnisearch.indexer.cluster.nodes import Nodes, Unreachable, plainly, wait_until
from omnisearch.indexer.loading.collections import create, drop, is_green, owned
from omnisearch.indexer.loading.copies import replicate
from omnisearch.indexer.loading.points import EntityPoints, sparse_of
from omnisearch.indexer.segment import GENERATION, Segment

if TYPE_CHECKING:
    from qdrant_client import grpc

_BATCH = 256  # points of one call
_AT_ONCE = 4  # calls that are on their way
_TRIES, _PAUSE = 3, 2.0  # how often they are tried, seconds in between
_THRESHOLD = 10_000  # kB of vectors from which a node builds a graph, as by its default


def stamp_of(segment: Segment) -> str:
    """The sha256 of the build's manifest, which complete collections of it carry."""
    return sha256_file(segment.folder / GENERATION.manifest)


def collections_of(config: ClusterConfig, segment: Segment) -> dict[str, EntityPoints]:
    """The name of each collection of a build → what its points are made of."""
    return {
        collection(config.name, segment.number, entity): EntityPoints.of(segment, entity)
        for entity in segment.tables
    }


def load(
    nodes: Nodes, config: ClusterConfig, segment: Segment, progress: Progress | None = None
) -> None:
    """Write the collections of a build. What an earlier load of the same number left is replaced.

    Args:
        progress: told of points that are written.

    Raises:
        Unreachable: a node does not answer. Refused: a node cannot do what it is asked.
        NotReady: the nodes do not complete a step within `[cluster] load_timeout`.
        InputError: another workspace has collections of the same name.
    """
    collections = collections_of(config, segment)
    total, done = sum(map(len, collections.values())), 0

    def step(points: int) -> None:
        nonlocal done
        done += points
        if progress:
            progress(done, total)

    with plainly():
        there = owned(nodes, config, segment.manifest.get(OWNER))
        drop(nodes, there.keys() & collections.keys())
        create(nodes, config, collections, segment.manifest)
        for name, points in collections.items():
            upload(nodes, name, points, step)
        build_graphs(nodes, config, list(collections))
        replicate(nodes, config, list(collections))
        for name in collections:
            note(nodes, name, {MANIFEST: stamp_of(segment)})


def note(nodes: Nodes, name: str, metadata: dict[str, object]) -> None:
    """Have a collection say something more of itself."""
    nodes.ask(lambda client: client.update_collection(name, metadata=metadata))


def upload(nodes: Nodes, name: str, points: EntityPoints, step: Callable[[int], None]) -> None:
    """Write the points of a collection; `step` is told how many more are there."""
    from qdrant_client import grpc

    def send(batch: list[grpc.PointStruct]) -> int:
        request = grpc.UpsertPoints(collection_name=name, points=batch, wait=True)
        seconds = nodes.config.load_timeout
        for left in reversed(range(_TRIES)):  # the same points again do no harm
            try:
                nodes.ask(lambda client: client.grpc_points.Upsert(request, timeout=seconds))
                break
            except Unreachable:
                if not left:
                    raise
                time.sleep(_PAUSE)
        return len(batch)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting: set[Future[int]] = set()
        for batch in _batches(points):
            waiting.add(pool.submit(send, batch))
            if len(waiting) > _AT_ONCE:
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for each in ended:
                    step(each.result())
        for each in waiting:
            step(each.result())


def _batches(points: EntityPoints) -> Iterator[list[grpc.PointStruct]]:
    from qdrant_client import grpc
    from qdrant_client.conversions.conversion import RestToGrpc

    payload = points.payloads()
    for start in range(0, len(points), _BATCH):
        places = np.arange(start, min(start + _BATCH, len(points)))
        found: list[dict[str, grpc.Vector]] = [{} for _ in places]
        for name, space in points.spaces.items():
            for at in np.flatnonzero(space.present[places]).tolist():
                found[at][name] = grpc.Vector(data=space.vectors[start + at].tolist())
        if points.terms:
            for vectors, (keys, values) in zip(found, sparse_of(points.terms, places), strict=True):
                indices = grpc.SparseIndices(data=keys.tolist())
                vectors[WORDS] = grpc.Vector(data=values.tolist(), indices=indices)
        yield [
            grpc.PointStruct(
                id=grpc.PointId(num=place),
                payload=RestToGrpc.convert_payload(payload(place)),
                vectors=grpc.Vectors(vectors=grpc.NamedVectors(vectors=vectors)),
            )
            for place, vectors in zip(places.tolist(), found, strict=True)
        ]


def build_graphs(nodes: Nodes, config: ClusterConfig, names: list[str]) -> None:
    """Have the nodes build the graphs, and wait until they are there."""
    from qdrant_client import models

    optimizers = models.OptimizersConfigDiff(indexing_threshold=_THRESHOLD)
    for name in names:
        nodes.ask(methodcaller("update_collection", name, optimizers_config=optimizers))

    def green() -> bool:
        return all(
            info.config.optimizer_config.indexing_threshold == _THRESHOLD and is_green(info)
            for client in nodes.clients
            for info in map(client.get_collection, names)
        )

    wait_until(config, "the graphs", green)
