"""The language of a query among those of the catalogue: by its letters, and by the items' words.

The letters of two or three words say little, but which items have the words says more: py3langid's
probability of each language is multiplied by the word's share of items in that language, over the
language's share of all items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.language import identifier, primary, probabilities, spoken
from omnisearch.data.text.tokens import tokens
from omnisearch.data.workspace.errors import InputError
from omnisearch.indexer.parts.table import ItemTable

# Chosen on half of the Iconclass queries (benchmarks/query_language.py).
KNOWN = 0.6  # the least probability of a language that is taken for the query's
LIKELY = 0.2  # of one whose inflections are searched: a wrong one finds little more or less
_ELSEWHERE = 0.02  # weight of the languages that the catalogue does not have
_UNSEEN = 1.0  # items that a word is taken to have in addition, in all languages alike
_MOST = 1.0  # one word multiplies a probability by at most e, or divides it

_LEAST_SHARE = 0.001  # of the items: a language of fewer may be a mistake in the data
_MOST_ROWS = 200_000  # of a table whose words are counted, evenly spaced
_MOST_LANGUAGES = 255
_CODE = re.compile(r"[a-zA-Z]{2,3}(?:[-_][a-zA-Z0-9]{1,8})*")
_BITS, _PLACE = np.uint64(8), np.uint64(0xFF)
_NONE = np.zeros(0, np.uint64)


@dataclass(frozen=True, eq=False)
class SpokenLanguages:
    """The languages of a catalogue's items, and English, with the words of each.

    Attributes:
        codes: L codes (`language.primary`), ascending. shares: float64 (L,), of all items.
        pairs: uint64, ascending: the key of a word << 8, plus a position in `codes`.
        counts: int64, how many items of that language have that word.
    """

    codes: tuple[str, ...]
    shares: np.ndarray
    pairs: np.ndarray
    counts: np.ndarray

    def probabilities(self, text: str) -> dict[str, float]:
        """Each language's probability for a normalised query; what is left to 1 is for others.

        Empty if the text has only numbers, codes and words of two letters, or if there is no choice
        between languages.
        """
        said = spoken(text)
        if len(self.codes) < 2 or not said:
            return {}
        letters = probabilities(said)
        found = np.array([letters.get(code, 0.0) for code in self.codes])
        elsewhere = _ELSEWHERE * max(0.0, 1.0 - found.sum())
        found = found * np.exp(self._evidence(said))
        return dict(zip(self.codes, (found / (found.sum() + elsewhere)).tolist(), strict=True))

    def detect(self, text: str) -> tuple[str | None, str | None]:
        """The language of a normalised query if it is known, and the likeliest if one is likely."""
        found = self.probabilities(text)
        best = max(found, key=found.__getitem__, default="")
        chance = found.get(best, 0.0)
        return (best if chance >= KNOWN else None), (best if chance >= LIKELY else None)

    def has(self, words: Sequence[str], code: str) -> list[bool]:
        """Whether an item of a language has each of these words in its name."""
        if code not in self.codes or not len(self.pairs):
            return [False] * len(words)
        keys = [word_keys(tokens(word)[:1])[0] for word in words]
        wanted = np.array(keys, np.uint64) << _BITS | np.uint64(self.codes.index(code))
        at = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        return (self.pairs[at] == wanted).tolist()

    def _evidence(self, said: str) -> np.ndarray:
        """Float64 (L,): what the words' items add to the logarithm of each language."""
        keys = word_keys(tokens(said)).astype(np.uint64)
        starts, ends = np.searchsorted(self.pairs, (keys << _BITS, (keys + np.uint64(1)) << _BITS))
        counts = np.zeros((len(keys), len(self.codes)))
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            counts[row, (self.pairs[start:end] & _PLACE).astype(int)] = self.counts[start:end]
        counts = counts[counts.sum(axis=1) > 0]
        usual = (counts + _UNSEEN * self.shares) / (counts.sum(axis=1, keepdims=True) + _UNSEEN)
        return np.clip(np.log(usual / self.shares), -_MOST, _MOST).sum(axis=0)


def checked_language(code: str, where: str = "query_language") -> str:
    """The `primary` code of a language that a caller gives; raises InputError if it is none."""
    if not isinstance(code, str) or not _CODE.fullmatch(code.strip()):
        raise InputError(
            f"{where} must be a code of two or three letters, got {code!r:.100}.",
            where=where,
            how="Give a code such as de or pt-BR, or leave it out.",
        )
    return primary(code)


def spoken_languages(tables: Mapping[str, ItemTable]) -> SpokenLanguages:
    """Count the words of items' names by language, and load the model if there is a choice."""
    items = [tables[entity] for entity in ITEM_ENTITIES if entity in tables]
    sizes: Counter[str] = Counter()
    for table in items:
        for code, size in zip(table.language.vocab, table.language.sizes.tolist(), strict=True):
            sizes[primary(code)] += size
    least = _LEAST_SHARE * sizes.total()
    common = {code for code, size in sizes.most_common(_MOST_LANGUAGES) if size >= least}
    codes = tuple(sorted(common | {"en"}))
    counted = [_words_of(table, codes) for table in items] if len(codes) > 1 else []
    pairs, counts = np.unique(np.concatenate([_NONE, *counted]), return_counts=True)
    shares = np.array([sizes[code] + 1.0 for code in codes])
    if len(codes) > 1:
        identifier()
    return SpokenLanguages(codes, shares / shares.sum(), pairs, counts)


def _words_of(table: ItemTable, codes: tuple[str, ...]) -> np.ndarray:
    """Uint64, unordered: key << 8 plus position in `codes`, for each word of each item's name."""
    column, words = table.language, table.names
    rows = np.arange(0, len(table), 1 + len(table) // _MOST_ROWS)
    known = {code: place for place, code in enumerate(codes)}
    places = np.array([*(known.get(primary(code), -1) for code in column.vocab), -1])
    rows = rows[places[column.codes[rows]] >= 0]
    keys, lengths = words.of(rows)
    place = np.repeat(places[column.codes[rows]], lengths).astype(np.uint64)
    return keys.astype(np.uint64) << _BITS | place
