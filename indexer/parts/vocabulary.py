"""The words of one segment's items, found by what is near them and by how they begin and end."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

_AFTER_ALL = "\U0010ffff"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of one segment's items, found by what is near them.

    Attributes:
        letters: uint8, the words concatenated in UTF-8, frequent ones first.
        ends: int64 (v,), the end of each word. counts: int64 (v,), items of the segment that have
            it, also those that no longer count.
        left_out: uint32 (m,), ascending, hashes of each word with one letter left out, of the word
            itself, and of the word spelled out; owners: int32 (m,), the position of the word.
    """

    letters: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    left_out: np.ndarray
    owners: np.ndarray

    def word(self, place: int) -> str:
        """The word at a position."""
        start = self.ends[place - 1] if place else 0
        return self.letters[start : self.ends[place]].tobytes().decode()

    @cached_property
    def listed(self) -> dict[str, int]:
        """Each word and its position."""
        return {self.word(place): place for place in range(len(self.ends))}

    @cached_property
    def ordered(self) -> tuple[list[str], list[str]]:
        """The words by the alphabet, and all of them backwards by the alphabet."""
        return sorted(self.listed), sorted(word[::-1] for word in self.listed)

    def beginning(self, word: str, more: int) -> list[str]:
        """The words that begin with a word and go on for so many letters."""
        return _going_on(self.ordered[0], word, more)

    def ending(self, word: str, more: int) -> list[str]:
        """The words that end with a word and have so many letters before it."""
        return [other[::-1] for other in _going_on(self.ordered[1], word[::-1], more)]

    def near(self, texts: list[str]) -> list[int]:
        """The positions, ascending, of the words that share a hash with any of the texts."""
        keys = np.array([crc32(text.encode()) for text in texts], np.uint32)
        first, last = (np.searchsorted(self.left_out, keys, side) for side in ("left", "right"))
        pairs = zip(first.tolist(), last.tolist(), strict=True)
        return np.unique(np.concatenate([self.owners[a:b] for a, b in pairs])).tolist()


def _going_on(ordered: list[str], word: str, more: int) -> list[str]:
    """The words of an ordered list that begin with a word and go on for so many letters."""
    start, end = bisect_left(ordered, word), bisect_left(ordered, word + _AFTER_ALL)
    return [other for other in ordered[start:end] if len(other) >= len(word) + more]
