"""Tokens for BM25: how the texts of items and queries become words of BM25.

The words of a text are those of `normalise.words`, so a character of a script without spaces is a
word; neighbours of them are a token too, and so are the neighbouring syllables of a Korean word:
then a part of an unspaced text finds it, and what has the same characters elsewhere ranks below.
A query of several letters of such a script is searched by their pairs alone.
Words of plain a-z are stemmed by the English Snowball stemmer, whatever their language:
item and query meet in the same stem, and no other script is touched. English stop words are left
out of a query that has other words too; items keep them, so that "the who" finds something.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import tantivy

from omnisearch.data.text.normalise import is_unspaced, normalise_query, words

TOKENS_VERSION = 2  # raise it when `tokens` changes: stored tokens are reused by updates
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
    """The distinct tokens a query is searched by; of a very long query, its beginning."""
    found = words(normalise_query(text))
    kept = [word for word in found if word not in STOP_WORDS] or found
    if text.isascii():
        return list(dict.fromkeys(map(_stem, kept)))
    pairs = _neighbours(found)
    # A letter says nothing beside its pairs, and half the shop has it; an ideograph is a word.
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
