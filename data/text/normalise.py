"""The one place where text is normalised and split into words.

Queries, n-grams, BM25 and enrichment all use these functions, so that a word means the same
everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from unicodedata import normalize

MAX_QUERY_CHARS = 512

# In scripts without spaces (CJK ideographs, kana, Thai, Lao, Khmer, Myanmar) each character with
# its marks is a word; every other run of letters, marks and digits is one word.
_ALONE = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
_STACKS = "\u1039\u17d2"  # writes the next consonant below: Myanmar's virama, Khmer's coeng
_MARKS = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
_WORD = re.compile(
    rf"(?=[\w{_MARKS}])[{_ALONE}](?:[{_STACKS}][{_ALONE}]|[{_MARKS}])*"
    rf"|[^\W_{_ALONE}](?:[^\W_{_ALONE}]|[{_MARKS}])*"
)
_UNSPACED = re.compile(rf"[{_ALONE}]")

# Optional characters: Hebrew and Arabic vowel points and the Arabic tatweel, soft hyphens,
# invisible joiners (ZWNJ in Indic scripts only: in Persian it separates words), and the dot that
# casefolding leaves of Turkish İ.
_SILENT = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u00ad\u200d\u2060\ufeff]"
    "|(?<=[\u0900-\u0dff])\u200c|(?<=i)\u0307"
)
_MAY_DIFFER = re.compile("[\u00ad\u0131\u0307\u0591-\u06ff\u0900-\u0dff\u200c\u200d\u2060\ufeff]")
# Letters that are used interchangeably in Arabic script, and in Turkish capitals.
_ALIKE = str.maketrans("أإآٱىیکة" + "ı", "ااااييكه" + "i")
_SPACE = re.compile(r"\s+")

# NFKC sorts the marks of a letter in quadratic time. As in Unicode's Stream-Safe Text Format
# (UAX 15), a letter has at most 30 marks once decomposed; the others are dropped.
_MOST_MARKS = 30
_WEIGHTS = {  # mark → how many marks it decomposes into, one or two
    mark: len(parts)
    for mark in map(chr, range(0x300, 0x1F000))
    if unicodedata.combining((parts := normalize("NFKD", mark))[0])
}
# A letter decomposes into itself and at most three marks. Beyond 0xffff all characters up to the
# last mark are looked at, because a set with many ranges there is slow.
_LOW_MARKS = "".join(mark for mark in _WEIGHTS if ord(mark) < 0x10000)
_MANY_MARKS = re.compile(rf"[{_LOW_MARKS}\U00010000-\U0001efff]{{{(_MOST_MARKS - 3) // 2 + 1},}}")


def normalise(text: str) -> str:
    """NFKC, casefold, one space between words, no leading or trailing space; in linear time.

    Of more than 30 marks on one letter, those after the first 30 are dropped.
    """
    if not text.isascii():
        text = normalize("NFKC", _MANY_MARKS.sub(_first_marks, text))
    folded = text.casefold()
    return _SPACE.sub(" ", folded.replace("\x00", " ")).strip()


def normalise_query(text: str) -> str:
    """The id of a query: its normalised text, cut to MAX_QUERY_CHARS characters."""
    return normalise(text[: 4 * MAX_QUERY_CHARS])[:MAX_QUERY_CHARS].rstrip()


def _first_marks(run: re.Match[str]) -> str:
    """The run of marks, without those that are too many for the letter before them."""
    marks = _marks_of(run.string[max(run.start() - 1, 0) : run.start()])
    kept = []
    for character in run[0]:
        weight = _WEIGHTS.get(character)
        marks = _marks_of(character) if weight is None else marks + weight
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=4096)
def _marks_of(letter: str) -> int:
    """How many marks a letter decomposes into, besides itself."""
    return sum(unicodedata.combining(part) > 0 for part in normalize("NFKD", letter))


def words(text: str) -> list[str]:
    """The words of a text: split at white space and punctuation after `normalise`.

    Each character of a script without spaces is a word, with its marks. Vowel points, invisible
    joiners and variants of a letter make no difference.
    """
    return _WORD.findall(_folded(text))


def replace_words(text: str, replace: Callable[[str], str]) -> str:
    """The normalised text with each of its `words` replaced."""
    return _WORD.sub(lambda found: replace(found[0]), _folded(text))


def _folded(text: str) -> str:
    text = normalise(text)
    if not text.isascii() and _MAY_DIFFER.search(text):
        text = _SILENT.sub("", text).translate(_ALIKE)
    return text


def is_unspaced(word: str) -> bool:
    """Whether one of `words` is a character of a script without spaces."""
    return _UNSPACED.match(word) is not None
