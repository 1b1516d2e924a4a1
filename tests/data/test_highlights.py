"""The words of a title that a query has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.highlights import highlights
from omnisearch.data.text.keys import either_keys
from omnisearch.data.text.tokens import query_words


def marked(title: str, query: str, language: str | None = None) -> list[str]:
    wanted = set(either_keys(query_words(query, language)).ravel().tolist())
    return [title[start:end] for start, end in highlights(title, wanted, language)]


@pytest.mark.parametrize(
    ("title", "query", "language", "shown"),
    [
        ("Leather Sofa, 3-seat sofa bed", "sofas", None, ["Sofa", "sofa"]),
        ("Sofas of leather", "leather sofa", None, ["Sofas", "leather"]),
        ("Crème brûlée set", "creme brulee", None, ["Crème", "brûlée"]),
        ("Cafe table", "café", None, ["Cafe"]),
        ("😀 A blue rug", "blue", None, ["blue"]),
        ("Wi-Fi router", "wifi", None, ["Wi-Fi"]),
        ("Ladder 10ft", "10 ft", None, ["10ft"]),
        ("Rote Häuser", "haus", "de", ["Häuser"]),
        ("レザーソファベッド", "ソファ", None, ["ソファ"]),
        ("소파 베드", "소파", None, ["소파"]),
        ("أريكة جلدية", "اريكة", None, ["أريكة"]),
        ("Notebook", "note", None, []),
        ("", "note", None, []),
    ],
)
def test_marked_words(title: str, query: str, language: str | None, shown: list[str]) -> None:
    assert marked(title, query, language) == shown


@given(st.text(max_size=40), st.text(max_size=20))
def test_ranges_ascend_inside_the_title(title: str, query: str) -> None:
    wanted = set(either_keys(query_words(query)).ravel().tolist())
    ends = [end for found in highlights(title, wanted) for end in found]
    assert ends == sorted(set(ends)) and all(0 <= end <= len(title) for end in ends)
