"""Suggestions: texts that what somebody has typed is the beginning of, the most asked for first.

A text is found by the beginning of each of its words. The forms of texts (`data/text/prefixes`)
from each word on are sorted, so that a prefix is a range, found by binary search; of a range, the
first are found by the maxima of blocks. Everything is read from memory-mapped arrays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from omnisearch.data.text.prefixes import typos
from omnisearch.indexer.parts.near_words import near_words, other_first

KINDS = ("query", "category", "brand", "title")
END = b"\n"  # after each text's form, below every sign of it

# The order: texts that begin with what was typed, then those of which another word does; then by
# how much is asked for, where a title counts less than what stands for many items.
_BEGINS = 100.0
_SHARES = np.array([1.0, 1.0, 1.0, 0.5], np.float32)  # of KINDS
_GONE = np.float32(-1)
_BLOCK = 256
_LARGE = 4096  # forms of a range that are not looked at one by one
_MOST_NEAR = 64  # beginnings near a word that are looked for after the words before it
_MOST_TYPOS = 2
_Near = tuple[np.ndarray, np.ndarray, np.ndarray]
_Form = tuple[int, str, int, int]  # typos, what was found instead of what was typed, and its range


class Found(NamedTuple):
    """A text that was found; the best one sorts first.

    Attributes:
        typos: between what was typed and `key`, the form that was found. rank: negative.
        form: the text's, from the word on that was found; whole: that of the whole text.
    """

    typos: int
    rank: float
    form: bytes
    text: str
    kind: int
    counted: int
    key: str
    whole: bytes


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Ranges of forms with as many typos: int64 (r, 2), and what was found in each."""

    typos: int
    bounds: np.ndarray
    key_of: Callable[[int], str]


def _of_forms(forms: list[_Form], wrong: int) -> _Ranges:
    same = [form for form in forms if form[0] == wrong]
    bounds = np.array([form[2:] for form in same], np.int64).reshape(-1, 2)
    return _Ranges(wrong, bounds, lambda which: same[which][1])


def _typos_of(near: tuple[int, int, int]) -> int:
    return near[1]


