"""The points of a segment's items: vectors, the values of BM25, and what searches filter by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnisearch.data.text.normalise import normalise
from omnisearch.indexer.cluster.names import (
    BOARDS,
    BRAND,
    COUNTRY,
    IS_AD,
    LANGUAGE,
    PRICE,
    code_fields,
    number_fields,
    signed,
    within,
)
from omnisearch.indexer.parts.layout import whole
from omnisearch.indexer.parts.table import Codes, ItemTable
from omnisearch.indexer.parts.terms import TermsOf
from omnisearch.indexer.parts.token_index import K1, B
from omnisearch.indexer.parts.vectors import SegmentSpace
from omnisearch.indexer.segment import Segment

Field = tuple[str, Callable[[int], Any]]  # a field's name, and its value for a place or None


@dataclass(frozen=True)
class EntityPoints:
    """What the points of one entity type are made of; a point's id is the place in the table.

    Attributes:
        table: of the segment. spaces: name → its vectors. terms: None of queries.
    """

    table: ItemTable
    spaces: dict[str, SegmentSpace]
    terms: TermsOf | None

    @classmethod
    def of(cls, segment: Segment, entity: str) -> EntityPoints:
        """Those of an open segment."""
        spaces = {name: space for (kind, name), space in segment.spaces.items() if kind == entity}
        return cls(segment.tables[entity], spaces, segment.terms.get(entity))

    def __len__(self) -> int:
        return len(self.table)

    def payloads(self) -> Callable[[int], dict[str, Any]]:
        """A function that gives the payload of a place: the fields that the item has."""
        fields = list(_fields(self.table))

        def payload(place: int) -> dict[str, Any]:
            found = ((name, value(place)) for name, value in fields)
            return {name: value for name, value in found if value not in (None, [])}

        return payload


def sparse_of(terms: TermsOf, places: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What each term of an item counts in BM25 before its idf, for places int64 (m,).

    Yields for each item its distinct terms uint32 (t,), ascending, and float32 (t,).
    """
    average = int(terms.words.sum()) / max(len(terms.words), 1)
    coded = TermsOf(terms.keys, terms.starts, terms.lengths, terms.words[places]).coded
    norms = K1 * (1 - B + B * coded / max(average, 1e-9))
    keys, lengths = terms.of(places)
    item = np.repeat(np.arange(len(places)), lengths)
    place_in_item = np.arange(len(keys)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    is_word = place_in_item < terms.words[places][item]
    pairs = item.astype(np.uint64) << np.uint64(32) | keys
    words, times = np.unique(pairs[is_word], return_counts=True)
    stems = np.unique(pairs[~is_word])
    norm = norms[(words >> np.uint64(32)).astype(np.int64)]
    values = np.concatenate(((1 + K1) * times / (times + norm), np.full(len(stems), 1 / (1 + K1))))
    # A stem may have the key of a word: then both count, as an index takes each key once.
    found, which = np.unique(np.concatenate((words, stems)), return_inverse=True)
    summed = np.bincount(which, values, len(found)).astype(np.float32)
    keys = (found & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    ends = np.searchsorted(found >> np.uint64(32), np.arange(len(places) + 1, dtype=np.uint64))
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        yield keys[start:end], summed[start:end]


def _fields(table: ItemTable) -> Iterator[Field]:
    yield LANGUAGE, _coded(table.language, within)
    yield COUNTRY, _coded(table.country, normalise)
    yield BRAND, _coded(table.brand, normalise)
    # As decimals of few digits: a node reads numbers of many from JSON, and not to the last bit.
    price, is_ad = whole(table.price).astype(str).astype(np.float64), whole(table.is_ad)
    yield PRICE, lambda place: None if np.isnan(price[place]) else float(price[place])
    yield IS_AD, lambda place: bool(is_ad[place])
    boards = table.boards.parts[0]
    order = np.argsort(boards.rows, kind="stable")
    keys = list(map(signed, boards.keys[order].tolist()))
    yield BOARDS, _listed(boards.rows[order], keys, len(table))
    codes, numbers = code_fields(table.attributes), number_fields(table.attributes)
    for name, column in table.attributes.items():
        yield codes[name], _listed(column.rows, column.codes.tolist(), len(table))
        if name in numbers:
            values = column.numbers[column.codes]
            is_number = ~np.isnan(values)
            rows = column.rows[is_number]
            yield numbers[name], _listed(rows, values[is_number].tolist(), len(table))


def _coded(column: Codes, form: Callable[[str], Any]) -> Callable[[int], Any]:
    values = [*map(form, column.vocab), None]  # the last is for -1
    codes = whole(column.codes)
    return lambda place: values[codes[place]]


def _listed(rows: np.ndarray, values: list[Any], n: int) -> Callable[[int], Any]:
    """The values of each row, of rows that ascend."""
    ends = np.searchsorted(rows, np.arange(n + 1)).tolist()
    return lambda place: values[ends[place] : ends[place + 1]]
