"""Real Qdrant nodes on loopback, and workspaces whose builds are in them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.nodes import Nodes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from qdrant_process import Place, started

ROOT = Path(__file__).parents[2]
PROGRAM = Path(
    os.environ.get("OMNISEARCH_QDRANT") or ROOT / ".cache" / "qdrant" / "package" / "bin" / "qdrant"
)


def need_program() -> None:
    """Skip the test where there is no Qdrant."""
    pytest.importorskip("qdrant_client", reason="the extra `cluster` is not installed")
    if not PROGRAM.is_file():
        pytest.skip(f"no Qdrant at {PROGRAM}; .ci/run fetches it, OMNISEARCH_QDRANT names another")


@contextmanager
def running(folder: Path, count: int, places: Sequence[Place] = ()) -> Iterator[list[str]]:
    """Start nodes that are one cluster, on loopback or at these places; gives the URLs of their
    HTTP ports."""
    with started(folder, places or [Place()] * count, str(PROGRAM)) as nodes:
        yield [node.url for node in nodes]


@contextmanager
def asked(urls: list[str], name: str, **settings: object) -> Iterator[Nodes]:
    """Clients of the nodes."""
    nodes = Nodes(ClusterConfig(urls=" ".join(urls), name=name, **settings))  # type: ignore[arg-type]
    try:
        yield nodes
    finally:
        nodes.close()


def settle_in(
    workspace: Workspace, urls: list[str], name: str, more: str = "", timeout: float = 20.0
) -> None:
    """Write the settings with which builds are loaded into nodes."""
    # A busy machine must not leave anything out.
    there = f'[cluster]\nurls = "{" ".join(urls)}"\nname = "{name}"\ntimeout = {timeout}\n'
    workspace.settings.write_text(f'[index]\nbackend = "qdrant"\n{more}\n{there}')


def copied(trained: Workspace, root: Path, urls: list[str], name: str, more: str = "") -> Workspace:
    """`trained` with a second build of the same, generation 2, that is in nodes."""
    workspace = Workspace(root)
    shutil.copytree(trained.root, root)
    settle_in(workspace, urls, name, more)
    assert pipeline.build_index(workspace) == 2
    return workspace
