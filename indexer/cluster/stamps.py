"""Whether a cluster has the collections of a build, whole and of that very build."""

from __future__ import annotations

from collections.abc import Sequence

from omnisearch.data.workspace.errors import NotReady
from omnisearch.indexer.cluster.names import MANIFEST, collection
from omnisearch.indexer.cluster.nodes import Nodes


def check_loaded(nodes: Nodes, number: int, entities: Sequence[str], stamp: str) -> None:
    """Raise NotReady unless there is a collection with this stamp for each entity type.

    Args:
        stamp: the sha256 of the build's manifest.
    """
    for entity in entities:
        name = collection(nodes.config.name, number, entity)
        found = _stamp(nodes, name)
        if found != stamp:
            what = "is missing" if found is None else "is of another build"
            raise NotReady(
                f"The cluster's collection {name} {what}.",
                where=", ".join(nodes.config.nodes),
                how="Run `omnisearch index build`, or check `[cluster] name`.",
            )


def _stamp(nodes: Nodes, name: str) -> str | None:
    """The stamp of a complete collection; None if it is not there or was not completed."""
    if not nodes.ask(lambda client: client.collection_exists(name)):
        return None
    info = nodes.ask(lambda client: client.get_collection(name))
    return (info.config.metadata or {}).get(MANIFEST)
