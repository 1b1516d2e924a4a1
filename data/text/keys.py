"""Short keys of texts: of words, of board ids, of queries."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numpy as np


def key_of(text: str) -> int:
    """A 64-bit key of any text."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def word_keys(tokens: Iterable[str]) -> np.ndarray:
    """The distinct 32-bit keys of tokens, uint32, ascending."""
    return np.array(sorted({_word_key(token) for token in tokens}), dtype=np.uint32)


@lru_cache(maxsize=1_000_000)
def _word_key(token: str) -> int:
    return key_of(token) & 0xFFFFFFFF
