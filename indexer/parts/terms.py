"""The terms of each item as numbers, so that BM25 can be computed for any item.

Each segment has a token index of its own, which scores by the segment's statistics. What is found
in it is scored again by those of all items that count (`indexer.parts.tokens_stacked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from omnisearch.data.text.keys import term_keys
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.token_index import coded_length, words_and_stems
from omnisearch.indexer.parts.words import Words, check_ends, spans

TERMS_FILE = "terms.safetensors"


@dataclass(frozen=True)
class TermsOf(Words):
    """The terms of each item, `term_keys`, repeated as in the item.

    Attributes:
        words: int64 (n,), how many of an item's terms are no stems.
    """

    words: np.ndarray

    @cached_property
    def total(self) -> int:
        """How many terms of all items are no stems."""
        return int(self.words.sum())

    @cached_property
    def coded(self) -> np.ndarray:
        """int64 (n,): the lengths as a token index has them."""
        known, which = np.unique(self.words, return_inverse=True)
        return np.array(list(map(coded_length, known.tolist())), np.int64)[which]

    def frequencies(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct terms of rows, ascending, and how many of the rows have each."""
        keys, lengths = self.of(rows)
        row = np.repeat(np.arange(len(rows), dtype=np.uint64), lengths)
        pairs = np.unique(row << np.uint64(32) | keys)
        return np.unique((pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32), return_counts=True)


def write_terms(folder: Path, lines: Sequence[str]) -> None:
    """Store the terms of each row, given its tokens joined by spaces."""
    keys = [np.zeros(0, np.uint32)]
    ends: list[int] = []
    words: list[int] = []
    for line in lines:
        plain, stems = words_and_stems(line)
        found = plain.split()
        words.append(len(found))
        keys.append(term_keys([*found, *stems.split()]))
        ends.append(len(keys[-1]))
    columns: dict[str, np.ndarray] = {
        "keys": np.concatenate(keys),
        "ends": np.cumsum(ends, dtype=np.int64),
        "words": np.array(words, np.int64),
    }
    save_file(columns, folder / TERMS_FILE)


def open_terms(folder: Path, rows: int) -> TermsOf:
    """Open what `write_terms` wrote into `folder`.

    Raises:
        Corrupt: the file is missing, or does not have the terms of that many rows.
    """
    path = folder / TERMS_FILE
    with reading("The terms of items", path, REBUILD):
        columns = load_file(path)
        keys, ends, words = columns["keys"], columns["ends"], columns["words"]
        check_array("keys", keys, np.uint32, (None,))
        check_array("ends", ends, np.int64, (rows,))
        check_array("words", words, np.int64, (rows,))
        check_ends("the index of terms", ends, len(keys))
        starts, lengths = spans(ends)
        if not ((words >= 0) & (words <= lengths)).all():
            raise ValueError("an item has more words than terms")
        return TermsOf(keys, starts, lengths, words)
