"""Which words an item's text has: what a query and an item have in common, for any candidate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from data.errors import Corrupt

WORDS_FILE = "words.safetensors"


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


@dataclass(frozen=True)
class Words:
    """The words of a text of each item, each once.

    Attributes:
        keys: uint32, `word_keys` of row after row. offsets: int64 (n + 1,), where each row begins.
    """

    keys: np.ndarray
    offsets: np.ndarray

    def match(
        self, query: np.ndarray, rows: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """How a query's words and the words of rows meet.

        Args:
            query: `word_keys` of the query's tokens.
            rows: int64 (m,).
            weights: float (len(query),), what each word of the query counts; None for 1.

        Returns:
            float32 (m,): the share of the query's words, by weight, that the row has, and the
            share of the row's words that stand in the query; NaN where either has no word.
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(self.offsets[rows] - ends + lengths, lengths) + np.arange(total)
        keys = self.keys[where]
        counts = np.ones(len(query)) if weights is None else weights
        met, hits = np.zeros(total), np.zeros(total, np.int64)
        # A comparison for each word of a query is several times faster than a binary search.
        for key, count in zip(query, counts.tolist(), strict=True):
            same = keys == key
            met += same * count
            hits += same
        known = (lengths > 0) & (len(query) > 0)
        share = _sums(met, ends, lengths) / max(float(counts.sum()), 1e-9)
        cover = _sums(hits, ends, lengths) / np.maximum(lengths, 1)
        nothing = np.float32(np.nan)
        return (
            np.where(known, share, nothing).astype(np.float32),
            np.where(known, cover, nothing).astype(np.float32),
        )


def _sums(values: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    upto = np.concatenate(([0], np.cumsum(values)))
    return upto[ends] - upto[ends - lengths]


@dataclass(frozen=True)
class Texts(Words):
    """The words of all that BM25 reads of each item.

    Attributes:
        known: uint32 (v,), the distinct keys, ascending.
        counts: int64 (v,), in how many rows each stands.
    """

    known: np.ndarray
    counts: np.ndarray

    @cached_property
    def size(self) -> int:
        """How many rows have words."""
        return int(np.count_nonzero(np.diff(self.offsets)))

    def frequency(self, query: np.ndarray) -> np.ndarray:
        """int64 (len(query),): in how many rows each word stands."""
        if not len(self.known):
            return np.zeros(len(query), np.int64)
        at = np.minimum(np.searchsorted(self.known, query), len(self.known) - 1)
        return np.where(self.known[at] == query, self.counts[at], 0)


def idf(texts: Sequence[Texts], query: np.ndarray) -> np.ndarray:
    """float64 (len(query),), log(1 + (n - df + 0.5) / (df + 0.5)) over all rows that have words."""
    n = sum(part.size for part in texts)
    df = np.sum([part.frequency(query) for part in texts], axis=0)
    return np.log1p((n - df + 0.5) / (df + 0.5))


def write_texts(folder: Path, lines: Sequence[str]) -> None:
    """Store the words of each row, given its tokens joined by spaces."""
    rows = [word_keys(line.split()) for line in lines]
    keys = np.concatenate([np.zeros(0, np.uint32), *rows])
    known, counts = np.unique(keys, return_counts=True)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    columns = {"keys": keys, "ends": ends, "known": known, "counts": counts.astype(np.int64)}
    save_file(columns, folder / WORDS_FILE)


def open_texts(folder: Path, rows: int) -> Texts:
    """What `write_texts` left in `folder`.

    Raises:
        Corrupt: the file is missing, or does not hold the words of that many rows.
    """
    try:
        columns = load_file(folder / WORDS_FILE)
        ends, keys = columns["ends"], columns["keys"]
        offsets = np.concatenate(([0], ends))
        known, counts = columns["known"], columns["counts"]
        if len(ends) != rows or offsets[-1] != len(keys) or (np.diff(offsets) < 0).any():
            raise ValueError(f"words of {len(ends)} rows, not {rows}")
        if len(known) != len(counts) or (np.diff(known.astype(np.int64)) <= 0).any():
            raise ValueError("the counts of words")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise Corrupt(
            f"The words of items cannot be read ({error}).",
            where=str(folder / WORDS_FILE),
            how="Run `omnisearch index rollback` or `omnisearch index build`.",
        ) from error
    return Texts(keys, offsets, known, counts)
