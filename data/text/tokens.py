"""Tokens for BM25 and for word features, from the texts of items and queries.

A text is split as by `normalise.words`, except that a number is one token, by its value
(`numbers.plain_numbers`). Further tokens join what may be written together or apart: a number and
the word beside it (10ft for 10 ft, rtx4090 for RTX 4090, also for RTX4090), and words with a hyphen
or an apostrophe (wifi for wi-fi, oneill for O'Neill). So both spellings find each other, and 10
beside another unit counts less.

Pairs of neighbouring characters of scripts without spaces are tokens too, as are pairs of
neighbouring syllables of a Korean word: part of an unspaced text then finds it, and texts with the
same characters elsewhere rank lower. A query of several such letters is searched by their pairs
alone. Words of plain a-z are stemmed by the English Snowball stemmer, whatever their language:
items and queries share the same stems, and other scripts are unaffected. What is known to be in a
language of `stems` has stems of that language in addition. English stop words are
dropped from a query that has other words; items keep them, so that "the who" finds something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import tantivy

from omnisearch.data.text.accents import UNACCENTED, unaccented
from omnisearch.data.text.normalise import LETTERS, folded, is_unspaced, normalise_query, words
from omnisearch.data.text.numbers import plain_numbers
from omnisearch.data.text.stems import STEM, is_stemmed, stem_in

TOKENS_VERSION = 6  # increase it when what BM25 reads changes, because updates reuse stored tokens
MAX_TOKEN_CHARS = 64

CODE = "#"  # begins the token of an item's id, SKU, GTIN or MPN

# What the tokens of a query count; words count 1. Chosen on half of the queries of Home Depot and
# ESCI. BM25's nDCG@10 on the other halves: 0.387 and 0.577, where words alone have 0.381 and 0.564.
_BESIDE = 0.25  # two words as one: 10ft, or power tool as powertool
_NUMBER = 1.25  # another number is another thing
_UNIT = 0.5  # a short word after a number: 64 GB is not 128 GB
_PART = 0.25  # a part of a word that items have joined: wi, of wi-fi
_INSTEAD = 0.5  # with or without accents, or inflected, where items have it as it was typed
_CODE = 50.0  # above all words together


# Lucene's English set.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

_ATOM = re.compile(rf"\d+(?:\.\d+)*|{LETTERS}")
_ASCII_ATOM = re.compile(r"\d+(?:\.\d+)*|[a-z]+")
_HYPHENED = re.compile("[^\\W\\d_]+(?:[-\u2010][^\\W\\d_]+)+")
# Words that are also written without their apostrophe or, in Persian, ZWNJ; not with what French,
# Italian and Catalan elide (d'été must find l'été), nor with the endings of English.
_APART = re.compile("['’‘\u200c]")
_APART_WORD = re.compile(
    r"(?<!\w)(?!(?:[cdjlmnst]|qu|un|\w*ll)['’‘])[^\W\d_]+"
    "(?:\u200c[^\\W\\d_]+|['’‘](?!(?:s|t|d|m|ll|re|ve)(?!\\w))[^\\W\\d_]+)+"
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_HANGUL = re.compile("[\uac00-\ud7a3]+")

_STEMMER = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)
_LONG_NUMBER = 12
_SHORT = 2
_LONGEST_UNIT = 3
_MOST_REMEMBERED = 1_000_000
_stems: dict[str, str] = {}


class Use(NamedTuple):
    """How a query's token counts: by `weight`. Another spelling, `instead_of` a token, counts no
    more than that one would; fully if no item has that one.
    """

    weight: float = 1.0
    instead_of: str = ""


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order, repeated ones included; those of two words follow."""
    plain, found = _split(text)
    stems = [_stems.get(word) or _stem(word) for word in found]
    joined = _beside_numbers(found, stems)
    joined += [_stem(whole) for _, whole in _hyphened(plain)]
    joined += map(_stem, _written_apart(plain))
    if text.isascii():
        return stems + joined
    accents = [UNACCENTED + _stem(unaccented(word)) for word in found if word != unaccented(word)]
    return [*stems, *joined, *accents, *_neighbours(found)]


def stem_tokens(text: str, language: str | None) -> list[str]:
    """The stems of a text's words, in order, where they differ from `tokens`; of an item."""
    if language is None or not is_stemmed(language):
        return []
    _, found = _split(text)
    stems = [(word, _stem_in(language, word)) for word in found if word[0] > "9"]
    return [STEM + stem for word, stem in stems if stem != _stem(word)]


def code_token(code: str) -> str:
    """The token of a code or of a query that may be one: its letters and digits, in any case.

    Leading zeros of a long number do not count: a UPC is also written as an EAN or a GTIN-14.
    """
    letters = "".join(words(code))
    if letters.isdigit() and len(letters) >= _LONG_NUMBER:
        letters = letters.lstrip("0")
    return CODE + letters[:MAX_TOKEN_CHARS]


def spelled_words(text: str) -> set[str]:
    """The words of a text as they may be typed: also those that hyphens join as one."""
    plain = folded(text)
    joined = (whole for _, whole in _hyphened(plain))
    return {*words(text), *joined, *_written_apart(plain)}


def _split(text: str) -> tuple[str, list[str]]:
    """The folded text, and its words and numbers."""
    plain = plain_numbers(folded(text))
    return plain, (_ASCII_ATOM if plain.isascii() else _ATOM).findall(plain)


def _beside_numbers(found: Sequence[str], stems: Sequence[str]) -> list[str]:
    """Each number joined to the word before it and to the one after it."""
    numbers = [place for place, word in enumerate(found) if word[0] <= "9"]
    joined = []
    for place in numbers:
        if place and found[place - 1][0] > "9":
            joined.append(stems[place - 1] + stems[place])
        if place + 1 < len(found) and found[place + 1][0] > "9":
            joined.append(stems[place] + stems[place + 1])
    return joined


