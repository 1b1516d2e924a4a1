"""Whether a cluster has the collections of a build, whole and of that very build."""

from __future__ import annotations

from collections.abc import Sequence

from omnisearch.data.workspace.errors import NotReady
from omnisearch.indexer.cluster.names import MANIFEST, collection
from omnisearch.indexer.cluster.nodes import Nodes, plainly


def check_loaded(nodes: Nodes, number: int, entities: Sequence[str], stamp: str) -> None:
    """Raise NotReady unless there is a collection with this stamp for each entity type.

    Args:
        stamp: the sha256 of the build's manifest.
    """
    for entity in entities:
        with plainly():
            problem = problem_of(nodes, collection(nodes.config.name, number, entity), stamp)
        if problem is not None:
            raise NotReady(
                problem,
                where=", ".join(nodes.config.nodes),
                how="Run `omnisearch index build`, or check `[cluster] name`.",
            )


def problem_of(nodes: Nodes, name: str, stamp: str) -> str | None:
    """A sentence, unless the collection is there, was completed and has this stamp."""
    if not nodes.ask(lambda client: client.collection_exists(name)):
        return f"The cluster has no collection {name}."
    info = nodes.ask(lambda client: client.get_collection(name))
    if (info.config.metadata or {}).get(MANIFEST) == stamp:
        return None
    return f"The collection {name} in the cluster is of another build."
