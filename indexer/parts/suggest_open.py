"""Opening the texts that are suggested, and those of several segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnisearch.data.workspace.arrays import mapped_file
from omnisearch.data.workspace.reading import check_array, load_json, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.near_words import MOST_LETTERS
from omnisearch.indexer.parts.suggest import END, KINDS, Entries, ranks_of
from omnisearch.indexer.parts.words import Words, ascends, check_ends, spans

SUGGESTIONS = "suggest"
QUERIES_FILE = f"{SUGGESTIONS}/queries.safetensors"
ITEMS_FILE = f"{SUGGESTIONS}/items.safetensors"

_ANY = None
_COLUMNS: dict[str, tuple[Any, tuple[int | None, ...]]] = {
    "kinds": (np.uint8, (_ANY,)),
    "counts": (np.int64, (_ANY,)),
    "languages": (np.int16, (_ANY,)),
    "vocabulary": (np.uint8, (_ANY,)),
    "texts": (np.uint8, (_ANY,)),
    "text_ends": (np.int64, (_ANY,)),
    "keys": (np.uint8, (_ANY,)),
    "key_ends": (np.int64, (_ANY,)),
    "at": (np.uint32, (_ANY,)),
    "owners": (np.int32, (_ANY,)),
    "ranks": (np.float32, (_ANY,)),
    "hashes": (np.uint64, (_ANY,)),
    "hashed": (np.int32, (_ANY,)),
    "letters": (np.uint16, (MOST_LETTERS, _ANY)),
    "word_ranges": (np.uint32, (_ANY, 2)),
}


@dataclass(frozen=True)
class SuggestedItems:
    """What the items of a segment give to suggestions.

    Attributes:
        entries: the titles, brands and categories.
        of: entity type → the places in `entries` of each item; weights: what it adds to the count
            of each, int64.
    """

    entries: Entries
    of: dict[str, Words]
    weights: dict[str, np.ndarray]

    def added(self, entity: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Texts, and what rows of the segment add to the count of each; one may come again."""
        words = self.of[entity]
        weights, _ = Words(self.weights[entity], words.starts, words.lengths).of(rows)
        return words.of(rows)[0], weights


def open_queries(folder: Path) -> Entries:
    """The queries that a generation suggests; raises Corrupt."""
    with reading("The queries to suggest", folder / QUERIES_FILE, REBUILD):
        return _entries(mapped_file(folder / QUERIES_FILE))


def open_suggested(folder: Path, rows: Mapping[str, int]) -> SuggestedItems:
    """The texts of a segment that are suggested; raises Corrupt.

    Args:
        rows: of each entity type that the segment has.
    """
    with reading("The texts to suggest", folder / ITEMS_FILE, REBUILD):
        columns = mapped_file(folder / ITEMS_FILE)
        entries, of, weights = _entries(columns), {}, {}
        for entity, size in rows.items():
            places, ends = columns[f"{entity}_of"], columns[f"{entity}_ends"]
            weights[entity] = columns[f"{entity}_weights"]
            check_array("of", places, np.int32, (None,))
            check_array("weights", weights[entity], np.int64, (len(places),))
            check_array("ends", ends, np.int64, (size,))
            check_ends("the index of texts", ends, len(places))
            _check_places("of", places, len(entries.kinds))
            of[entity] = Words(places, *spans(ends))
        return SuggestedItems(entries, of, weights)


def _entries(columns: Mapping[str, np.ndarray]) -> Entries:
    """Check the columns of `Entries`; raises ValueError."""
    own: dict[str, Any] = {name: columns[name] for name in _COLUMNS}
    for name, (kind, shape) in _COLUMNS.items():
        check_array(name, own[name], kind, shape)
    texts, words, letters = len(own["kinds"]), len(own["at"]), own["letters"].shape[1]
    for name in ("counts", "languages", "text_ends", "key_ends", "hashes", "hashed"):
        check_array(name, own[name], _COLUMNS[name][0], (texts,))
    for name in ("owners", "ranks"):
        check_array(name, own[name], _COLUMNS[name][0], (words,))
    check_array("word_ranges", own["word_ranges"], np.uint32, (letters, 2))
    check_ends("the index of texts", own["text_ends"], len(own["texts"]))
    check_ends("the index of forms", own["key_ends"], len(own["keys"]))
    if (np.diff(own["key_ends"], prepend=0) < len(END)).any():
        raise ValueError("a form is empty")
    _check_places("owners", own["owners"], texts)
    _check_places("hashed", own["hashed"], texts)
    _check_places("kinds", own["kinds"], len(KINDS))
    _check_places("at", own["at"], len(own["keys"]))
    _check_places("word_ranges", own["word_ranges"], words + 1)
    if not ascends(own["hashes"]):
        raise ValueError("hashes do not ascend")
    vocabulary = load_json(own.pop("vocabulary").tobytes(), [str])
    if own["languages"].min(initial=-1) < -1:
        raise ValueError("a language is out of range")
    _check_places("languages", np.maximum(own["languages"], 0), max(len(vocabulary), 1))
    own["texts"].tobytes().decode()
    views: dict[str, Any] = {name: own.pop(name).data for name in ("texts", "keys")}
    return Entries(vocabulary=vocabulary, **views, **own)


def _check_places(name: str, places: np.ndarray, size: int) -> None:
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < size:
        raise ValueError(f"{name} is out of range")


def stacked_suggestions(
    parts: Sequence[SuggestedItems], dead: Sequence[Mapping[str, np.ndarray]]
) -> tuple[Entries, ...]:
    """The texts of a generation's segments, the oldest first, each in one of them.

    Args:
        dead: of each segment, entity type → the places of items that no longer count.
    """
    counts = [part.entries.counts.copy() for part in parts]
    for part, gone, own in zip(parts, dead, counts, strict=True):
        for entity, rows in gone.items():
            texts, weights = part.added(entity, rows)
            np.subtract.at(own, texts, weights)
    for newer in range(1, len(parts)):
        for older in range(newer):
            here, there = _shared(parts[newer].entries, parts[older].entries)
            counts[older][there] += counts[newer][here]
            counts[newer][here] = 0
    return tuple(_counted(part.entries, own) for part, own in zip(parts, counts, strict=True))


def _shared(one: Entries, other: Entries) -> tuple[np.ndarray, np.ndarray]:
    """Where texts that both have are in each."""
    at = np.searchsorted(other.hashes, one.hashes)
    at = np.minimum(at, max(len(other.hashes) - 1, 0))
    same = other.hashes[at] == one.hashes if len(other.hashes) else np.zeros(len(at), bool)
    return one.hashed[same], other.hashed[at[same]]


def _counted(entries: Entries, counts: np.ndarray) -> Entries:
    """The same texts with other counts."""
    changed = counts != entries.counts
    if not changed.any():
        return entries
    words = np.flatnonzero(changed[entries.owners])
    owners, ranks = entries.owners[words], entries.ranks.copy()
    starts = np.append(0, entries.key_ends)
    begins = entries.at[words] == starts[owners]
    ranks[words] = ranks_of(begins, entries.kinds[owners], counts[owners])
    return replace(entries, counts=counts, ranks=ranks)
