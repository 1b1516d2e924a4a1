"""Short keys of texts: of words, of board ids, of queries."""

from __future__ import annotations

from collections.abc import Iterable
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


def either_keys(tokens: Iterable[tuple[str, str]]) -> np.ndarray:
    """The keys of a query's `query_words`, uint32 (q, 2): either of a row's two will do."""
    found = {_word_key(token): _word_key(other) for token, other in tokens}
    return np.array(sorted(found.items()), dtype=np.uint32).reshape(-1, 2)


@lru_cache(maxsize=1_000_000)
def _word_key(token: str) -> int:
    return key_of(unaccented(token.removeprefix(UNACCENTED))) & 0xFFFFFFFF
