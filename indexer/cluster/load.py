"""Loading a build's segment into a cluster: one collection for each entity type.

A collection is filled without graphs and with one copy of each shard; then the graphs are built,
and at last the shards are copied to further nodes, graphs and all, so that all copies are equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import sha256_file
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.names import (
    BOARDS,
    BRAND,
    COUNTRY,
    IS_AD,
    LANGUAGE,
    MANIFEST,
    PRICE,
    WORDS,
    code_fields,
    collection,
    number_fields,
)
from omnisearch.indexer.cluster.nodes import Nodes
from omnisearch.indexer.cluster.points import EntityPoints, sparse_of
from omnisearch.indexer.segment import GENERATION, Segment

if TYPE_CHECKING:
    from qdrant_client import grpc

_BATCH = 256  # points of one call
_AT_ONCE = 4  # calls that are on their way
_WAIT = 0.1  # seconds between two looks at what a node does
_THRESHOLD = 10_000  # kB of vectors from which a node builds a graph, as by its default


def stamp_of(segment: Segment) -> str:
    """The sha256 of the build's manifest, that complete collections of it carry."""
    return sha256_file(segment.folder / GENERATION.manifest)


def load(
    nodes: Nodes, config: ClusterConfig, segment: Segment, progress: Progress | None = None
) -> None:
    """Write the collections of a build. What an earlier load of the same number left is replaced.

    Args:
        progress: told of points that are written.

    Raises:
        Unreachable: no node answers.
        NotReady: a node does not complete a step in `[cluster] load_timeout`.
    """
    total, done = sum(map(len, segment.tables.values())), 0

    def step(points: int) -> None:
        nonlocal done
        done += points
        if progress:
            progress(done, total)

    for entity in segment.tables:
        name = collection(config.name, segment.number, entity)
        points = EntityPoints.of(segment, entity)
        _create(nodes, config, name, points, segment)
        _upload(nodes, name, points, step)
        _index(nodes, config, name)
    for entity in segment.tables:
        _replicate(nodes, config, collection(config.name, segment.number, entity))
    stamp = stamp_of(segment)
    for entity in segment.tables:
        name = collection(config.name, segment.number, entity)
        nodes.ask(
            lambda client, name=name: client.update_collection(name, metadata={MANIFEST: stamp})
        )


def _create(
    nodes: Nodes, config: ClusterConfig, name: str, points: EntityPoints, segment: Segment
) -> None:
    from qdrant_client import models

    options = segment.manifest["options"]
    int8 = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    )
    nodes.ask(lambda client: client.delete_collection(name))
    nodes.ask(
        lambda client: client.create_collection(
            name,
            vectors_config={
                space: models.VectorParams(
                    size=vectors.dim, distance=models.Distance.DOT, on_disk=config.int8
                )
                for space, vectors in points.spaces.items()
            },
            sparse_vectors_config={WORDS: models.SparseVectorParams()} if points.terms else {},
            hnsw_config=models.HnswConfigDiff(
                m=options["m"], ef_construct=options["ef_construction"]
            ),
            quantization_config=int8 if config.int8 else None,
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
            shard_number=config.shards or len(config.nodes),
            replication_factor=1,
        )
    )
    for field, schema in _schema(points).items():
        nodes.ask(
            lambda client, field=field, schema=schema: client.create_payload_index(
                name, field, schema
            )
        )


def _schema(points: EntityPoints) -> dict[str, Any]:
    """Field → how it is indexed."""
    from qdrant_client import models

    whole = models.IntegerIndexParams(
        type=models.IntegerIndexType.INTEGER, lookup=True, range=False
    )
    keyword, number = models.PayloadSchemaType.KEYWORD, models.PayloadSchemaType.FLOAT
    attributes = points.table.attributes
    return {
        **dict.fromkeys((LANGUAGE, COUNTRY, BRAND), keyword),
        PRICE: number,
        IS_AD: models.PayloadSchemaType.BOOL,
        BOARDS: whole,
        **dict.fromkeys(code_fields(attributes).values(), whole),
        **dict.fromkeys(number_fields(attributes).values(), number),
    }


