"""Copies of shards on further nodes, graphs and all, so that all copies answer alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.nodes import Nodes, wait_until
from omnisearch.indexer.loading.collections import is_green

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def peers_of(client: QdrantClient) -> list[int]:
    """The numbers of the nodes that are one cluster; none if a node stands alone."""
    status = client.cluster_status()
    return sorted(map(int, getattr(status, "peers", None) or {}))


def copies_of(client: QdrantClient, name: str) -> dict[int, list[int]]:
    """Shard of a collection → the nodes that have a copy which answers."""
    info: Any = client.collection_cluster_info(name)
    found: dict[int, list[int]] = {}
    for shard in info.local_shards:
        found.setdefault(shard.shard_id, [])
        if shard.state.value == "Active":
            found[shard.shard_id].append(info.peer_id)
    for shard in info.remote_shards:
        found.setdefault(shard.shard_id, [])
        if shard.state.value == "Active":
            found[shard.shard_id].append(shard.peer_id)
    return found


def wanted_copies(client: QdrantClient, config: ClusterConfig) -> int:
    """How many copies of each shard there can be, of those that the settings ask for."""
    return max(min(config.replicas, len(peers_of(client))), 1)


def replicate(nodes: Nodes, config: ClusterConfig, names: Iterable[str]) -> None:
    """Copy each shard of the collections to as many nodes as the settings say."""
    client = nodes.clients[0]
    peers, wanted = peers_of(client), wanted_copies(client, config)
    for name in names:
        for shard, having in copies_of(client, name).items():
            rest = [peer for peer in peers if peer not in having]
            for step in range(wanted - len(having)):
                _copy(client, name, shard, having[0], rest[(shard + step) % len(rest)])

    def whole() -> bool:
        infos = (client.get_collection(name) for client in nodes.clients for name in names)
        return all(map(is_green, infos)) and all(
            len(having) == wanted for name in names for having in copies_of(client, name).values()
        )

    wait_until(config, "the copies of the shards", whole)


def _copy(client: QdrantClient, name: str, shard: int, source: int, target: int) -> None:
    from qdrant_client import models

    transfer = models.ReplicateShard(
        shard_id=shard,
        from_peer_id=source,
        to_peer_id=target,
        method=models.ShardTransferMethod.SNAPSHOT,
    )
    client.cluster_collection_update(name, models.ReplicateShardOperation(replicate_shard=transfer))
