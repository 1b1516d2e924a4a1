"""Suggestions as a caller of the engine sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.suggest import Suggester, open_suggester
from omnisearch.indexer.parts.suggest_open import open_queries
from omnisearch.indexer.parts.suggest_write import write_queries

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


def a_title(workspace: Workspace) -> str:
    """A product's title that is suggested as it is."""
    db = open_catalogue(workspace.catalogue)
    (title,) = db.conn.execute(
        "SELECT MIN(title) FROM products WHERE LENGTH(title) BETWEEN 12 AND 80"
    ).fetchone()
    db.conn.close()
    return title


def test_over_a_real_index(trained: Workspace, tmp_path: Path) -> None:
    engine = SearchEngine.open(trained)
    title = a_title(trained)
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