def _upload(nodes: Nodes, name: str, points: EntityPoints, step: Callable[[int], None]) -> None:
    from qdrant_client import grpc

    def send(batch: list[grpc.PointStruct]) -> int:
        request = grpc.UpsertPoints(collection_name=name, points=batch, wait=True)
        nodes.ask(lambda client: client.grpc_points.Upsert(request))
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
        batch = []
        sparse = list(sparse_of(points.terms, places)) if points.terms else []
        for at, place in enumerate(places.tolist()):
            vectors = {
                space: grpc.Vector(data=held.vectors[place].tolist())
                for space, held in points.spaces.items()
                if held.present[place]
            }
            if sparse:
                keys, values = sparse[at]
                vectors[WORDS] = grpc.Vector(
                    data=values.tolist(), indices=grpc.SparseIndices(data=keys.tolist())
                )
            batch.append(
                grpc.PointStruct(
                    id=grpc.PointId(num=place),
                    payload=RestToGrpc.convert_payload(payload(place)),
                    vectors=grpc.Vectors(vectors=grpc.NamedVectors(vectors=vectors)),
                )
            )
        yield batch


def _index(nodes: Nodes, config: ClusterConfig, name: str) -> None:
    """Have the graphs built."""
    from qdrant_client import models

    optimizers = models.OptimizersConfigDiff(indexing_threshold=_THRESHOLD)
    nodes.ask(lambda client: client.update_collection(name, optimizers_config=optimizers))

    def green() -> bool:
        said = [client.get_collection(name).status for client in nodes.clients]
        return set(said) == {models.CollectionStatus.GREEN}

    _wait(config, f"the indexes of {name}", green)


def _replicate(nodes: Nodes, config: ClusterConfig, name: str) -> None:
    """Copy each shard to as many nodes as the settings say."""
    from qdrant_client import models

    if config.replicas < 2:
        return
    client = nodes.clients[0]
    status = client.cluster_status()
    peers = sorted(map(int, getattr(status, "peers", None) or {}))
    if len(peers) < 2:
        return
    info = client.collection_cluster_info(name)
    holders = _holders(info)
    for shard, having in holders.items():
        rest = [peer for peer in peers if peer not in having]
        rest = rest[shard % len(rest) :] + rest[: shard % len(rest)] if rest else []
        for peer in rest[: config.replicas - len(having)]:
            transfer = models.ReplicateShard(
                shard_id=shard,
                from_peer_id=having[0],
                to_peer_id=peer,
                method=models.ShardTransferMethod.SNAPSHOT,
            )
            client.cluster_collection_update(
                name, models.ReplicateShardOperation(replicate_shard=transfer)
            )
    wanted = min(config.replicas, len(peers))

    def whole() -> bool:
        info = client.collection_cluster_info(name)
        return not info.shard_transfers and all(
            len(having) == wanted for having in _holders(info).values()
        )

    _wait(config, f"the copies of {name}", whole)


def _holders(info: Any) -> dict[int, list[int]]:
    """Shard → the nodes that have an active copy of it."""
    found: dict[int, list[int]] = {}
    for shard in info.local_shards:
        if shard.state == "Active":
            found.setdefault(shard.shard_id, []).append(info.peer_id)
    for shard in info.remote_shards:
        if shard.state == "Active":
            found.setdefault(shard.shard_id, []).append(shard.peer_id)
    return found


def _wait(config: ClusterConfig, what: str, ready: Callable[[], bool]) -> None:
    """Wait until a step is done; raises NotReady if it takes too long."""
    until = time.monotonic() + config.load_timeout
    while not ready():
        if time.monotonic() > until:
            raise NotReady(
                f"The cluster did not complete {what} within {config.load_timeout:.0f} seconds.",
                where="[cluster] load_timeout",
                how="Raise it, or look at the nodes' logs.",
            )
        time.sleep(_WAIT)
