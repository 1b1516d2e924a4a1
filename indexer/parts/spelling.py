"""Spelling correction: replaces query words that no item has by words that items have.

One edit is allowed: a letter added, removed or changed, or two neighbours swapped. As in Garbe's
SymSpell, words one edit apart are matched by their forms with one letter left out. The words come
from the catalogue, so brands and languages need no dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
from rapidfuzz.distance import OSA
from safetensors.numpy import load_file, save_file

from omnisearch.data.text.exclusions import EXCLUDING
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.normalise import is_unspaced, replace_words
from omnisearch.data.text.tokens import STOP_WORDS, code_token, tokens
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.words import ascends, check_ends

SPELLING_FILE = "spelling.safetensors"

SHORTEST = 4  # shorter words are one edit from too many others
LONGEST = 32
HALF = 3  # minimum letters of each half of a divided word
MOST = 500_000  # suggested words, the most frequent ones
MOST_REPLACED = 8  # words of one query, to bound the time of a search

_UNITS = (
    "acre amps bits bytes carat feet foot gallon gauge gram gramme grams hertz inch inches joule "
    "karat kelvin kilo kilogram kilos liter liters litre litres litros lumen lumens meter meters "
    "metre metres metri metros mile miles ounce ounces pint pixel pouces pound pounds pulgadas "
    "quart stone volt volts watt watts yard yards zoll gbit mbit gbps mbps"
)
_LEFT_ALONE = STOP_WORDS | EXCLUDING | frozenset(_UNITS.split())


@dataclass(frozen=True, eq=False)
class Spelling:
    """The words of a catalogue.

    Attributes:
        letters: uint8, the suggested words concatenated in UTF-8, frequent ones first.
        ends: int64 (v,), the end of each word. counts: uint32 (v,), items that have it.
        known: uint32, ascending, `keys_of` all words that are not replaced: the catalogue's, and
            those that the query tower knows (no item may have 'twig', yet it must not become
            'twin').
        left_out: uint32 (m,), ascending, hashes of each word with one letter left out, and of the
            word itself; owners: int32 (m,), the position of the word.
    """

    letters: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    known: np.ndarray
    left_out: np.ndarray
    owners: np.ndarray

    @cached_property
    def respelled(self) -> Callable[[str], str]:
        """A normalised query in which words that no item has are replaced by similar ones.

        Words written together ('powertool') are separated. Numbers, units, what is glued to a
        number (RTX4090), and a query that is an item's code stay. If nothing is replaced, the query
        is returned unchanged.
        """
        return lru_cache(maxsize=10_000)(self._respelled)

    def _respelled(self, query: str) -> str:
        if self._has([code_token(query)]):
            return query
        found: dict[str, str] = {}

        def replace(word: str) -> str:
            if word in _LEFT_ALONE or self._knows(word):
                return word
            if word not in found and len(found) < MOST_REPLACED:
                found[word] = self.replaced(word)
            return found.get(word, word)

        text = replace_words(query, replace)
        return query if all(word == other for word, other in found.items()) else text

    def word(self, place: int) -> str:
        """The word at a position."""
        start = self.ends[place - 1] if place else 0
        return self.letters[start : self.ends[place]].tobytes().decode()

    def counted(self) -> Iterator[tuple[str, int]]:
        """Each word and its count."""
        for place, count in enumerate(self.counts.tolist()):
            yield self.word(place), count

    def replaced(self, word: str) -> str:
        """The replacement of one word: itself, another word, or several."""
        if word in _LEFT_ALONE or self._knows(word) or is_unspaced(word):
            return word
        if not word.isalpha() or not SHORTEST <= len(word) <= LONGEST:
            return word
        return self._nearest(word) or self._divided(word) or word

    def _knows(self, word: str) -> bool:
        return self._has(tokens(word))

    def _has(self, found: list[str]) -> bool:
        keys = word_keys(found)
        at = np.minimum(np.searchsorted(self.known, keys), len(self.known) - 1)
        return bool(len(self.known)) and bool((self.known[at] == keys).all())

    def _nearest(self, word: str) -> str | None:
        """The most frequent word that is one edit away."""
        for place in self._near(_without_one(word)):
            candidate = self.word(place)
            if OSA.distance(word, candidate, score_cutoff=1) == 1:
                return candidate
        return None

    def _divided(self, word: str) -> str | None:
        """The word split into two that several items have; maximises the rarer one's frequency."""
        best, found = 1, None
        for cut in range(HALF, len(word) - HALF + 1):
            halves = word[:cut], word[cut:]
            count = min(map(self._count, halves))
            if count > best:
                best, found = count, " ".join(halves)
        return found

    def _count(self, word: str) -> int:
        return next((int(self.counts[at]) for at in self._near([word]) if self.word(at) == word), 0)

    def _near(self, texts: list[str]) -> list[int]:
        """The positions, ascending, of words that share a hash with any of the texts."""
        keys = np.array([crc32(text.encode()) for text in texts], np.uint32)
        first, last = (np.searchsorted(self.left_out, keys, side) for side in ("left", "right"))
        pairs = zip(first.tolist(), last.tolist(), strict=True)
        return np.unique(np.concatenate([self.owners[a:b] for a, b in pairs])).tolist()


