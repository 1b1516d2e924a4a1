"""Services over the tiny world."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Server

from omnisearch.data.workspace import Workspace

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="session")
def server(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that many tests ask; none may disturb it."""
    folder = tmp_path_factory.mktemp("service") / "workspace"
    shutil.copytree(trained.root, folder)
    with Server(folder) as running:
        yield running


@pytest.fixture
def served(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the trained workspace that a test may change."""
    shutil.copytree(trained.root, tmp_path / "served")
    return Workspace(tmp_path / "served")