@dataclass(frozen=True, eq=False)
class Entries:
    """The texts of one source, for reading; n texts with m words in all.

    Attributes:
        kinds: uint8 (n,), places in KINDS. counts: int64 (n,), 0 for a text that no longer counts.
        languages: int16 (n,), places in `vocabulary`, -1 for a text of any language.
        texts: the texts in UTF-8, ascending by text and kind; text_ends: int64 (n,).
        keys: the forms, each followed by END; key_ends: int64 (n,).
        at: uint32 (m,), where in `keys` the form from each word on begins, in the order of these
            forms; owners: int32 (m,), the text; ranks: float32 (m,), negative if it does not count.
        hashes: uint64 (n,), ascending, of text, kind and language; hashed: int32 (n,), the text.
        letters: of `word_letters`; word_ranges: uint32 (v, 2), the range of each word in `at`.
    """

    kinds: np.ndarray
    counts: np.ndarray
    languages: np.ndarray
    vocabulary: list[str]
    texts: memoryview
    text_ends: np.ndarray
    keys: memoryview
    key_ends: np.ndarray
    at: np.ndarray
    owners: np.ndarray
    ranks: np.ndarray
    hashes: np.ndarray
    hashed: np.ndarray
    letters: np.ndarray
    word_ranges: np.ndarray

    def exact(self, key: str, most: int, language: str | None = None) -> list[Found]:
        """The first texts of which a word begins with what was typed, those with one form once.

        Args:
            key: of `typed_key`. language: `language.primary` code of the texts, None for any.
        """
        start, end = self._range(key.encode(), 0, len(self.at))
        return self._first(_Ranges(0, np.array([[start, end]]), lambda _: key), most, language)

    def near(
        self, key: str, most: int, language: str | None = None, any_first: bool = False
    ) -> list[Found]:
        """The first texts of which a word begins with what was typed but for one or two typos.

        Args:
            any_first: the first letter of words may be wrong, and no other.
        """
        *before, last = key.split()
        forms: list[_Form] = [(0, "", 0, len(self.at))]
        for word in before:
            forms = self._further(forms, word, " ", any_first)
        if before or key.endswith(" "):
            forms = self._further(forms, last, " " * key.endswith(" "), any_first)
            ranges = [_of_forms(forms, wrong) for wrong in range(1, _MOST_TYPOS + 1)]
        else:
            near = self._near(last, False, any_first)
            ranges = [self._of_words(*near, wrong) for wrong in range(1, _MOST_TYPOS + 1)]
        found: dict[bytes, Found] = {}
        for same in ranges:
            for each in self._first(same, most, language):
                found.setdefault(each.whole, each)
        return list(found.values())[:most]

    def _further(self, forms: list[_Form], word: str, end: str, any_first: bool) -> list[_Form]:
        """The forms that go on with a word, or with one near it."""
        near, others = self._near(word, bool(end), any_first), {word: 0}
        by_typos = sorted(zip(*(part.tolist() for part in near), strict=True), key=_typos_of)
        for place, wrong, size in by_typos[:_MOST_NEAR]:
            others.setdefault(self._word(place, size), wrong)
        found = []
        for typed, so_far, start, stop in forms:
            for other, wrong in others.items():
                if typed + wrong <= _MOST_TYPOS:
                    form = f"{so_far}{other}{end}"
                    low, high = self._range(form.encode(), start, stop)
                    if low < high:
                        found.append((typed + wrong, form, low, high))
        return found

    def _near(self, word: str, whole: bool, any_first: bool) -> _Near:
        """Words near a typed one: their places, typos, and how many letters are compared."""
        most = typos(word)
        if any_first and most:
            return other_first(self.letters, word, whole)
        return near_words(self.letters, word, most, whole)

    def _of_words(
        self, places: np.ndarray, wrong: np.ndarray, sizes: np.ndarray, typos: int
    ) -> _Ranges:
        """The ranges of the words that have so many typos; of each, some letters were found."""
        same = wrong == typos
        places, sizes = places[same], sizes[same]
        bounds = self.word_ranges[places].astype(np.int64)
        return _Ranges(typos, bounds, lambda which: self._word(places[which], sizes[which]))

    def _word(self, place: int, size: int) -> str:
        return "".join(map(chr, self.letters[:size, place].tolist()))

    def _range(self, prefix: bytes, low: int, high: int) -> tuple[int, int]:
        """The forms that begin with a prefix, among a range of them."""
        keys, size = self.keys, len(prefix)

        def begin(at: int) -> bytes:
            return bytes(keys[at : at + size])

        start = bisect_left(self._begins_at, prefix, low, high, key=begin)
        return start, bisect_right(self._begins_at, prefix, start, high, key=begin)

    def _first(self, ranges: _Ranges, most: int, language: str | None) -> list[Found]:
        """The first texts of some ranges, best first."""
        found: dict[bytes, Found] = {}
        for place, which in self._ordered(ranges.bounds, 2 * most):
            owner = int(self.owners[place])
            if self._speaks(owner, language):
                each = self._found(place, owner, ranges.typos, ranges.key_of(which))
                found.setdefault(each.whole, each)
                if len(found) == most:
                    break
        return list(found.values())

    def _ordered(self, bounds: np.ndarray, wanted: int) -> Iterator[tuple[int, int]]:
        """The places in ranges int64 (r, 2), the highest ranks first, and the range of each."""
        lengths = bounds[:, 1] - bounds[:, 0]
        (large,), seen = np.nonzero(lengths > _LARGE), 0
        small = np.repeat(np.arange(len(bounds)), np.where(lengths > _LARGE, 0, lengths))
        first = np.concatenate(([0], np.flatnonzero(np.diff(small)) + 1))
        inside = np.arange(len(small)) - np.repeat(first, np.diff(first, append=len(small)))
        while len(bounds):
            parts = [self._highest(start, end, wanted) for start, end in bounds[large].tolist()]
            which = np.concatenate([np.repeat(large, list(map(len, parts))), small])
            places = np.concatenate([*parts, bounds[small, 0] + inside])
            if (places[1:] < places[:-1]).any():
                order = np.lexsort((which, places))
                places, which = places[order], which[order]
            ranks = self.ranks[places]
            chosen = _largest(ranks, wanted)
            chosen = chosen[ranks[chosen] >= 0]
            listed = chosen[seen:]
            yield from zip(places[listed].tolist(), which[listed].tolist(), strict=True)
            if len(chosen) < wanted:
                return
            seen, wanted = wanted, 4 * wanted

    def _highest(self, start: int, end: int, most: int) -> np.ndarray:
        """int64: the places in a range with the highest ranks, those that count."""
        first, last = -(-start // _BLOCK), end // _BLOCK
        if last - first > most:
            blocks = np.sort(_largest(self._tops[first:last], most)) + first
            inside = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
            edges = np.arange(start, first * _BLOCK), np.arange(last * _BLOCK, end)
            places = np.concatenate([edges[0], inside, edges[1]])
            ranks = self.ranks[places]
        else:
            places, ranks = np.arange(start, end), self.ranks[start:end]
        chosen = _largest(ranks, most)
        return places[chosen[ranks[chosen] >= 0]]

    def _found(self, place: int, owner: int, wrong: int, key: str) -> Found:
        start, end = (int(self.key_ends[owner - 1]) if owner else 0), int(self.key_ends[owner])
        begin = int(self.text_ends[owner - 1]) if owner else 0
        stop = end - len(END)
        return Found(
            wrong,
            -float(self.ranks[place]),
            bytes(self.keys[int(self.at[place]) : stop]),
            bytes(self.texts[begin : int(self.text_ends[owner])]).decode(),
            int(self.kinds[owner]),
            int(self.counts[owner]),
            key,
            bytes(self.keys[start:stop]),
        )

    def _speaks(self, owner: int, language: str | None) -> bool:
        code = int(self.languages[owner])
        return language is None or code < 0 or self.vocabulary[code] == language

    @cached_property
    def _tops(self) -> np.ndarray:
        """float32: the highest rank of each block."""
        if not len(self.ranks):
            return self.ranks
        return np.maximum.reduceat(self.ranks, np.arange(0, len(self.ranks), _BLOCK))

    @cached_property
    def _begins_at(self) -> memoryview:
        return self.at.data


def _largest(values: np.ndarray, most: int) -> np.ndarray:
    """int64: the places of the largest values, the largest first, of equal ones the first."""
    if len(values) > most:
        least = np.partition(values, len(values) - most)[len(values) - most]
        above = np.flatnonzero(values > least)
        equal = np.flatnonzero(values == least)[: most - len(above)]
        chosen = np.sort(np.concatenate([above, equal]))
    else:
        chosen = np.arange(len(values))
    return chosen[np.argsort(-values[chosen], kind="stable")]


def ranks_of(begins: np.ndarray, kinds: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """float32 (m,): the ranks of words of texts.

    Args:
        begins: bool (m,), whether the word is the text's first. kinds, counts: (m,), of the text.
    """
    ranks = _BEGINS * begins + _SHARES[kinds] * np.log2(1.0 + counts, dtype=np.float32)
    return np.where(counts > 0, ranks, _GONE).astype(np.float32)


def first_of(parts: list[list[Found]], most: int) -> list[Found]:
    """The first texts of several sources, those with one form once."""
    found: dict[bytes, Found] = {}
    for each in sorted(each for part in parts for each in part):
        found.setdefault(each.whole, each)
    return list(found.values())[:most]
