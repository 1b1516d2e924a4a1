"""The three n-gram tokenisers of the item encoder (§3.4.2).

Word unigrams, word bigrams ("mid#century") and character trigrams of each word with boundary marks
("#mi", "mid", "id#"). Each has a vocabulary of its most frequent n-grams; the three id ranges are
consecutive, and n-grams outside the vocabularies are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from omnisearch.data.text.normalise import words
from omnisearch.data.workspace.reading import reading
from omnisearch.encoders.models.ragged import Growing, Ragged

BORDER = "#"  # never occurs in a word
_FILES = ("unigrams.txt", "bigrams.txt", "trigrams.txt")
_MAX_COUNTED_BIGRAMS = 8_000_000


@dataclass(frozen=True)
class NgramVocabulary:
    """The n-grams of each kind, most frequent first."""

    unigrams: list[str]
    bigrams: list[str]
    trigrams: list[str]

    def __len__(self) -> int:
        return len(self.unigrams) + len(self.bigrams) + len(self.trigrams)

    def write(self, folder: Path) -> None:
        """Write `unigrams.txt`, `bigrams.txt` and `trigrams.txt`: UTF-8, one n-gram per line."""
        for name, grams in zip(_FILES, (self.unigrams, self.bigrams, self.trigrams), strict=True):
            (folder / name).write_bytes("".join(gram + "\n" for gram in grams).encode("utf-8"))

    @classmethod
    def read(cls, folder: Path) -> NgramVocabulary:
        """Read the files of `write`; raises Corrupt if one is missing or cannot be decoded."""
        with reading("The n-gram vocabulary", folder, "Train again."):
            lists = [(folder / name).read_bytes().decode("utf-8").split("\n") for name in _FILES]
            if any(grams.pop() or len(set(grams)) < len(grams) for grams in lists):
                raise ValueError("an n-gram is there twice, or the last line is not whole")
            return cls(*lists)


def trigrams_of(word: str) -> list[str]:
    """The character trigrams of one word with boundary marks; a single letter gives one."""
    marked = f"{BORDER}{word}{BORDER}"
    return [marked[start : start + 3] for start in range(len(marked) - 2)]


def bigrams_of(text_words: list[str]) -> list[str]:
    """Adjacent words, joined by the boundary mark."""
    return [f"{a}{BORDER}{b}" for a, b in pairwise(text_words)]


def build_vocabulary(
    texts: Mapping[str, int], unigrams: int, bigrams: int, trigrams: int
) -> NgramVocabulary:
    """The most frequent n-grams of texts with their counts.

    Ties are broken by code point order, so that the same texts give the same vocabulary. In a
    corpus with many millions of distinct bigrams, those seen once so far are dropped while
    counting, which bounds memory.
    """
    word_counts: Counter[str] = Counter()
    bigram_counts: Counter[str] = Counter()
    floor = 1
    for text, times in texts.items():
        found = words(text)
        for word in found:
            word_counts[word] += times
        for bigram in bigrams_of(found):
            bigram_counts[bigram] += times
        if len(bigram_counts) > _MAX_COUNTED_BIGRAMS:
            bigram_counts = Counter({k: n for k, n in bigram_counts.items() if n > floor})
            floor += 1
    trigram_counts: Counter[str] = Counter()
    for word, times in word_counts.items():
        for trigram in trigrams_of(word):
            trigram_counts[trigram] += times
    return NgramVocabulary(
        _most_frequent(word_counts, unigrams),
        _most_frequent(bigram_counts, bigrams),
        _most_frequent(trigram_counts, trigrams),
    )


def _most_frequent(counts: Counter[str], size: int) -> list[str]:
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [gram for gram, _ in ranked[:size]]


@dataclass(frozen=True)
class Bags:
    """The text of n items as nested sums, so that repeated parts are computed once.

    An item's text embedding is the sum over its strings of the sums over their units (words and
    bigrams) of the sums over their tokens. Each level's values are row numbers of the next level.

    Attributes:
        levels: items → strings, strings → units, units → tokens.
        tokens: (t,) int64 vocabulary ids, indexed by the last level's values.
    """

    levels: tuple[Ragged, Ragged, Ragged]
    tokens: np.ndarray

    @property
    def columns(self) -> tuple[int, int, int]:
        """The number of distinct values of each level."""
        return len(self.levels[1]), len(self.levels[2]), len(self.tokens)


class NgramIndex:
    """Tokenises strings, with a cache of strings and words.

    Memory is bounded: with more than `max_strings` strings or `max_units` words and bigrams, the
    next `bags_of` clears the cache first.
    """

    def __init__(
        self, vocabulary: NgramVocabulary, max_strings: int = 300_000, max_units: int = 600_000
    ) -> None:
        self.vocabulary = vocabulary
        self._max = (max_strings, max_units)
        self._unigram = {gram: number for number, gram in enumerate(vocabulary.unigrams)}
        shift = len(self._unigram)
        self._bigram = {gram: shift + number for number, gram in enumerate(vocabulary.bigrams)}
        shift += len(self._bigram)
        self._trigram = {gram: shift + number for number, gram in enumerate(vocabulary.trigrams)}
        self._forget()

    def _forget(self) -> None:
        self._string: dict[str, int] = {}
        self._strings = Growing()
        self._unit: dict[str, int] = {}
        self._units = Growing()

    def tokens(self, text: str) -> list[int]:
        """The vocabulary ids of one string's n-grams: the plain definition, without the cache."""
        found = words(text)
        ids = [self._unigram.get(word) for word in found]
        ids += [self._bigram.get(bigram) for bigram in bigrams_of(found)]
        ids += [self._trigram.get(gram) for word in found for gram in trigrams_of(word)]
        return [number for number in ids if number is not None]

    def string(self, text: str) -> int:
        """The number of a string, which is tokenised when first seen."""
        number = self._string.get(text)
        if number is None:
            number = self._string[text] = self._strings.append(self._tokenise(text))
        return number

    def find(self, text: str) -> int:
        """The number of a string in the cache, else -1."""
        return self._string.get(text, -1)

    def bags_of(self, texts: Iterable[Iterable[str]]) -> Bags:
        """The bags of items, each given by its strings."""
        if len(self._strings) > self._max[0] or len(self._units) > self._max[1]:
            self._forget()
        string = self.string
        return self.bags(Ragged.of([[string(text) for text in strings] for strings in texts]))

    def bags(self, items: Ragged) -> Bags:
        """The bags of items, each given by the numbers of its strings."""
        items, strings = items.compact(len(self._strings))
        units, used = self._strings.frozen.take(strings).compact(len(self._units))
        tokens, ids = self._units.frozen.take(used).compact(len(self.vocabulary))
        return Bags((items, units, tokens), ids)

    def _tokenise(self, text: str) -> list[int]:
        found = words(text)
        known = self._unit
        row = []
        for word in found:
            unit = known.get(word)
            if unit is None:
                unit = self._new_word(word)
            row.append(unit)
        for bigram in bigrams_of(found):
            unit = known.get(bigram)
            if unit is None:
                token = self._bigram.get(bigram)
                if token is None:
                    continue
                unit = known[bigram] = self._units.append((token,))
            row.append(unit)
        return row

    def _new_word(self, word: str) -> int:
        ids = [self._unigram.get(word)] + [self._trigram.get(gram) for gram in trigrams_of(word)]
        unit = self._units.append([number for number in ids if number is not None])
        self._unit[word] = unit
        return unit
