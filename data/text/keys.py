"""Short keys of texts: of words, of board ids, of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from omnisearch.data.text.accents import UNACCENTED, unaccented
from omnisearch.data.text.normalise import words


def key_of(text: str) -> int:
    """A 64-bit key of any text."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def name_key(text: str) -> int:
    """The key of a name or of a query that may be one: its words in their order; 0 without any."""
    found = words(text)
    return key_of(" ".join(found)) if found else 0


def word_keys(tokens: Iterable[str]) -> np.ndarray:
    """The distinct 32-bit keys of tokens, uint32, ascending. Accents make no difference."""
    return np.array(sorted({_word_key(token) for token in tokens}), dtype=np.uint32)


def either_keys(tokens: Sequence[tuple[str, ...]]) -> np.ndarray:
    """The keys of a query's `query_words`, uint32 (q, 2 or 4): any of a row's will do."""
    rows = [tuple(map(_word_key, same)) for same in tokens]
    width = len(rows[0]) if rows else 2
    found = sorted({row[0]: row for row in rows}.values())
    return np.array(found, dtype=np.uint32).reshape(-1, width)


@lru_cache(maxsize=1_000_000)
def _word_key(token: str) -> int:
    return key_of(unaccented(token.removeprefix(UNACCENTED))) & 0xFFFFFFFF


def term_keys(terms: Iterable[str]) -> np.ndarray:
    """The 32-bit key of each term as it is, accents and all, uint32."""
    return np.array([_term_key(term) for term in terms], dtype=np.uint32)


@lru_cache(maxsize=1_000_000)
def _term_key(term: str) -> int:
    return key_of(term) & 0xFFFFFFFF
