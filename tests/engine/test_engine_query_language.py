"""The language of a query: from the caller, from the log, or detected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_catalogue import UNTIL, index
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.index import Items
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot

TITLES = {
    "de-AT": ("Gartenstuhl aus Holz", "Messerset mit Block", "Zarvox Küchenmaschine"),
    "en": ("wooden garden chair", "knife set with block", "Zarvox kitchen machine"),
    "es": ("silla de jardín de madera", "zapatos con cordones", "robot de cocina Zarvox"),
}


def engine_of(folder: Path, titles: dict[str, tuple[str, ...]]) -> SearchEngine:
    workspace = Workspace.create(folder / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    db["products"].insert_all(
        {"id": f"{language} {number}", "title": title, "language": language}
        for language, named in titles.items()
        for number, title in enumerate(named)
    )
    db["pins"].insert({"id": "pin0", "title": "picture"})
    logged = {"gift": "de", "taza de café": "en-US"}
    db["queries"].insert_all(
        {"id": text, "text": text, "language": language} for text, language in logged.items()
    )
    db.conn.commit()
    snapshot = Snapshot(index(workspace, db), FakeEncoder(), None, UNTIL)
    return SearchEngine(workspace, snapshot, QueryCache(folder / "cache.db"), EngineConfig())


@pytest.fixture
def engine(tmp_path: Path) -> SearchEngine:
    return engine_of(tmp_path, TITLES)


def test_a_language_is_detected_unless_the_log_or_the_caller_says_it(engine: SearchEngine) -> None:
    def known(text: str, language: str | None = None) -> tuple[str | None, str | None]:
        found = engine.search(text, query_language=language)
        return found.language, found.language_source

    assert known("bequemer stuhl für den garten") == ("de", "detected")
    assert known("comfortable chair for the garden") == ("en", "detected")
    assert known("sillas cómodas para el jardín") == ("es", "detected")
    assert known("gift") == ("de", "log")
    assert known("taza de café") == ("en", "log")
    assert known("gift", "es-MX") == ("es", "caller")
    with pytest.raises(InputError, match=r"code of two or three letters, got 'german'"):
        engine.search("gift", query_language="german")
    with pytest.raises(InputError, match=r"code of two or three letters, got 'german'"):
        Filters(language="german")  # of the items


def test_the_language_of_codes_brands_and_other_languages_is_not_known(
    engine: SearchEngine,
) -> None:
    for text in ("xl", "sx-785z", "4711", "zarvox", "krzesło ogrodowe z drewna", "庭の椅子"):
        found = engine.search(text)
        assert (found.language, found.language_source) == (None, None), text


def test_a_catalogue_in_english_alone_needs_no_detection(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, {"en": TITLES["en"]})
    assert engine.search("comfortable chair for the garden").language is None


def test_items_of_the_querys_language_match_it_in_any_region(engine: SearchEngine) -> None:
    index, items = engine.snapshot.index, Items(np.ones(9, np.uint8), np.arange(9))
    names = ["language_match"]
    query = engine.snapshot.query("bequemer stuhl für den garten")
    matched = index.columns(query, items, names)["language_match"]
    np.testing.assert_array_equal(matched, [1, 1, 1, 0, 0, 0, 0, 0, 0])
    unknown = index.columns(engine.snapshot.query("xl"), items, names)["language_match"]
    assert np.isnan(unknown).all()


def test_an_inflected_word_finds_the_item_in_the_querys_language(engine: SearchEngine) -> None:
    def found(text: str, language: str | None = None) -> list[str]:
        hits = engine.search(text, system="token", query_language=language).hits
        return [hit.id for hit in hits]

    assert found("gartenstühle", "de") == ["de-AT 0"] and found("hölzern", "en") == []
    assert found("cordón", "es") == ["es 1"]
    assert found("gartenstuhl", "en") == found("gartenstuhl", "de") == ["de-AT 0"]
    items = Items(np.ones(9, np.uint8), np.arange(9))
    for text, share in (("gartenstühle", [1, 0, 0]), ("blöcke", [0, 1, 0])):
        query = engine.snapshot.query(text, "de")
        shares = engine.snapshot.index.columns(query, items, ["text_share"])["text_share"]
        np.testing.assert_array_equal(shares[:3], share)


def test_a_misspelt_word_is_replaced_in_the_querys_language(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, {"de": ("Haus",), "en": ("hats", "two hats")})
    searched = {
        language: engine.search("hauts", query_language=language).searched
        for language in ("de", "en", "fr")
    }
    assert searched == {"de": "haus", "en": "hats", "fr": "hats"}


def test_words_exclude_in_the_querys_language_and_in_english(engine: SearchEngine) -> None:
    def excludes(text: str, language: str | None = None) -> bool:
        return len(engine.snapshot.query(text, language).excluded) > 0

    assert excludes("messerset ohne block") and excludes("zapatos sin cordones")
    assert excludes("messer without block", "de")
    assert not excludes("posters of the movie sin city", "en")
    assert not excludes("posters of the movie sin city")
    assert excludes("zarvox sin cable") and not excludes("zarvox sin cable", "de")
