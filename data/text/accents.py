"""Words without their accents, as many people type them: cafe for Café, orsted for Ørsted."""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import normalize

UNACCENTED = "~"  # begins the token of a word without its accents, in items that have it with them

# Only these scripts: in others a mark makes another letter (が is not か), as it does in й.
_ACCENTED = re.compile("[\u00df-\u024f\u0370-\u03ff\u0450-\u0457\u1e00-\u1fff]")
_MARKS = re.compile("[\u0300-\u036f]")
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"}
)


@lru_cache(maxsize=1_000_000)
def unaccented(word: str) -> str:
    """A normalised word without the accents of Latin, Greek and Cyrillic letters."""
    if word.isascii() or not _ACCENTED.search(word):
        return word
    return normalize("NFC", _MARKS.sub("", normalize("NFD", word.translate(_LETTERS))))
