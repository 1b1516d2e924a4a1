"""Tokens for BM25: how items and queries become words, and the index they are searched in.

The words of a text are those of `omnisearch.data.text.words`, so a character of a script without spaces is
a word; neighbours of them are a token too, and so are the neighbouring syllables of a Korean word:
then a part of an unspaced text finds it, and what has the same characters elsewhere ranks below.
A query of several letters of such a script is searched by their pairs alone.
Words of plain a-z are stemmed by the English Snowball stemmer, whatever their language:
item and query meet in the same stem, and no other script is touched. English stop words are left
out of a query that has other words too; items keep them, so that "the who" finds something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tantivy

from omnisearch.data.catalogue import field_texts
from omnisearch.data.errors import Corrupt, InputError
from omnisearch.data.text import is_unspaced, normalise_query, words
from omnisearch.indexer.folders import REBUILD

TOKENS_VERSION = 2  # raise it when `tokens` changes: stored tokens are reused by updates
TOKENS_FILE = "tokens.txt"
MAX_TOKEN_CHARS = 64

# BM25 in Lucene's form.
K1 = 1.2
B = 0.75

# Lucene's English set.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

TokenBackend = Literal["tantivy", "rank-bm25"]

_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_HANGUL = re.compile("[\uac00-\ud7a3]+")

_STEMMER = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)
_MOST_REMEMBERED = 1_000_000
_stems: dict[str, str] = {}


class TokenIndex(Protocol):
    """BM25 over the items of one entity type."""

    def search(
        self, text: str, k: int, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows for any user text, and none where no word is known.

        Args:
            text: anything; it has no syntax.
            allowed: bool (n,) rows that may be returned, or None for all.

        Returns:
            rows int64 (m,), best first, equal scores by row; BM25 scores float32 (m,).
        """
        ...


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


def item_tokens(item: dict[str, Any]) -> list[str]:
    """The tokens of all text fields of an item (`omnisearch.data.catalogue.TEXT_FIELDS`)."""
    return tokens("\n".join(field_texts(item)))


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


def write_tokens(folder: Path, lines: Iterable[str]) -> None:
    """Store the tokens of each row, one line a row, and index them with tantivy."""
    from omnisearch.indexer.tokens_tantivy import write_tantivy

    stored = list(lines)
    (folder / TOKENS_FILE).write_text("".join(f"{line}\n" for line in stored), "utf-8")
    write_tantivy(folder, stored)


def read_tokens(folder: Path) -> list[str]:
    """The tokens of each row as `write_tokens` stored them, joined by spaces."""
    try:
        return (folder / TOKENS_FILE).read_text("utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise Corrupt(
            f"The stored tokens cannot be read ({error}).",
            where=str(folder / TOKENS_FILE),
            how=REBUILD,
        ) from error


def open_tokens(folder: Path, rows: int, backend: str) -> TokenIndex:
    """The token index of `rows` rows in `folder`.

    Raises:
        InputError: the backend is unknown.
        Corrupt: the files do not hold an index of that many rows.
    """
    if backend == "tantivy":
        from omnisearch.indexer.tokens_tantivy import TantivyIndex

        return TantivyIndex(folder, rows)
    if backend == "rank-bm25":
        from omnisearch.indexer.tokens_rank_bm25 import RankBM25Index

        lines = read_tokens(folder)
        if len(lines) != rows:
            raise Corrupt(
                f"There are tokens of {len(lines)} rows, not {rows}.",
                where=str(folder / TOKENS_FILE),
                how=REBUILD,
            )
        return RankBM25Index([line.split() for line in lines])
    raise InputError(
        f"There is no token backend {backend!r}.",
        where="--token-backend",
        how="Use tantivy or rank-bm25.",
    )


def empty_result() -> tuple[np.ndarray, np.ndarray]:
    """No rows and no scores."""
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
