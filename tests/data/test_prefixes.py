"""The form in which what is typed is compared, whose part is shown, and what is private."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.prefixes import matched_part, typed_key, typos, whole_key
from omnisearch.data.text.private import looks_private


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Leather SOFA", "leather so"),
        ("Leather sofa", "  LEATHER  s"),
        ("Crème brûlée", "creme bru"),
        ("creme", "crè"),
        ("Ørsted lamp", "ors"),
        ("소파 베드", "소"),
        ("소파 베드", "솦"),
        ("소파 베드", "ㅅ"),
        ("과자", "고"),
        ("닭고기", "달"),
        ("ソファベッド", "ソフ"),
        ("真皮沙发", "真皮"),
        ("ที่นอน", "ท"),
        ("أريكة", "اري"),
        ("مكتبة", "مکت"),
        ("Ψάθα", "ψαθ"),
        ("RTX4090", "rtx 4"),
        ("Wi-Fi router", "wi-"),
        ("Straße", "stras"),
    ],
)
def test_what_begins_a_text(text: str, typed: str) -> None:
    assert whole_key(text).startswith(typed_key(typed))


@pytest.mark.parametrize(
    ("text", "typed"), [("leatherette", "leather "), ("소파", "수"), ("sofa", "fa"), ("ガス", "カ")]
)
def test_what_does_not(text: str, typed: str) -> None:
    assert not whole_key(text).startswith(typed_key(typed))


@given(st.text(max_size=30), st.text(max_size=12))
def test_any_text_is_taken(text: str, typed: str) -> None:
    key = typed_key(typed)
    assert "\n" not in whole_key(text) and whole_key(text)[-1:] in ("", " ")
    part = matched_part(text, key) if key.strip() else None
    assert part is None or 0 <= part[0] < part[1] <= len(text)


@pytest.mark.parametrize(
    ("text", "typed", "shown"),
    [
        ("Red Leather-Sofa", "leath", "Leath"),
        ("Leather Sofa", "leather ", "Leather"),
        ("Leather Sofa", "leather s", "Leather S"),
        ("Crème brûlée", "brul", "brûl"),
        ("Cafe\u0301 table", "cafe", "Cafe\u0301"),
        ("😀 소파 베드", "ㅂ", "베"),
        ("レザーソファ", "ソファ", "ソファ"),
        ("Große Straße", "stras", "Straß"),
    ],
)
def test_the_part_that_was_typed(text: str, typed: str, shown: str) -> None:
    part = matched_part(text, typed_key(typed))
    assert part is not None and text[slice(*part)] == shown


def test_typos_by_length() -> None:
    assert [typos(word) for word in ("rug", "sofa", "leather", "tabletop", "1234")] == [
        *(0, 1, 1, 2, 0)
    ]


@pytest.mark.parametrize(
    "query",
    [
        *("ann@example.org", "mail to ann @ example.org", "+49 171 2345678", "(030) 123-45-67"),
        *("4111 1111 1111 1111", "de89 3704 0044 0532 0130 00", "５５５１２３４５６７"),
    ],
)
def test_private_queries(query: str) -> None:
    assert looks_private(query)


@pytest.mark.parametrize("query", ["rtx 4090", "10 x 20 cm", "sofa 200x90", "iphone 15", "@"])
def test_other_queries(query: str) -> None:
    assert not looks_private(query)
