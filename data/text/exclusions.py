"""Exclusions in texts: 'knife set without block', 'no handles', 'sugar free'.

BM25, and an encoder that has not learned otherwise from a log, treat excluded words as wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from omnisearch.data.text.normalise import normalise, words
from omnisearch.data.text.tokens import tokens

# Language → words that exclude what follows, and prepositions that end the exclusion.
_LANGUAGES = {
    "bg": ("без", "с за"),
    "cs": ("bez", "s pro"),
    "da": ("uden", "med til"),
    "de": ("ohne", "mit für"),
    "el": ("χωρίς", "με για"),
    "en": ("without w/o", "with for"),
    "es": ("sin", "con para"),
    "fr": ("sans", "avec pour"),
    "it": ("senza", "con per"),
    "nb": ("uten", "med til"),
    "nl": ("zonder", "met voor"),
    "no": ("uten", "med til"),
    "pl": ("bez", "z dla"),
    "pt": ("sem", "com para"),
    "ro": ("fără", "cu pentru"),
    "ru": ("без", "с для"),
    "sk": ("bez", "s pre"),
    "sv": ("utan", "med för"),
    "uk": ("без", "з для"),
}
EXCLUDING = frozenset(word for found, _ in _LANGUAGES.values() for word in words(found))
# These exclude in names; in queries they may not: 'no show socks', 'free standing shelf'.
_NAMES_BEFORE = {"en": "no non"}
_NAMES_AFTER = {"en": "free", "de": "frei"}
_NAMED = 2  # words of a name that are excluded after one of these: 'no mesh liner'


def languages_of(codes: Iterable[str | None]) -> frozenset[str]:
    """English, and the catalogue's languages whose exclusion words are known."""
    found = {code.lower().split("-")[0] for code in codes if code}
    return frozenset(found & _LANGUAGES.keys() | {"en"})


def split_query(query: str, languages: frozenset[str]) -> tuple[str, str]:
    """What a normalised query wants, and what it excludes (usually nothing).

    An exclusion extends to the next preposition ('with', 'for'), comma or parenthesis, or to the
    end. If no wanted word would remain, as in 'without you', the whole query is wanted.
    """
    pattern = _query_pattern(languages)
    excluded = " ".join(pattern.findall(query))
    wanted = pattern.sub(" ", query)
    return (wanted, excluded) if words(wanted) and words(excluded) else (query, "")


def lacking(name: str, languages: frozenset[str]) -> list[str]:
    """The tokens that a name excludes: the next two words, or the word before."""
    found = words(name)
    before, after = _name_words(languages)
    lacked: list[str] = []
    for place, word in enumerate(found):
        if word in before:
            lacked += found[place + 1 : place + 1 + _NAMED]
        elif word in after:
            lacked += found[max(place - 1, 0) : place]
    return [token for word in lacked for token in tokens(word)]


@lru_cache(maxsize=64)
def _query_pattern(languages: frozenset[str]) -> re.Pattern[str]:
    """A pattern whose group is the excluded words."""
    excluding = _normal(_LANGUAGES[code][0] for code in languages)
    ending = _normal(_LANGUAGES[code][1] for code in languages)
    either = "|".join(map(re.escape, excluding))
    ends = "|".join(map(re.escape, [*ending, *excluding]))
    return re.compile(rf"(?<!\w)(?:{either})\s+(.+?)(?=\s+(?:{ends})(?!\w)|\s*[,;()]|$)")


@lru_cache(maxsize=64)
def _name_words(languages: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    before = _normal(f"{_LANGUAGES[code][0]} {_NAMES_BEFORE.get(code, '')}" for code in languages)
    after = _normal(_NAMES_AFTER.get(code, "") for code in languages)
    return frozenset(before), frozenset(after)


def _normal(texts: Iterable[str]) -> list[str]:
    return normalise(" ".join(texts)).split()
