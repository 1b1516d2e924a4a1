"""Suggestions as a caller of the engine sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import publish_rules, remove_rules
from omnisearch.engine.search import SearchEngine, open_suggester
from omnisearch.engine.suggest import Suggester
from omnisearch.indexer.parts.suggest_open import open_queries
from omnisearch.indexer.parts.suggest_write import write_queries
from omnisearch.pipeline import encoder

QUERIES = [
    ("leather sofa", 50, "en"),
    ("sofa bed", 40, "en"),
    ("sofa", 30, None),
    ("sofakissen", 20, "de-AT"),
    ("soft blanket", 10, "en"),
    ("crème brûlée torch", 5, "fr"),
    ("tablecloth linen", 5, "en"),
    ("소파 베드", 5, "ko"),
    ("ソファベッド", 5, "ja"),
    ("أريكة جلدية", 5, "ar"),
    ("ที่นอน", 5, "th"),
]


@pytest.fixture(scope="module")
def suggester(tmp_path_factory: pytest.TempPathFactory) -> Suggester:
    folder = tmp_path_factory.mktemp("suggest")
    write_queries(folder, QUERIES)
    return Suggester((open_queries(folder),))


def texts(suggester: Suggester, typed: str, **options: Any) -> list[str]:
    return [each.text for each in suggester.suggest(typed, **options)]


def test_the_beginning_comes_before_other_words(suggester: Suggester) -> None:
    assert texts(suggester, "so") == [
        *("sofa bed", "sofa", "sofakissen", "soft blanket", "leather sofa")
    ]
    assert texts(suggester, "so", k=2) == ["sofa bed", "sofa"]
    assert texts(suggester, "sofa ") == ["sofa bed", "sofa", "leather sofa", "soft blanket"]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("CREME", "crème brûlée torch"),
        ("brul", "crème brûlée torch"),
        ("솦", "소파 베드"),
        ("벧", "소파 베드"),
        ("ソフ", "ソファベッド"),
        ("ベッ", "ソファベッド"),
        ("اري", "أريكة جلدية"),
        ("جلد", "أريكة جلدية"),
        ("ที", "ที่นอน"),
        ("lether", "leather sofa"),
        ("lether so", "leather sofa"),
        ("laether", "leather sofa"),
        ("tabelcoth", "tablecloth linen"),
        ("neather", "leather sofa"),
        ("eather", "leather sofa"),
        ("brûlé tor", "crème brûlée torch"),
    ],
)
def test_what_is_meant_comes_first(suggester: Suggester, typed: str, first: str) -> None:
    assert texts(suggester, typed)[0] == first


def test_no_typo_in_short_words_nor_in_the_first_letter_beside_others(suggester: Suggester) -> None:
    assert texts(suggester, "sox") == []
    assert texts(suggester, "bofa") == ["sofa bed", "sofa", "sofakissen", "leather sofa"]
    assert texts(suggester, "soga") == ["sofa bed", "sofa", "sofakissen", "leather sofa"]
    assert texts(suggester, "xyzzy") == texts(suggester, "!?") == texts(suggester, "") == []


def test_what_was_typed_is_marked_in_code_points(suggester: Suggester) -> None:
    (found,) = suggester.suggest("brul")
    assert (found.kind, found.count, found.typos) == ("query", 5, 0)
    assert [found.text[start:end] for start, end in found.highlights] == ["brûl"]
    (found,) = suggester.suggest("lether s")
    assert found.typos == 1
    assert [found.text[start:end] for start, end in found.highlights] == ["leather s"]


def test_a_language_leaves_those_of_others_out(suggester: Suggester) -> None:
    assert texts(suggester, "so", language="de-CH") == ["sofa", "sofakissen"]
    assert texts(suggester, "so", language="fi") == ["sofa"]
    with pytest.raises(InputError, match="language"):
        suggester.suggest("so", language="German")


@pytest.mark.parametrize("k", [0, 51, True, "8"])
def test_what_cannot_be_used_is_refused(suggester: Suggester, k: Any) -> None:
    with pytest.raises(InputError, match="k must be"):
        suggester.suggest("so", k)
    with pytest.raises(InputError, match="must be text"):
        suggester.suggest(b"so")  # type: ignore[arg-type]


def test_over_a_real_index(trained: Workspace, a_title: str) -> None:
    engine, title = SearchEngine.open(trained), a_title
    typed = title[: len(title) // 2 + 1]
    found = engine.suggest(typed, 50)
    assert title in {each.text for each in found}
    assert found == open_suggester(trained).suggest(typed, 50)
    assert any(each.kind == "query" for letter in "abcdls" for each in engine.suggest(letter))
    hits = engine.search(title.upper()).hits
    (hit,) = [each for each in hits if each.title == title]
    marked = "".join(title[start:end] for start, end in hit.highlights)
    assert len(marked) > len(title) // 2
    engine.close()


ZEBRAS = [
    ("a", "Zebra rug", "Zumo", "Home > Zone > Rugs", "in_stock"),
    ("b", "Zebra rug", "Zumo", "Home > Zone", "out_of_stock"),
    ("c", "Zebra lamp", "Zenith", "Home > Zinc", "out_of_stock"),
    ("d", "Zebra vase", "Zed|Zap", "Home > Zone", "in_stock"),
]


@pytest.fixture
def zebras(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A small shop, indexed by words alone; the last product came with an update."""
    monkeypatch.setattr(encoder, "installed", lambda name: False)
    db = open_catalogue(workspace.catalogue, create=True)
    for part in (ZEBRAS[:-1], ZEBRAS[-1:]):
        db["products"].insert_all(
            {
                **{"id": key, "title": title, "brand": brand, "availability": stock},
                **{"product_types": f'["{path}"]', "attributes": "{}"},
            }
            for key, title, brand, path, stock in part
        )
        db.conn.commit()
        pipeline.update_index(workspace)
    yield workspace
    db.conn.close()


