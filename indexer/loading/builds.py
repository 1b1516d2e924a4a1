"""The builds of a workspace in its cluster: brought there, looked at, and dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from secrets import token_hex

import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta, set_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import numbers_in, read_manifest
from omnisearch.data.workspace.errors import Corrupt, OmniError
from omnisearch.data.workspace.progress import Progress
from omnisearch.indexer.cluster.config import ClusterConfig, cluster_config
from omnisearch.indexer.cluster.names import OWNER, RECALL
from omnisearch.indexer.cluster.nodes import Nodes, plainly
from omnisearch.indexer.loading.collections import drop, owned
from omnisearch.indexer.loading.load import collections_of, load, note
from omnisearch.indexer.loading.verify import missing, verify
from omnisearch.indexer.segment import GENERATION, Segment, open_segment

_PATIENCE = 10.0  # seconds that what may be left undone waits for a node


def owner_of(db: sqlite_utils.Database) -> str:
    """What tells a workspace's collections from those of others; made when first asked for."""
    owner = get_meta(db, OWNER)
    if owner is None:
        owner = token_hex(8)
        with db.conn:
            set_meta(db, OWNER, owner)
    return str(owner)


def prepare(workspace: Workspace, owner: str) -> None:
    """Drop what builds that never became live, or are no longer kept, left in the cluster.

    Call it under the build lock, before anything is encoded: it says at once if the cluster cannot
    take a build.

    Raises:
        InputError: no node is named, or another workspace has collections of the name.
        Unreachable: no node answers.
    """
    with _nodes(cluster_config(workspace)) as nodes:
        kept = numbers_in(workspace.generations)
        found = owned(nodes, nodes.config, owner)
        drop(nodes, [name for name, number in found.items() if number not in kept])


def bring(workspace: Workspace, number: int, progress: Progress | None = None) -> None:
    """Load a build into the cluster and verify it there. If that fails, nothing of it is left.

    Raises:
        Corrupt: what the cluster has is not what was loaded. Others: see `load`.
    """
    config = cluster_config(workspace)
    with _nodes(config) as nodes:
        segment = _segment(workspace, number)
        try:
            load(nodes, config, segment, progress)
            checked = verify(nodes, config, segment)
            if checked.problems:
                raise Corrupt(
                    " ".join(checked.problems),
                    where="the cluster",
                    how="Look at the nodes' logs, then build again.",
                )
            for name, recall in checked.recall.items():
                note(nodes, name, {RECALL: recall})
        except BaseException:
            with suppress(OmniError):  # what cannot be dropped now, the next build drops
                drop(nodes, collections_of(config, segment))
            raise


def forget(workspace: Workspace, builds: Mapping[int, str | None]) -> None:
    """Drop the collections of builds that are no longer kept: number → owner.

    If the cluster does not answer, the next build does it.
    """
    config = replace(cluster_config(workspace), load_timeout=_PATIENCE)
    with suppress(OmniError), _nodes(config) as nodes:
        for number, owner in builds.items():
            found = owned(nodes, config, owner)
            drop(nodes, [name for name, build in found.items() if build == number])


def problems_of_build(workspace: Workspace, number: int, whole: bool) -> list[str]:
    """How the cluster's collections of a build differ from its files, as sentences.

    Args:
        whole: False only asks whether they are there.

    Raises:
        Unreachable: no node answers.
    """
    config = cluster_config(workspace)
    with _nodes(config) as nodes:
        segment = _segment(workspace, number)
        return verify(nodes, config, segment).problems if whole else missing(nodes, config, segment)


def _segment(workspace: Workspace, number: int) -> Segment:
    folder = workspace.generation(number)
    return open_segment(folder, read_manifest(folder, GENERATION), suggestions=False)


@contextmanager
def _nodes(config: ClusterConfig) -> Iterator[Nodes]:
    nodes = Nodes(config)
    try:
        with plainly():
            yield nodes
    finally:
        nodes.close()
