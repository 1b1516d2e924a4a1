"""Compounds and their parts find each other, by the words of the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_catalogue import UNTIL, index
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.text.tokens import Use
from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot

TITLES = {
    "de": ("Gartenstuhl aus Holz", "Stuhl für den Garten", "Bürostuhl", "Gartenschlauch", "Band"),
    "sv": ("trädgårdsstol", "stol"),
    "en": ("headband", "garden chair"),
}


@pytest.fixture
def engine(tmp_path: Path) -> SearchEngine:
    workspace = Workspace.create(tmp_path / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    db["products"].insert_all(
        {"id": f"{language}{number}", "title": title, "language": language}
        for language, titles in TITLES.items()
        for number, title in enumerate(titles)
    )
    db["pins"].insert({"id": "pin0", "title": "picture"})
    db["queries"].insert({"id": "gift", "text": "gift"})
    db.conn.commit()
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    return SearchEngine(workspace, snapshot, QueryCache(tmp_path / "cache.db"), EngineConfig())


def found(engine: SearchEngine, text: str, language: str | None) -> list[str]:
    hits = engine.search(text, system="token", query_language=language).hits
    return [hit.id for hit in hits]


def test_a_word_finds_the_compounds_that_have_it_after_itself(engine: SearchEngine) -> None:
    assert found(engine, "stuhl", "de")[0] == "de1"
    assert set(found(engine, "stuhl", "de")) == {"de0", "de1", "de2"}
    assert set(found(engine, "stol", "sv")) == {"sv0", "sv1"}
    assert set(found(engine, "garten", "de")) == {"de0", "de1", "de3"}
    assert found(engine, "garten stuhl", "de")[:2] == ["de1", "de0"]


def test_a_compound_finds_its_parts_after_itself(engine: SearchEngine) -> None:
    assert found(engine, "gartenstuhl", "de")[:2] == ["de0", "de1"]
    assert found(engine, "gartenbank", "de") == ["de1"]  # no item has it: the part that items have


def test_only_words_of_the_querys_language_are_tried(engine: SearchEngine) -> None:
    assert found(engine, "band", "de") == ["de4"]  # not the English headband
    for language in ("en", "fr", "sv"):
        assert found(engine, "stuhl", language) == ["de1"]


def test_a_compound_counts_a_quarter_of_what_is_typed(engine: SearchEngine) -> None:
    terms = engine.snapshot.query("stuhl", "de").terms
    assert engine.snapshot.query("garten stuhl", "de").terms["gartenstuhl"].weight == 0.75
    assert terms["gartenstuhl"] == terms["bürostuhl"] == Use(0.25, "stuhl")
    assert "gartenschlauch" not in engine.snapshot.query("stuhl ohne garten", "de").terms


def test_a_part_of_compounds_is_no_misspelling(tmp_path: Path) -> None:
    """No item has `stuhl` alone, but several have chairs; `stahl` is another thing."""
    workspace = Workspace.create(tmp_path / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    titles = ("Gartenstuhl Eiche", "Bürostuhl blau", "Esstisch Stahl", "Tischlampe", "Tischdecke")
    db["products"].insert_all(
        {"id": f"p{number}", "title": title, "language": "de"}
        for number, title in enumerate((*titles, "Tisch"))
    )
    db.conn.commit()
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    engine = SearchEngine(workspace, snapshot, QueryCache(tmp_path / "cache.db"), EngineConfig())
    assert set(found(engine, "stuhl", "de")) == {"p0", "p1"}
    assert found(engine, "stuhl", "en") == ["p2"]
    # What a similar word begins with is that word unfinished.
    assert found(engine, "tisc", "de")[0] == "p5"
    assert snapshot.query("bürostul", "de").text == "bürostuhl"
