"""Tokens for BM25, from the texts of items and queries.

The words of a text are those of `normalise.words`, so each character of a script without spaces is
a word. Pairs of neighbouring characters are tokens too, as are pairs of neighbouring syllables of a
Korean word: part of an unspaced text then finds it, and texts with the same characters elsewhere
rank lower. A query of several such letters is searched by their pairs alone. Words of plain a-z are
stemmed by the English Snowball stemmer, whatever their language: items and queries share the same
stems, and other scripts are unaffected. English stop words are dropped from a query that has other
words; items keep them, so that "the who" finds something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import tantivy

from omnisearch.data.text.normalise import is_unspaced, normalise_query, words

TOKENS_VERSION = 2  # increase it when `tokens` changes, because updates reuse stored tokens
MAX_TOKEN_CHARS = 64

# Lucene's English set.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_HANGUL = re.compile("[\uac00-\ud7a3]+")

_STEMMER = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)
_MOST_REMEMBERED = 1_000_000
_stems: dict[str, str] = {}


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order, repeated ones included."""
    found = words(text)
    plain = [_stem(word) for word in found]
    return plain if text.isascii() else [*plain, *_neighbours(found)]


def _neighbours(found: Sequence[str]) -> list[str]:
    """Pairs of neighbouring characters of scripts without spaces, and of Hangul inside a word."""
    pairs = [a + b for a, b in pairwise(found) if is_unspaced(a) and is_unspaced(b)]
    for word in found:
        if len(word) > 2 and _HANGUL.fullmatch(word):
            pairs += [a + b for a, b in pairwise(word)]
    return pairs


def query_tokens(text: str) -> list[str]:
    """The distinct tokens that a query is searched by; a very long query is cut."""
    found = words(normalise_query(text))
    kept = [word for word in found if word not in STOP_WORDS] or found
    if text.isascii():
        return list(dict.fromkeys(map(_stem, kept)))
    pairs = _neighbours(found)
    # A single letter adds nothing to its pairs and is in most items; an ideograph is a word.
    letters = {word for pair in pairs for word in words(pair) if is_unspaced(word)}
    kept = [word for word in kept if word not in letters or _IDEOGRAPH.match(word)]
    return list(dict.fromkeys([*map(_stem, kept), *pairs]))


def _stem(word: str) -> str:
    stem = _stems.get(word)
    if stem is None:
        stem = word[:MAX_TOKEN_CHARS]
        if stem.isascii() and stem.isalpha():
            stem = _STEMMER.analyze(stem)[0]
        if len(_stems) >= _MOST_REMEMBERED:
            _stems.clear()
        _stems[word] = stem
    return stem
