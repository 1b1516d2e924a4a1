"""Tokens for BM25: how items and queries become words, and the index they are searched in.

The words of a text are those of `data.text.words`, so a character of a script without spaces is
a word. Words of plain a-z are stemmed by the English Snowball stemmer, whatever their language:
item and query meet in the same stem, and no other script is touched. English stop words are left
out of a query that has other words too; items keep them, so that "the who" finds something.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tantivy

from data.catalogue import field_texts
from data.errors import Corrupt, InputError
from data.text import normalise_query, words

TOKENS_VERSION = 1  # raise it when `tokens` changes: stored tokens are reused by updates
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
    return [_stem(word) for word in words(text)]


def item_tokens(item: dict[str, Any]) -> list[str]:
    """The tokens of all text fields of an item (`data.catalogue.TEXT_FIELDS`)."""
    return tokens("\n".join(field_texts(item)))


def query_tokens(text: str) -> list[str]:
    """The distinct tokens a query is searched by; of a very long query, its beginning."""
    found = dict.fromkeys(words(normalise_query(text)))
    kept = [word for word in found if word not in STOP_WORDS] or list(found)
    return list(dict.fromkeys(_stem(word) for word in kept))


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
    from indexer.tokens_tantivy import write_tantivy

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
            how="Run `omnisearch index rollback` or `omnisearch index build`.",
        ) from error


def open_tokens(folder: Path, rows: int, backend: str) -> TokenIndex:
    """The token index of `rows` rows in `folder`.

    Raises:
        InputError: the backend is unknown.
        Corrupt: the files do not hold an index of that many rows.
    """
    if backend == "tantivy":
        from indexer.tokens_tantivy import TantivyIndex

        return TantivyIndex(folder, rows)
    if backend == "rank-bm25":
        from indexer.tokens_rank_bm25 import RankBM25Index

        lines = read_tokens(folder)
        if len(lines) != rows:
            raise Corrupt(
                f"There are tokens of {len(lines)} rows, not {rows}.",
                where=str(folder / TOKENS_FILE),
                how="Run `omnisearch index rollback` or `omnisearch index build`.",
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
