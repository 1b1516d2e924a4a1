"""The one place where text is normalised and split into words.

Queries, n-grams, BM25 and enrichment all use these functions, so that a word means the same
everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from unicodedata import combining, decomposition, normalize

MAX_QUERY_CHARS = 512

# In scripts without spaces (CJK ideographs, kana, Thai, Lao, Khmer, Myanmar) each character with
# its marks is a word; every other run of letters and marks is one word, and so is a run of digits.
_ALONE = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
_STACKS = "\u1039\u17d2"  # writes the next consonant below: Myanmar's virama, Khmer's coeng
_MARKS = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
LETTERS = (
    rf"(?=[\w{_MARKS}])[{_ALONE}](?:[{_STACKS}][{_ALONE}]|[{_MARKS}])*"
    rf"|[^\W\d_{_ALONE}](?:[^\W\d_{_ALONE}]|[{_MARKS}])*"
)
_WORD = re.compile(rf"\d+|{LETTERS}")
_UNSPACED = re.compile(rf"[{_ALONE}]")

# Optional characters: Hebrew and Arabic vowel points and the Arabic tatweel, soft hyphens,
# invisible joiners (ZWNJ in Indic scripts only: in Persian it separates words), and the dot that
# casefolding leaves of Turkish İ.
_SILENT = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u00ad\u200d\u2060\ufeff]"
    "|(?<=[\u0900-\u0dff])\u200c|(?<=i)\u0307"
)
_DIGITS = "".join(filter(str.isdecimal, map(chr, range(0x80, 0x1FBFA))))
_BEYOND = "\U000104a0"  # from here on one range: a set of many is slow
_MAY_DIFFER = re.compile(
    "[\u00ad\u00d7\u0131\u02b9-\u02bf\u0307\u0591-\u06ff\u0900-\u0dff\u200c\u200d\u2060\ufeff"
    f"{''.join(d for d in _DIGITS if d < _BEYOND)}{_BEYOND}-\U0001fbf9]"
)
# Letters that are used interchangeably in Arabic script, and in Turkish capitals; 2×4 and 2x4; the
# apostrophes that are letters (in Uzbek, Ukrainian, Hawaiian), as few keyboards have them; the
# digits of all scripts, and Arabic's decimal and thousands separators.
_ALIKE = str.maketrans(
    "أإآٱىیکة" + "ı" + "×" + "ʹʻʼʽʾʿ" + "٫٬" + _DIGITS,
    "ااااييكه" + "i" + "x" + "'" * 6 + ".," + "".join(str(unicodedata.digit(c)) for c in _DIGITS),
)
_NO_DIGITS = str.maketrans("", "", "0123456789")
_SPACE = re.compile(r"\s+")

# NFKC sorts the marks of a letter in quadratic time. As in Unicode's Stream-Safe Text Format
# (UAX 15), a letter has at most 30 marks once decomposed; the others are dropped.
_MOST_MARKS = 30
_WEIGHTS = {  # mark → how many marks it decomposes into, one or two
    mark: len(parts)
    for mark in map(chr, range(0x300, 0x1F000))
    if (combining(mark) or decomposition(mark)) and combining((parts := normalize("NFKD", mark))[0])
}
# A letter decomposes into itself and at most three marks. Beyond 0xffff all characters up to the
# last mark are looked at, because a set with many ranges there is slow.
_LOW_MARKS = "".join(mark for mark in _WEIGHTS if ord(mark) < 0x10000)
_NO_LOW_MARK = re.compile(f"[^{_LOW_MARKS}]")
_MANY_MARKS = re.compile(rf"[{_LOW_MARKS}\U00010000-\U0001efff]{{{(_MOST_MARKS - 3) // 2 + 1},}}")

# NFKC would glue some signs to what stands beside them: 10½ would be 101⁄2, and LEGO™ legotm. Signs
# of trade are dropped; signs with a number are set apart from other numbers. The digits of an
# exponent (10²³) stay together.
_TRADE = "\u2120\u2122\U0001f16a\U0001f16b\U0001f16c"
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"
_BLOCKS = (
    *((0xBC, 0xBF), (0x2150, 0x218A), (0x2460, 0x249C), (0x24EA, 0x2500)),
    *((0x3200, 0x3400), (0x1F100, 0x1F10B)),
)
_NUMBERED = "".join(
    sign
    for start, end in _BLOCKS
    for sign in map(chr, range(start, end))
    if decomposition(sign) and re.search(r"\d", normalize("NFKC", sign))
)
_GLUED = re.compile(f"[{_TRADE}{_RAISED}{_NUMBERED}]")
_BETWEEN = re.compile(
    rf"[{_TRADE}]|(?<=\d)(?=[{_RAISED}{_NUMBERED}])|(?<=[{_RAISED}])(?=[\d{_NUMBERED}])"
    rf"|(?<=[{_NUMBERED}])(?=[\d{_RAISED}{_NUMBERED}])"
)


def normalise(text: str) -> str:
    """NFKC, casefold, one space between words, no leading or trailing space; in linear time.

    A sign for a number is not glued to a number before it (10½ is 10 1/2), and trade marks are
    dropped. Of more than 30 marks on one letter, those after the first 30 are dropped.
    """
    if not text.isascii():
        if _GLUED.search(text):
            text = _BETWEEN.sub(" ", text)
        text = normalize("NFKC", _MANY_MARKS.sub(_first_marks, text)).replace("\u2044", "/")
    folded = text.casefold()
    return _SPACE.sub(" ", folded.replace("\x00", " ")).strip()


def normalise_query(text: str) -> str:
    """The id of a query: its normalised text, cut to MAX_QUERY_CHARS characters."""
    return normalise(text[: 4 * MAX_QUERY_CHARS])[:MAX_QUERY_CHARS].rstrip()


def encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which cannot be encoded."""
    return text.encode("utf-8", "replace").decode()


