"""Fixtures that all rooms share: a tiny sample world, and workspaces made from it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

# On a busy machine an example may take long; what takes too long is the business of benchmarks.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", type=float, help="seconds after which no further slow test begins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name == "benchmarks")  # the longest come last


def pytest_runtest_setup(item: pytest.Item) -> None:
    budget = item.config.getoption("--budget")
    if budget and item.get_closest_marker("slow") and time.monotonic() - BEGAN > budget:
        pytest.skip(f"the {budget:.0f} seconds for slow tests are over; `make slow` runs them all")


@pytest.fixture(autouse=True)
def same_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user gets the same variant in each run, by a key of experiments that is not drawn.

    Else a few users have one variant all together, or a difference is found, by chance.
    """
    monkeypatch.setattr("omnisearch.evaluation.experiments.store._drawn", lambda: bytes(range(32)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets beside the project; the test is skipped where they are absent."""
    path = (Path(__file__).parents[1] / "../shared/data").resolve()
    if not path.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return path


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: Any) -> Path:
    """The files of a sample world of about 500 items. Read only."""
    from omnisearch.world import generate

    folder = tmp_path_factory.mktemp("world") / "tiny"
    generate("tiny", folder)
    return folder


@pytest.fixture(scope="session")
def tiny_workspace(tiny_world: Path, tmp_path_factory: Any) -> Workspace:
    """The tiny world imported and enriched with board titles and engaged queries. Read only."""
    workspace = Workspace(tmp_path_factory.mktemp("tiny") / "workspace")
    pipeline.import_files(workspace, [tiny_world])
    pipeline.enrich(workspace, "boards", "queries")
    return workspace


@pytest.fixture(scope="session")
def trained(tiny_workspace: Workspace, tmp_path_factory: Any) -> Workspace:
    """The tiny world, barely trained, and indexed: generation 1. Read only."""
    workspace = Workspace(tmp_path_factory.mktemp("trained") / "workspace")
    shutil.copytree(tiny_workspace.root, workspace.root)
    pipeline.enrich(workspace, "graph")
    pipeline.train(workspace, "tiny", steps=4)
    pipeline.build_index(workspace)
    return workspace


@pytest.fixture(scope="session")
def a_title(trained: Workspace) -> str:
    """A product's title in `trained` that is suggested as it is."""
    db = open_catalogue(trained.catalogue)
    (title,) = db.conn.execute(
        "SELECT MIN(title) FROM products WHERE LENGTH(title) BETWEEN 12 AND 80"
    ).fetchone()
    db.conn.close()
    return str(title)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A new, empty workspace."""
    return Workspace.create(tmp_path / "workspace")
