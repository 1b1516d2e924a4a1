"""The words for spelling (`omnisearch.indexer.parts.spelling`) as they are stored."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors.numpy import load_file, save_file

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.keys import word_keys
from omnisearch.data.text.tokens import tokens
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.spelling import (
    LONGEST,
    SPELLED_OUT,
    Spelling,
    as_typed,
    is_spelled,
    without_one,
)
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.vocabulary import Vocabulary
from omnisearch.indexer.parts.words import Words, ascends, check_ends, spans

SPELLING_FILE = "spelling.safetensors"
SPELLED_FILE = "spelled.safetensors"
NO_KEYS = np.zeros(0, np.uint32)


class SpelledWords:
    """The words of each item as they may be typed, as numbers."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._found = {entity: array("i") for entity in ITEM_ENTITIES}
        self._ends = {entity: array("q") for entity in ITEM_ENTITIES}

    def add(self, entity: str, words: set[str]) -> None:
        """Add the next item's words."""
        numbers = self._numbers
        found = self._found[entity]
        found.extend([numbers.setdefault(word, len(numbers)) for word in sorted(words)])
        self._ends[entity].append(len(found))

    def counts(self) -> Counter[str]:
        """How many items have each word."""
        numbers = np.concatenate([np.array(found, np.int64) for found in self._found.values()])
        counts = np.bincount(numbers, minlength=len(self._numbers)).tolist()
        return Counter(dict(zip(self._numbers, counts, strict=True)))

    def of(self, entity: str, places: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Each item's words as positions int32, those that have one, and their ends int64."""
        place = np.array([*(places.get(word, -1) for word in self._numbers), -1], np.int32)
        found = place[np.array(self._found[entity], np.int64)]
        kept = np.concatenate(([0], np.cumsum(found >= 0)))
        return found[found >= 0], kept[np.array(self._ends[entity], np.int64)]


MOST = 500_000  # suggested words, the most frequent ones


def keys_of(texts: Iterable[str]) -> np.ndarray:
    """The distinct `word_keys` of the tokens of texts, uint32, ascending."""
    return word_keys(token for text in texts for token in tokens(text))


def write_spelling(
    folder: Path, counts: Mapping[str, int], known: np.ndarray, lasting: np.ndarray = NO_KEYS
) -> dict[str, int]:
    """Store the words of items with the number of items that have each.

    Args:
        known: `keys_of` further words that are not replaced; lasting: those whatever the items.

    Returns:
        The position of each suggested word.
    """
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    chosen = [word for word in ordered if is_spelled(word) and len(word) <= LONGEST][:MOST]
    letters = [word.encode() for word in chosen]
    variants = list(map(_variants, chosen))
    left_out = np.array([crc32(text.encode()) for part in variants for text in part], np.uint32)
    owners = np.repeat(np.arange(len(chosen), dtype=np.int32), [len(part) for part in variants])
    order = np.lexsort((owners, left_out))
    save_file(
        {
            "letters": np.frombuffer(b"".join(letters), np.uint8),
            "ends": np.cumsum([len(word) for word in letters], dtype=np.int64),
            "counts": np.array([counts[word] for word in chosen], np.int64),
            "known": np.union1d(np.union1d(known, lasting), keys_of(ordered)),
            "lasting": lasting,
            "left_out": left_out[order],
            "owners": owners[order],
        },
        folder / SPELLING_FILE,
    )
    return {word: place for place, word in enumerate(chosen)}


def open_spelling(folder: Path, indexes: tuple[TokenIndex, ...] = ()) -> Spelling:
    """Open what `write_spelling` wrote into `folder`.

    Args:
        indexes: the token indexes of the items.

    Raises:
        Corrupt: the file is missing, or its columns do not fit together.
    """
    path = folder / SPELLING_FILE
    with reading("The words for spelling", path, REBUILD):
        columns = load_file(path)
        known, lasting = columns.pop("known"), columns.pop("lasting")
        words = Vocabulary(**columns)
        letters, ends, owners = words.letters, words.ends, words.owners
        check_array("letters", letters, np.uint8, (None,))
        check_array("ends", ends, np.int64, (None,))
        check_array("counts", words.counts, np.int64, (len(ends),))
        check_array("known", known, np.uint32, (None,))
        check_array("lasting", lasting, np.uint32, (None,))
        check_array("left_out", words.left_out, np.uint32, (None,))
        check_array("owners", owners, np.int32, (len(words.left_out),))
        check_ends("the index of words", ends, len(letters))
        if owners.min(initial=0) < 0 or owners.max(initial=-1) >= len(ends):
            raise ValueError("an owner is out of range")
        if not all(map(ascends, (known, lasting, words.left_out))):
            raise ValueError("known, lasting or left_out does not ascend")
        letters.tobytes().decode()
        if ((letters[ends[ends < len(letters)]] & 0xC0) == 0x80).any():
            raise ValueError("a word ends inside a letter")
        return Spelling((words,), (words.counts,), known, lasting, indexes)


def write_spelled(folder: Path, places: np.ndarray, ends: np.ndarray) -> None:
    """Store the suggested words of each item: int32 positions, and int64 (n,) their ends."""
    save_file({"places": places, "ends": ends}, folder / SPELLED_FILE)


def open_spelled(folder: Path, rows: int, words: int) -> Words:
    """The suggested words of each of `rows` items, positions among `words`; raises Corrupt."""
    path = folder / SPELLED_FILE
    with reading("The words of items for spelling", path, REBUILD):
        columns = load_file(path)
        places, ends = columns["places"], columns["ends"]
        check_array("places", places, np.int32, (None,))
        check_array("ends", ends, np.int64, (rows,))
        check_ends("the index of words", ends, len(places))
        if places.min(initial=0) < 0 or places.max(initial=-1) >= words:
            raise ValueError("a position is out of range")
        return Words(places, *spans(ends))


def _variants(word: str) -> set[str]:
    """What a word is found by."""
    return {word, *without_one(as_typed(word)), word.translate(SPELLED_OUT)}
