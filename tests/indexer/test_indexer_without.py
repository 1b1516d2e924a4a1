"""What queries exclude, and what names say that an item is without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.exclusions import lacking, languages_of, split_query
from omnisearch.data.text.normalise import normalise_query, words

EN = frozenset(["en"])


@pytest.mark.parametrize(
    ("query", "wanted", "excluded"),
    [
        ("knife set without block", "knife set", "block"),
        ("Lights WITHOUT wiring with switch", "lights with switch", "wiring"),
        ("swimsuit without mesh liner, blue", "swimsuit blue", "mesh liner"),
        ("mug w/o handle", "mug", "handle"),
        ("bag without zip without logo for kids", "bag for kids", "zip logo"),
        ("chair (without wheels) white", "chair white", "wheels"),
        ("without you", "without you", ""),  # nothing would be left
        ("shirt without", "shirt without", ""),  # still being typed
        ("withoutabox", "withoutabox", ""),
        ("no show socks", "no show socks", ""),
    ],
)
def test_what_follows_without_is_not_wanted(query: str, wanted: str, excluded: str) -> None:
    found = split_query(normalise_query(query), EN)
    assert (words(found[0]), words(found[1])) == (words(wanted), words(excluded))


def test_the_words_are_those_of_the_catalogues_languages() -> None:
    german = languages_of(["de", "de-AT", None, "xx"])
    assert german == {"de", "en"}
    query = normalise_query("Müsli ohne Zucker mit Honig")
    assert words(split_query(query, german)[1]) == ["zucker"]
    assert words(split_query("χυμός χωρίς ζάχαρη".casefold(), languages_of(["el"]))[1]) == [
        "ζάχαρη"
    ]
    for query in ("comic sans font", "original sin city poster"):  # French, Spanish; not English
        assert split_query(query, languages_of([None])) == (query, "")
    assert split_query("knives without block", languages_of(["ja"]))[1] == "block"


def test_what_a_name_says_it_is_without() -> None:
    assert lacking("Paper Bags without Handles, 50 pieces", EN) == ["handl", "50"]
    assert lacking("Sugar-Free Syrup, no added colour", EN) == ["sugar", "add", "colour"]
    assert lacking("Free Spirit", EN) == []
    assert lacking("Block for knives", EN) == []
    assert lacking("Rucola Zucker frei", frozenset(["de"])) == ["zucker"]


TEXTS = st.lists(
    st.sampled_from(["without", "w/o", "sin", "with", "for", ",", "(", "block", "red", "Ω", "no"])
)


@given(TEXTS, st.sampled_from([EN, frozenset(["es", "en"])]))
def test_no_word_is_made_up_and_something_is_always_wanted(parts: list[str], languages) -> None:
    query = normalise_query(" ".join(parts))
    wanted, excluded = split_query(query, languages)
    left = words(query)
    for word in [*words(wanted), *words(excluded)]:
        left.remove(word)  # raises where a word is not one of the query
    assert set(left) <= {"without", "w", "o", "sin"}
    assert wanted == query if not excluded else words(wanted)
