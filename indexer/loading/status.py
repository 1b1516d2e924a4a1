"""What a workspace's cluster has, and which of its nodes answer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.indexer.cluster.config import cluster_config
from omnisearch.indexer.cluster.names import RECALL, number_of
from omnisearch.indexer.cluster.nodes import Nodes, failures, plainly, said
from omnisearch.indexer.loading.copies import copies_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_SECONDS = 5.0  # that a node may take to answer


def cluster_status(workspace: Workspace) -> dict[str, Any]:
    """The nodes and the collections of a workspace, as JSON.

    `nodes` have url, and version or problem. `collections` have name, number (of the build),
    points, state (as the node calls it: green, yellow while graphs are built, red), shards, copies
    (of the shard that has the fewest) and recall (least of all spaces, None if it was not
    measured). `problem` is there if no node could be asked.
    """
    found: dict[str, Any] = {"nodes": [], "collections": []}
    config = replace(cluster_config(workspace), load_timeout=_SECONDS)
    try:
        with closing(Nodes(config)) as nodes, plainly():
            found["nodes"] = [
                _node(*each) for each in zip(config.nodes, nodes.clients, strict=True)
            ]
            found["collections"] = nodes.ask(lambda client: _collections(client, config.name))
    except OmniError as error:
        found["problem"] = str(error)
    return found


def _node(url: str, client: QdrantClient) -> dict[str, Any]:
    try:
        return {"url": url, "version": client.info().version}
    except failures() as error:
        return {"url": url, "problem": said(error)}


def _collections(client: QdrantClient, name: str) -> list[dict[str, Any]]:
    numbers = number_of(name, [each.name for each in client.get_collections().collections])
    found = []
    for each, number in sorted(numbers.items(), key=lambda item: (-item[1], item[0])):
        info, copies = client.get_collection(each), copies_of(client, each)
        recall = (info.config.metadata or {}).get(RECALL, {})
        measured = [says["recall"]["recall"] for says in recall.values() if says["recall"]]
        found.append(
            {
                "name": each,
                "number": number,
                "points": info.points_count,
                "state": info.status.value,
                "shards": len(copies),
                "copies": min(map(len, copies.values()), default=0),
                "recall": min(measured, default=None),
            }
        )
    return found


def in_cluster(workspace: Workspace, build: int) -> str:
    """A sentence on a build in the cluster."""
    found = cluster_status(workspace)
    own = [each for each in found["collections"] if each["number"] == build]
    if not own:
        return str(found.get("problem", f"The cluster does not have generation {build}."))
    measured = [each["recall"] for each in own if each["recall"] is not None]
    least = f", found with a recall of {min(measured):.3f} at least" if measured else ""
    return f"The cluster has {sum(each['points'] for each in own):,} items of it{least}."
