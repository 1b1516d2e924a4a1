"""Queries that exclude something, through the whole engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_catalogue import UNTIL, index
from engine_fakes import FakeEncoder

from data.catalogue import open_catalogue
from data.workspace import Workspace
from engine.config import EngineConfig
from engine.live import Live
from engine.query_cache import QueryCache
from engine.query_words import excluded_share, query_words
from engine.search import SearchEngine

TITLES = (
    "kitchen knife set with block",
    "kitchen knife set",
    "kitchen knife set, no block",
    "garden chair",
    "",
)


@pytest.fixture
def knives(tmp_path: Path) -> SearchEngine:
    workspace = Workspace.create(tmp_path / "knives")
    db = open_catalogue(workspace.catalogue, create=True)
    db["products"].insert_all(
        {"id": f"product{number}", "title": title, "language": "en"}
        for number, title in enumerate(TITLES)
    )
    db["pins"].insert({"id": "pin0", "title": "block", "language": "en"})
    db["queries"].insert({"id": "knife", "text": "knife"})
    db.conn.commit()
    live = Live(index(workspace, db), FakeEncoder(), None, UNTIL)
    return SearchEngine(workspace, live, QueryCache(tmp_path / "cache.db"), EngineConfig())


def test_an_item_that_names_what_is_excluded_comes_last(knives: SearchEngine) -> None:
    def found(query: str, system: str) -> list[str]:
        return [hit.id for hit in knives.search(query, system=system).hits]

    assert found("kitchen knife set with block", "full")[0] == "product0"
    without = found("kitchen knife set without block", "full")
    assert without.index("product2") < without.index("product1") < without.index("product0")
    assert "pin0" not in found("kitchen knife set without block", "token")
    assert found("kitchen knife set without block", "token")[0] == "product1"


def test_the_share_of_what_is_excluded(knives: SearchEngine) -> None:
    tables = knives.live.generation.tables
    rows = np.array([4, 3, 2, 1, 0])
    shares = excluded_share(tables["product"], rows, query_words(tables, "knife without a block"))
    np.testing.assert_array_equal(shares, [np.nan, 0, -1, 0, 1])
    nothing = excluded_share(tables["product"], rows, query_words(tables, "knife block"))
    assert np.isnan(nothing).all()
