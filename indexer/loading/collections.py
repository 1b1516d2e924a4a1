"""The collections of a workspace in a cluster: made for a build, dropped with it."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from omnisearch.data.workspace.errors import InputError
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.names import (
    BOARDS,
    BRAND,
    COUNTRY,
    IS_AD,
    LANGUAGE,
    OWNER,
    PRICE,
    WORDS,
    code_fields,
    number_fields,
    number_of,
)
from omnisearch.indexer.cluster.nodes import Nodes, wait_until
from omnisearch.indexer.loading.points import EntityPoints

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_OF_A_SHARD = 500_000  # points, at least
_FIELDS_AT_ONCE = 16  # the nodes agree on each, which takes them a while


def metadata_of(client: QdrantClient, name: str) -> dict[str, Any]:
    """What a collection says of itself."""
    return client.get_collection(name).config.metadata or {}


def is_green(info: Any) -> bool:
    """Whether a node has nothing more to do for a collection, of what it says of it."""
    return bool(info.status.value == "green")


def owned(nodes: Nodes, config: ClusterConfig, owner: str | None) -> dict[str, int]:
    """The collections that builds of a workspace made → the number of the build.

    Raises:
        InputError: another workspace has collections of that name.
    """

    def those(client: QdrantClient) -> dict[str, int]:
        there = [each.name for each in client.get_collections().collections]
        found = number_of(config.name, there)
        for name in found:
            if metadata_of(client, name).get(OWNER) != owner:
                raise InputError(
                    f"The collection {name} in the cluster belongs to another workspace.",
                    where="[cluster] name",
                    how="Give each workspace a name of its own, or delete the collection.",
                )
        return found

    return nodes.ask(those)


def drop(nodes: Nodes, names: Collection[str]) -> None:
    """Delete collections; those that do not exist are passed over."""
    for name in names:
        nodes.ask(methodcaller("delete_collection", name))


def create(
    nodes: Nodes, config: ClusterConfig, points: dict[str, EntityPoints], says: dict[str, Any]
) -> None:
    """Create the collections of a build, without graphs as yet, and with one copy of each shard.

    Args:
        points: by the collection's name. says: the build's manifest.
    """
    schemas = {name: schema_of(each) for name, each in points.items()}
    fields = [(name, *field) for name, schema in schemas.items() for field in schema.items()]

    def there() -> bool:
        return all(client.collection_exists(name) for client in nodes.clients for name in points)

    def indexed() -> bool:
        return all(
            len(client.get_collection(name).payload_schema) == len(schema)
            for client in nodes.clients
            for name, schema in schemas.items()
        )

    with ThreadPoolExecutor(_FIELDS_AT_ONCE) as pool:
        list(pool.map(lambda name: _create(nodes, config, name, points[name], says), points))
        wait_until(config, "the collections on all nodes", there)
        list(
            pool.map(lambda field: nodes.ask(methodcaller("create_payload_index", *field)), fields)
        )
        wait_until(config, "the fields of the collections on all nodes", indexed)


def _create(
    nodes: Nodes, config: ClusterConfig, name: str, points: EntityPoints, says: dict[str, Any]
) -> None:
    from qdrant_client import models

    int8 = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
    )
    dense = {
        space: models.VectorParams(
            size=vectors.dim, distance=models.Distance.DOT, on_disk=config.int8
        )
        for space, vectors in points.spaces.items()
    }
    graphs = models.HnswConfigDiff(
        m=says["options"]["m"], ef_construct=says["options"]["ef_construction"]
    )
    nodes.ask(
        lambda client: client.create_collection(
            name,
            vectors_config=dense,
            sparse_vectors_config={WORDS: models.SparseVectorParams()} if points.terms else {},
            hnsw_config=graphs,
            quantization_config=int8 if config.int8 else None,
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0),
            shard_number=config.shards or _shards(len(points), len(config.nodes)),
            replication_factor=1,
            metadata={OWNER: says.get(OWNER)},
        )
    )


def _shards(points: int, nodes: int) -> int:
    """A shard more costs every search of it: one on each node, where there is enough for all."""
    return min(max(1, points // _OF_A_SHARD), nodes)


def schema_of(points: EntityPoints) -> dict[str, Any]:
    """Payload field → how it is indexed."""
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
