"""Normalised text and words, in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.normalise import MAX_QUERY_CHARS, normalise, normalise_query, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Boho\t Bedroom\n", "boho bedroom"),
        ("STRASSE straße", "strasse strasse"),
        ("ﬁre １２", "fire 12"),
        ("a\x00b", "a b"),
        ("Cafe\u0301", "café"),
        ("", ""),
    ],
)
def test_normalised_text(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mid-century, modern_lamp!", ["mid", "century", "modern", "lamp"]),
        ('12" pipe 3/4in', ["12", "pipe", "3", "4in"]),
        ("寝室 ideas", ["寝", "室", "ideas"]),
        ("спальня бохо", ["спальня", "бохо"]),
        ("غرفة نوم", ["غرفه", "نوم"]),
        ("बोहो कमरा", ["बोहो", "कमरा"]),
        ("ห้อง", ["ห้", "อ", "ง"]),
        ("ສີດຳ", ["ສີ", "ດໍ", "າ"]),
        ("ពណ៌ខ្មៅ", ["ព", "ណ៌", "ខ្មៅ"]),
        ("အနက်ရောင်။", ["အ", "န", "က်", "ရော", "င်"]),
        ("མཚོ་དམར་པོ།", ["མཚོ", "དམར", "པོ"]),
        ("テーブル・椅子", list("テーブル椅子")),
        ("남성반팔 셔츠", ["남성반팔", "셔츠"]),
        ("काली।", ["काली"]),
        ("ދިވެހި ބަސް", ["ދިވެހި", "ބަސް"]),
        ("...", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("قَمِيص أسود", "قميص اسود"),
        ("كتـــاب", "كتاب"),
        ("پیراهن مشکی", "پيراهن مشكي"),
        ("חוּלְצָה", "חולצה"),
        ("İPEK KIRMIZI", "ipek kırmızı"),
        ("क्\u200dष", "क्ष"),
        ("Donau\u00addampf", "donaudampf"),
        ("ﾃｰﾌﾞﾙ", "テーブル"),
    ],
)
def test_spellings_of_one_word_are_one(one, other):
    assert words(one) == words(other)


@given(st.text(st.characters(categories=["L", "M", "N", "Zs", "Po"])))
def test_no_letter_or_digit_is_lost(text):
    kept = "".join(words(text))
    letters = [c for c in normalise(text) if c.isalnum() and c != "\u0640"]
    assert len([c for c in kept if c.isalnum()]) == len(letters)


@given(st.text())
def test_a_normalised_query_is_a_fixed_point_of_bounded_length(text):
    key = normalise_query(text)
    assert len(key) <= MAX_QUERY_CHARS
    assert normalise_query(key) == key
    assert key == key.strip()


def test_a_long_query_is_cut():
    assert normalise_query("ab " * 10_000) == ("ab " * 171)[:MAX_QUERY_CHARS].rstrip()
