"""A small catalogue for the indexer's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlite_utils
from indexer_fakes import fill, new_catalogue

from omnisearch.data.workspace import Workspace


@pytest.fixture
def small(tmp_path: Path) -> tuple[Workspace, sqlite_utils.Database]:
    """A workspace of 60 pins, 20 products and 10 queries, nothing built yet."""
    workspace, db = new_catalogue(tmp_path / "small")
    fill(db)
    return workspace, db
