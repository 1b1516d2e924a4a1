"""A small generation in fake spaces, and engines over it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from engine_catalogue import UNTIL, fill, index, log_choices
from engine_fakes import FakeEncoder, FakeGeneration

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, FakeGeneration]:
    """The workspace and its generation; read only."""
    workspace = Workspace.create(tmp_path_factory.mktemp("small"))
    db = open_catalogue(workspace.catalogue, create=True)
    fill(db)
    generation = index(workspace, db)
    db.conn.close()
    return workspace, generation


@pytest.fixture
def make_engine(small: tuple[Workspace, FakeGeneration], tmp_path: Path) -> Any:
    """Engines over the small generation, by settings; each with a cache of its own."""
    workspace, generation = small

    def make(rankers: Any = None, **settings: Any) -> SearchEngine:
        snapshot = Snapshot(generation, FakeEncoder(), rankers, UNTIL)
        cache = QueryCache(tmp_path / "query_cache.db")
        return SearchEngine(workspace, snapshot, cache, EngineConfig(**settings))

    return make


@pytest.fixture
def engine(make_engine: Any) -> SearchEngine:
    """One without trained rankers."""
    return make_engine()


@pytest.fixture
def served(trained: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it that a test may change."""
    shutil.copytree(trained.root, tmp_path / "served")
    return Workspace(tmp_path / "served")


@pytest.fixture
def logged(tmp_path: Path) -> tuple[SearchEngine, Any]:
    """An engine over the small catalogue, and the catalogue, with a log."""
    workspace = Workspace.create(tmp_path / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    fill(db)
    log_choices(db)
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    cache = QueryCache(workspace.query_cache)
    return SearchEngine(workspace, snapshot, cache, EngineConfig()), db