def _first_marks(run: re.Match[str]) -> str:
    """The run of marks, without those that are too many for the letter before them."""
    marks = _marks_of(run.string[max(run.start() - 1, 0) : run.start()])
    text, at, kept = run[0], 0, []
    while at < len(text):
        weight = _WEIGHTS.get(text[at])
        marks = _marks_of(text[at]) if weight is None else marks + weight
        if marks <= _MOST_MARKS:
            kept.append(text[at])
            at += 1
        else:  # to the next letter: there may be thousands of marks
            letter = _NO_LOW_MARK.search(text, at + 1)
            at = letter.start() if letter else len(text)
    return "".join(kept)


@lru_cache(maxsize=4096)
def _marks_of(letter: str) -> int:
    """How many marks a letter decomposes into, besides itself."""
    return sum(combining(part) > 0 for part in normalize("NFKD", letter))


def words(text: str) -> list[str]:
    """The words of a text: split at white space and punctuation after `normalise`, and where
    letters meet digits, so that RTX4090 and RTX 4090 have the same words.

    Each character of a script without spaces is a word, with its marks. Vowel points, invisible
    joiners and variants of a letter make no difference, nor does the script of a digit.
    """
    return _WORD.findall(folded(text))


def word_places(text: str) -> list[tuple[int, int]]:
    """Where the words of a text as it is stand in it: (start, end) in code points, in order."""
    return [found.span() for found in _WORD.finditer(text)]


def replace_words(text: str, replace: Callable[[str], str]) -> str:
    """The normalised text with its `words` replaced, but numbers and what is glued to them."""

    def of(found: re.Match[str]) -> str:
        start, end = max(found.start() - 1, 0), found.end() + 1
        alone = found.string[start:end].translate(_NO_DIGITS) == found.string[start:end]
        return replace(found[0]) if alone else found[0]

    return _WORD.sub(of, folded(text))


def folded(text: str) -> str:
    """The normalised text, with one form for all that `words` takes to be equal."""
    text = normalise(text)
    if not text.isascii() and _MAY_DIFFER.search(text):
        text = _SILENT.sub("", text).translate(_ALIKE)
    return text


def is_unspaced(word: str) -> bool:
    """Whether one of `words` is a character of a script without spaces."""
    return _UNSPACED.match(word) is not None
