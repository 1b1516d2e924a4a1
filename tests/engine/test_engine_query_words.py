"""Queries that exclude something or are misspelt, through the whole engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_catalogue import UNTIL, index
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.keys import key_of
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.index import Items
from omnisearch.engine.local_index import LocalIndex
from omnisearch.engine.query import query_of
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.indexer.parts.table import Posting, Postings
from omnisearch.indexer.parts.table_write import postings_columns

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
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    return SearchEngine(workspace, snapshot, QueryCache(tmp_path / "cache.db"), EngineConfig())


def test_an_item_that_names_what_is_excluded_comes_last(knives: SearchEngine) -> None:
    def found(query: str, system: str) -> list[str]:
        return [hit.id for hit in knives.search(query, system=system).hits]

    assert found("kitchen knife set with block", "full")[0] == "product0"
    without = found("kitchen knife set without block", "full")
    assert without.index("product2") < without.index("product1") < without.index("product0")
    assert "pin0" not in found("kitchen knife set without block", "token")
    assert found("kitchen knife set without block", "token")[0] == "product1"


def test_the_share_of_what_is_excluded(knives: SearchEngine) -> None:
    items = Items(np.ones(5, np.uint8), np.array([4, 3, 2, 1, 0]))

    def shares(text: str) -> np.ndarray:
        snapshot = knives.snapshot
        return snapshot.index.columns(snapshot.query(text), items, ["excluded"])["excluded"]

    np.testing.assert_array_equal(shares("knife without a block"), [np.nan, 0, -1, 0, 1])
    assert np.isnan(shares("knife block")).all()


def test_a_misspelt_query_is_searched_as_items_spell_it(knives: SearchEngine) -> None:
    right = knives.search("kitchen knife set")
    assert right.searched == right.query == "kitchen knife set"
    found = knives.search("Kitchn kniffe set")
    assert (found.query, found.searched) == ("kitchn kniffe set", "kitchen knife set")
    assert any("'kitchen knife set'" in note for note in found.notes)
    for system in ("full", "embedding", "token"):
        expected = knives.rank("kitchen knife set", system)
        assert knives.rank("Kitchn kniffe set", system) == expected != []
    assert knives.warm(["kitchen knif set"]) == 0  # the embedding it needs is there already


def test_an_item_engaged_under_the_typed_spelling_is_known(knives: SearchEngine) -> None:
    generation = knives.snapshot.generation
    tables = dict(generation.tables)
    engaged = [(key_of("kitchn knife"), 0, 5.0), (key_of("kitchen knife"), 1, 2.0)]
    columns = postings_columns("engaged", engaged)
    names = ("keys", "rows", "weights")
    posting = Posting(*(columns[f"engaged_{name}"] for name in names))
    postings = Postings((posting,), len(TITLES))
    tables["product"] = replace(tables["product"], engaged=postings)
    index = LocalIndex(replace(generation, tables=tables))
    items = Items(np.ones(3, np.uint8), np.arange(3))
    query = query_of("kitchn knife", "kitchen knife", frozenset(["en"]))
    columns = index.columns(query, items, ["engaged_match"])
    np.testing.assert_array_equal(columns["engaged_match"], [5, 2, 0])