def counts(engine: SearchEngine, typed: str) -> dict[str, int]:
    return {each.text: each.count for each in engine.suggest(typed, 50)}


def apply(workspace: Workspace, text: str) -> None:
    rules, faults = read_rules(f"version = 1\n{text}".encode())
    assert faults == []
    publish_rules(workspace, text.encode(), rules)


def test_what_a_rule_hides_is_not_suggested(zebras: Workspace) -> None:
    engine = SearchEngine.open(zebras)
    whole = {"Zebra rug": 2, "Zebra lamp": 1, "Zebra vase": 1}
    assert counts(engine, "zebra") == whole
    apply(zebras, "[[hide]]\nall = true\nitem = ['product/a', 'product/c', 'product/d']\n")
    engine.reload()
    assert counts(engine, "zebra") == {"Zebra rug": 1}
    assert counts(engine, "zen") == {} and counts(engine, "zumo") == {"Zumo": 1}
    assert engine.suggest("ze", 50) == open_suggester(zebras).suggest("ze", 50)
    assert all(engine.search(text).hits for text in counts(engine, "ze"))
    remove_rules(zebras)
    engine.reload()
    assert counts(engine, "zebra") == whole


def test_it_is_suggested_again_when_the_rule_ends(
    zebras: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    when = "start = 2030-01-01T00:00:00Z\nend = 2030-02-01T00:00:00Z\n"
    apply(zebras, f"[[hide]]\nall = true\nfilter = 'brand=Zenith'\n{when}")
    engine = SearchEngine.open(zebras)
    for day, shown in ((-1, True), (0, False), (30, False), (31, True), (3, False)):
        monkeypatch.setattr(time, "time", lambda day=day: 1893456000.0 + 86_400 * day)
        assert ("Zebra lamp" in counts(engine, "zebra")) == shown, day


def test_what_is_out_of_stock_is_suggested_unless_the_settings_hide_it(zebras: Workspace) -> None:
    hiding = SearchEngine.open(zebras, EngineConfig(out_of_stock="hide"))
    assert counts(hiding, "zebra") == {"Zebra rug": 1, "Zebra vase": 1}
    assert counts(hiding, "home") == {"Home": 2, "Home > Zone": 2, "Home > Zone > Rugs": 1}
    for setting in ("sink", "show"):
        shown = SearchEngine.open(zebras, EngineConfig(out_of_stock=setting))
        assert counts(shown, "zebra lamp") == {"Zebra lamp": 1}
    assert not hiding.reload() and "Zebra lamp" not in counts(hiding, "zebra")


def test_brands_and_categories_come_with_their_filters(zebras: Workspace) -> None:
    engine = SearchEngine.open(zebras)
    found = {each.text: each.filter for letter in "zh" for each in engine.suggest(letter, 50)}
    assert found["Zumo"] == "brand=Zumo" and found["Home"] == "product_types=Home"
    assert found["Home > Zone"] == "product_types=Home > Zone"
    assert found["Zebra rug"] is None and found["Zed|Zap"] == r"brand=Zed\|Zap"
    split = engine.search("zebra", filters=Filters(where=(found["Zed|Zap"],)))
    assert {hit.brand for hit in split.hits} <= {"Zed|Zap"}
    for text, count in counts(engine, "zon").items():
        filters = Filters(where=(found[text],))
        assert len(engine.search("zebra", filters=filters).hits) == count
    for last, better in (("a", "product_types"), ("z", "category")):  # what more items have
        db = open_catalogue(zebras.catalogue)
        db.conn.execute(
            "UPDATE products SET attributes = ?, product_types = '[\"Home\"]' WHERE id <= ?",
            ['{"category": "Home"}', last],
        )
        db.conn.execute("UPDATE products SET product_types = NULL WHERE id < ?", [last])
        db.conn.commit()
        db.conn.close()
        pipeline.update_index(zebras)
        engine.reload()
        assert {"Home": f"{better}=Home"}.items() <= {
            each.text: each.filter for each in engine.suggest("home")
        }.items()
