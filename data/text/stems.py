"""Stems of words in the languages whose inflections the English stemmer does not know (Snowball).

An item has the stems of its own language beside its words, and a query searches those of its
language beside what was typed: `Häuser` finds `Haus`. If the query's language is not known, or is
wrong, it still finds its words.
"""

from __future__ import annotations

from functools import lru_cache

import tantivy

from omnisearch.data.text.language import primary

STEM = "="  # begins the token of a stem, in items whose word has another

# Languages in which the stems found more than the words alone (benchmarks/inflections.py).
_SNOWBALL = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}


def is_stemmed(language: str | None) -> bool:
    """Whether words of a language have stems of their own."""
    return language is not None and primary(language) in _SNOWBALL


@lru_cache(maxsize=500_000)
def stem_in(language: str, word: str) -> str:
    """The stem of one of `normalise.words` in a language of `is_stemmed`."""
    return _stemmer(primary(language)).analyze(word)[0]


@lru_cache(maxsize=len(_SNOWBALL))
def _stemmer(language: str) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    return builder.filter(tantivy.Filter.stemmer(_SNOWBALL[language])).build()
