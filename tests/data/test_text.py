"""Normalised text and words, in many scripts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.text import MAX_QUERY_CHARS, normalise, normalise_query, words


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
        ("غرفة نوم", ["غرفة", "نوم"]),
        ("बोहो कमरा", ["बोहो", "कमरा"]),
        ("ห้อง", list("ห้อง")),
        ("...", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text())
def test_a_normalised_query_is_a_fixed_point_of_bounded_length(text):
    key = normalise_query(text)
    assert len(key) <= MAX_QUERY_CHARS
    assert normalise_query(key) == key
    assert key == key.strip()


def test_a_long_query_is_cut():
    assert normalise_query("ab " * 10_000) == ("ab " * 171)[:MAX_QUERY_CHARS].rstrip()
