"""Qdrant nodes, and the tiny trained world of which a build is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_nodes import copied, need_program, running

from omnisearch.data.workspace import Workspace
from omnisearch.indexer.parts import recall


@pytest.fixture(scope="package", autouse=True)
def few_are_measured() -> Iterator[None]:
    """Recall is measured by fewer searches: each is a call to a node."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_QUERIES", 40)
        patch.setattr(recall, "_ITEMS", 40)
        yield


@pytest.fixture(scope="session")
def node(tmp_path_factory: Any) -> Iterator[list[str]]:
    """The URL of a node that stands alone, in a list."""
    need_program()
    with running(tmp_path_factory.mktemp("node"), 1) as urls:
        yield urls


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory: Any) -> Iterator[list[str]]:
    """The URLs of three nodes of one cluster."""
    need_program()
    with running(tmp_path_factory.mktemp("nodes"), 3) as urls:
        yield urls


@pytest.fixture(scope="session")
def clustered(trained: Workspace, node: list[str], tmp_path_factory: Any) -> Workspace:
    """`trained` with a second build of the same, generation 2, that is in a node. Read only."""
    return copied(trained, tmp_path_factory.mktemp("clustered") / "workspace", node, "clustered")