def _without_one(word: str) -> list[str]:
    """The word, and its forms with one letter left out."""
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def keys_of(texts: Iterable[str]) -> np.ndarray:
    """The distinct `word_keys` of the tokens of texts, uint32, ascending."""
    return word_keys(token for text in texts for token in tokens(text))


def write_spelling(folder: Path, counts: Mapping[str, int], known: np.ndarray) -> None:
    """Store the words of a catalogue with the number of items that have each.

    Args:
        known: `keys_of` further words that are not replaced.
    """
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    chosen = [word for word in ordered if word.isalpha() and len(word) <= LONGEST][:MOST]
    letters = [word.encode() for word in chosen]
    variants = [_without_one(word) if len(word) >= SHORTEST else [word] for word in chosen]
    left_out = np.array([crc32(text.encode()) for part in variants for text in part], np.uint32)
    owners = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(part) for part in variants])
    order = np.lexsort((owners, left_out))
    save_file(
        {
            "letters": np.frombuffer(b"".join(letters), np.uint8),
            "ends": np.cumsum([len(word) for word in letters], dtype=np.int64),
            "counts": np.array([counts[word] for word in chosen], np.uint32),
            "known": np.union1d(known, keys_of(ordered)),
            "left_out": left_out[order],
            "owners": owners[order],
        },
        folder / SPELLING_FILE,
    )


def open_spelling(folder: Path) -> Spelling:
    """Open what `write_spelling` wrote into `folder`.

    Raises:
        Corrupt: the file is missing, or its columns do not fit together.
    """
    path = folder / SPELLING_FILE
    with reading("The words for spelling", path, REBUILD):
        spelling = Spelling(**load_file(path))
        letters, ends, owners = spelling.letters, spelling.ends, spelling.owners
        check_array("letters", letters, np.uint8, (None,))
        check_array("ends", ends, np.int64, (None,))
        check_array("counts", spelling.counts, np.uint32, (len(ends),))
        check_array("known", spelling.known, np.uint32, (None,))
        check_array("left_out", spelling.left_out, np.uint32, (None,))
        check_array("owners", owners, np.int32, (len(spelling.left_out),))
        check_ends("the index of words", ends, len(letters))
        if owners.min(initial=0) < 0 or owners.max(initial=-1) >= len(ends):
            raise ValueError("an owner is out of range")
        if not (ascends(spelling.known) and ascends(spelling.left_out)):
            raise ValueError("known or left_out does not ascend")
        letters.tobytes().decode()
        if ((letters[ends[ends < len(letters)]] & 0xC0) == 0x80).any():
            raise ValueError("a word ends inside a letter")
        return spelling
