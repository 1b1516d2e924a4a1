"""The one place where text is normalised and split into words.

Queries, n-grams, BM25 and enrichment all use these two functions, so that a word means the same
in every room.
"""

from __future__ import annotations

import re
import unicodedata

MAX_QUERY_CHARS = 512

# Scripts written without spaces: each character stands alone (CJK ideographs, kana, Thai, Lao,
# Khmer, Myanmar); every other run of letters, marks and digits is one word.
_ALONE = (
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003134f"
)
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}](?:[^\W_{_ALONE}]|[\u0300-\u036f\u0900-\u0dff])*")
_SPACE = re.compile(r"\s+")


def normalise(text: str) -> str:
    """NFKC, casefold, one space between words, no leading or trailing space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SPACE.sub(" ", folded.replace("\x00", " ")).strip()


def normalise_query(text: str) -> str:
    """The id of a query: its normalised text, cut to MAX_QUERY_CHARS characters."""
    return normalise(text[: 4 * MAX_QUERY_CHARS])[:MAX_QUERY_CHARS].rstrip()


def words(text: str) -> list[str]:
    """The words of a text: split at white space and punctuation after `normalise`.

    Characters of scripts without spaces are words of their own.
    """
    return _WORD.findall(normalise(text))
