"""Normalised text and words, in many scripts."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.text.exclusions import _LANGUAGES, lacking, languages_of, split_query
from omnisearch.data.text.normalise import MAX_QUERY_CHARS, normalise, normalise_query, words
from omnisearch.data.text.tokens import tokens
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary
from omnisearch.evaluation.wording import plain


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
        ('12" pipe 3/4in', ["12", "pipe", "3", "4", "in"]),
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
        ("Oʻzbekiston", "O'zbekiston"),
        ("мʼята", "м’ята"),
    ],
)
def test_spellings_of_one_word_are_one(one, other):
    assert words(one) == words(other)


@given(st.text(st.characters(categories=["L", "M", "N", "Zs", "Po"])))
def test_no_letter_or_digit_is_lost(text):
    kept = "".join(words(text))
    signs = "\u0640ʹʻʼʽʾʿ"  # Unicode's letters that are used as a line or an apostrophe
    letters = [c for c in normalise(text) if c.isalnum() and c not in signs]
    assert len([c for c in kept if c.isalnum()]) == len(letters)


@given(st.text())
def test_a_normalised_query_is_a_fixed_point_of_bounded_length(text):
    key = normalise_query(text)
    assert len(key) <= MAX_QUERY_CHARS
    assert normalise_query(key) == key
    assert key == key.strip()


def test_a_long_query_is_cut():
    assert normalise_query("ab " * 10_000) == ("ab " * 171)[:MAX_QUERY_CHARS].rstrip()


def _normalised_before(text: str) -> str:
    """`normalise` without its bound on marks, for texts whose signs are not glued to numbers."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.replace("\x00", " ").replace("\u2044", "/").split())


def _glues(text: str) -> bool:
    """Whether NFKC makes of a sign a number beside another digit, or a word of a trade mark."""
    return any(
        mark in "\u2120\u2122\U0001f16a\U0001f16b\U0001f16c"
        or (mark != unicodedata.normalize("NFKC", mark) and not mark.isdecimal()
            and any(c.isdecimal() for c in unicodedata.normalize("NFKC", mark)))
        for mark in text
    )  # fmt: skip


MARKS = "".join(
    mark
    for mark in map(chr, range(0x300, 0x1F000))
    if unicodedata.combining(unicodedata.normalize("NFKD", mark)[0])
)
SCRIPTS = "aéǘᾂİßﬁﷺ가각각寝テｶ๐กเนाकক্ഽΆжשا\u0130 \x00\u00a0-1"
spelled_out = st.text(
    st.sampled_from(SCRIPTS)
    | st.sampled_from(MARKS)
    | st.characters().filter(lambda character: not _glues(character))
)


@given(spelled_out)
def test_ordinary_text_is_normalised_as_nfkc_has_it(text):
    assert normalise(text) == _normalised_before(text)


@given(st.sampled_from(SCRIPTS), st.text(st.sampled_from(MARKS), max_size=13), spelled_out)
def test_thirty_marks_of_a_letter_are_kept(letter, marks, rest):
    text = letter + marks + "x" + "\u0301\u0316" * 15 + "y" + rest
    assert normalise(text) == _normalised_before(text)


@pytest.mark.parametrize("mark", ["\u0301", "\u0316\u0301", "\u0344", "\u0f73", "\uff9e"])
@pytest.mark.parametrize("letter", ["", "e", "\u1f82", "か", "\U00012000"])
def test_more_marks_of_a_letter_are_dropped(letter, mark):
    found = normalise(letter + mark * 5_000 + " end")
    decomposed = unicodedata.normalize("NFKD", found)
    assert sum(unicodedata.combining(part) > 0 for part in decomposed) in (28, 29, 30)
    assert found.endswith(" end")
    assert normalise(found) == _normalised_before(found)  # nothing more is dropped


@given(st.text(st.sampled_from(MARKS + "aéǘ \U00012000"), min_size=100, max_size=400))
def test_marks_are_dropped_once(text):
    found = normalise(text)
    assert normalise(found) == _normalised_before(found)


HOSTILE = [
    *("a\u0316\u0301", "\u0316\u0301", "\u0f73\u0316", "\u0344\u0316", "\U0001e8d0\u0301"),
    *(" ", "\x00", "a", "a ", "1a", "-", "\u00ad", "\u0900\u200c", "i\u0307", "\ufdfa", "\u1100"),
    *("1/", "1.", "1,000", ",000", "1 1/", "a-", "1½", "¹", "™", "1a"),
    *("\uac00", "寝", "\u0e01\u0e31", "\u1039\u1000", "\U00012000", "without ", "no free ", "(,"),
]
EVERY_LANGUAGE = languages_of(_LANGUAGES)


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(normalise, id="normalise"),
        pytest.param(tokens, id="tokens"),
        pytest.param(plain, id="plain"),
        pytest.param(lambda text: lacking(text, EVERY_LANGUAGE), id="lacking"),
        pytest.param(lambda text: split_query(normalise(text), EVERY_LANGUAGE), id="split_query"),
        pytest.param(NgramIndex(NgramVocabulary([], [], [])).string, id="n-grams"),
    ],
)
def test_four_times_the_text_takes_about_four_times_as_long(work, part):
    """Quadratic work would take sixteen times as long."""

    def seconds(length: int) -> float:
        best = 9.0
        for turn in range(3):
            text = part * (length // len(part)) + str(turn)  # no cache may know it
            start = time.process_time()
            work(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(40_000) < 9 * seconds(10_000) + 0.02