def _hyphened(plain: str) -> Iterator[tuple[list[str], str]]:
    """The words that hyphens join, and these as one word; of three and more also each two."""
    if "-" not in plain and "\u2010" not in plain:
        return
    near = " ".join(part for part in plain.split() if "-" in part or "\u2010" in part)
    for run in _HYPHENED.findall(near):
        parts = re.split("[-\u2010]", run)
        yield parts, "".join(parts)
        if len(parts) > 2:
            for two in pairwise(parts):
                yield list(two), "".join(two)


def _written_apart(plain: str) -> list[str]:
    """The words with an apostrophe or a ZWNJ, without it: oneill for o'neill."""
    if not _APART.search(plain):
        return []
    return [_APART.sub("", run) for run in _APART_WORD.findall(plain)]


def _short(kept: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Words of one or two letters of a query with the next word, like words with a hyphen."""
    for first, second in pairwise(kept):
        short = min(len(first), len(second)) <= _SHORT
        if short and _letters(first, second) and not STOP_WORDS & {first, second}:
            yield [first, second], first + second


def _neighbours(found: Sequence[str]) -> list[str]:
    """Pairs of neighbouring characters of scripts without spaces, and of Hangul inside a word."""
    pairs = [a + b for a, b in pairwise(found) if is_unspaced(a) and is_unspaced(b)]
    for word in found:
        if len(word) > 2 and _HANGUL.fullmatch(word):
            pairs += [a + b for a, b in pairwise(word)]
    return pairs


def query_tokens(text: str, language: str | None = None) -> dict[str, Use]:
    """The distinct tokens that a query is searched by; a very long query is cut.

    Args:
        language: the query's, if it is known: its words' stems are searched too.
    """
    text = normalise_query(text)
    plain, found = _split(text)
    kept, pairs = _kept(found)
    uses = {_stem(word): Use(_NUMBER if word[0] <= "9" else 1.0) for word in kept}
    for number, unit in pairwise(found):
        if number[0] <= "9" < unit[0] and len(unit) <= _LONGEST_UNIT and unit in uses:
            uses[unit] = Use(_UNIT)
    uses |= dict.fromkeys(pairs, Use())
    for parts, whole in (*_hyphened(plain), *_short(kept)):
        joined = _stem(whole)
        for part in map(_stem, parts):
            if part in uses and not uses[part].instead_of:
                uses[part] = Use(_PART, joined)
        uses[joined] = Use()
    beside = _beside_numbers(found, list(map(_stem, found)))
    beside += [_stem(first + second) for first, second in pairwise(kept) if _letters(first, second)]
    others = {token: Use(_BESIDE) for token in beside}
    for word in kept:
        token, bare = _stem(word), _stem(unaccented(word))
        others[UNACCENTED + bare] = Use(_INSTEAD, token)
        for other in ({bare} | set(_inflected(word, language))) - {token}:
            others[other] = Use(_INSTEAD, token)
    return others | uses | {code_token(text): Use(_CODE)}


def query_words(text: str, language: str | None = None) -> list[tuple[str, ...]]:
    """What a query wants: `needed_words`, and each number joined to the word before and after it,
    since `RTX 4090` is nearer to what is asked than an RTX and some 4090."""
    _, found = _split(normalise_query(text))
    needed = needed_words(text, language)
    known, width = {token for token, *_ in needed}, len(needed[0]) if needed else 2
    beside = dict.fromkeys(_beside_numbers(found, list(map(_stem, found))))
    return needed + [(token,) * width for token in beside if token not in known]


def needed_words(text: str, language: str | None = None) -> list[tuple[str, ...]]:
    """What an item must have to match: the query's tokens, each with tokens that are as good, or
    itself again.

    Of a word with a hyphen (or `t shirt`), these are its parts, and the whole: either spelling has
    it all. With a language, the stem of each word is as good too.
    """
    plain, found = _split(normalise_query(text))
    kept, pairs = _kept(found)
    stems = list(map(_stem, kept))
    wanted = {token: token for token in (*stems, *pairs)}
    for parts, whole in (*_hyphened(plain), *_short(kept)):
        wanted |= {part: _stem(whole) for part in map(_stem, parts) if wanted.get(part) == part}
    if not is_stemmed(language):
        return list(wanted.items())
    inflected = {_stem(word): _inflected(word, language) for word in kept}
    return [
        (token, other, *(inflected.get(token) or (token, token))) for token, other in wanted.items()
    ]


def _kept(found: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that a query is searched by, and the pairs of unspaced characters."""
    kept = [word for word in found if word not in STOP_WORDS] or list(found)
    pairs = _neighbours(found)
    if pairs:
        # A single letter adds nothing to its pairs and is in most items; an ideograph is a word.
        letters = {word for pair in pairs for word in words(pair) if is_unspaced(word)}
        kept = [word for word in kept if word not in letters or _IDEOGRAPH.match(word)]
    return kept, pairs


def _inflected(word: str, language: str | None) -> tuple[str, ...]:
    """The tokens of items whose word has the same stem: where it is inflected, and where not."""
    if language is None or not is_stemmed(language) or word[0] <= "9":
        return ()
    stem = _stem_in(language, word)
    return (STEM + stem, stem)


def _letters(first: str, second: str) -> bool:
    """Whether two words may have been one: not numbers, nor characters of unspaced scripts."""
    return not (first[0] <= "9" or second[0] <= "9" or is_unspaced(first) or is_unspaced(second))


def _stem_in(language: str, word: str) -> str:
    return stem_in(language, word[:MAX_TOKEN_CHARS])


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
