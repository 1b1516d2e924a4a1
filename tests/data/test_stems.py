"""Stems by language, beside the words of items and queries."""

from __future__ import annotations

import pytest

from omnisearch.data.text.stems import is_stemmed
from omnisearch.data.text.tokens import Use, query_tokens, query_words, stem_tokens, tokens


def test_an_item_has_the_stems_that_differ_from_its_words() -> None:
    assert stem_tokens("Die Häuser am See, 2 Stühle", "de-AT") == ["=haus", "=stuhl"]
    assert stem_tokens("Haus und See", "de") == []
    for language in ("en", "ja", "xx", None):
        assert stem_tokens("houses of the lakes", language) == []
        assert not is_stemmed(language)


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        *[("de", "haus", "häuser"), ("fr", "grand", "grandes"), ("es", "papel", "papeles")],
        *[("it", "sedia", "sedie"), ("nb", "hus", "husene"), ("sv", "stol", "stolarna")],
        *[("ru", "стул", "стульями"), ("fi", "talo", "talossa"), ("hu", "szék", "székek")],
        *[("pt", "cadeira", "cadeiras"), ("nl", "stoel", "stoelen"), ("tr", "kitap", "kitaplar")],
    ],
)
def test_each_form_finds_the_other(language: str, one: str, many: str) -> None:
    for typed, named in ((one, many), (many, one)):
        item = {*tokens(named), *stem_tokens(named, language)}
        assert item & query_tokens(typed, language).keys()
        (same,) = query_words(typed, language)
        assert item & set(same)


def test_another_form_counts_half_and_what_was_typed_as_before() -> None:
    with_stems, before = query_tokens("rote häuser", "de"), query_tokens("rote häuser")
    assert with_stems["=haus"] == with_stems["haus"] == Use(0.5, "häuser")
    assert {token: with_stems[token] for token in before} == before
    assert query_tokens("red houses", "en") == query_tokens("red houses")
