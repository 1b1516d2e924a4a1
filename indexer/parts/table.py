"""The columns of an entity type's items that search reads besides vectors and tokens.

Row r is the same item in every column, every space and the token index.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.text.keys import key_of
from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.attributes import Column
from omnisearch.indexer.parts.layout import Layout, Rows, whole
from omnisearch.indexer.parts.words import Words

CODED = ("language", "country", "brand")
DISPLAYED = (
    "title",
    "description",
    "caption",
    "image",
    "link",
    "domain",
    "price",
    "currency",
    "brand",
    "campaign",
    "availability",
)
_VALUES = {str, float, int}  # of what is displayed
NAMES = ("title", "caption", "description")  # the first that an item has is its name
COLUMNS_FILE = "columns.safetensors"
IDS_FILE = "ids.jsonl"
VOCABULARY_FILE = "vocabulary.json"
DISPLAY_FILE = "display.jsonl"


def name_of(item: Mapping[str, Any]) -> str:
    """The name of an item."""
    return next((item[name] for name in NAMES if item.get(name)), "")


@dataclass(frozen=True)
class Codes:
    """A column of repeated strings.

    Attributes:
        codes: int32 (n,), positions in `vocab`, -1 where unknown.
        vocab: the distinct strings, as the catalogue has them.
    """

    codes: Rows
    vocab: list[str]

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of each string."""
        return {text: position for position, text in enumerate(self.vocab)}

    @cached_property
    def sizes(self) -> np.ndarray:
        """int64 (v,): how many rows have each string."""
        return np.bincount(whole(self.codes) + 1, minlength=len(self.vocab) + 1)[1:]

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """See `positions_of`."""
        return positions_of(self.vocab)

    def mask(self, value: str) -> np.ndarray:
        """Bool (n,): the rows whose string equals `value`, compared after `normalise`."""
        positions = self.positions.get(normalise(value), [])
        if not positions:
            return np.zeros(len(self.codes), dtype=bool)
        codes = whole(self.codes)
        mask = codes == positions[0]
        for position in positions[1:]:
            mask |= codes == position
        return mask

    def mask_within(self, code: str) -> np.ndarray:
        """Bool (n,): the rows whose code is that or one inside it, as en-us is inside en."""
        outer = normalise(code)
        inside = [text == outer or text.startswith(f"{outer}-") for text in self.positions]
        wanted = np.zeros(len(self.vocab) + 1, bool)  # the last is for -1
        for text, within in zip(self.positions, inside, strict=True):
            wanted[self.positions[text]] = within
        return wanted[whole(self.codes)]


def positions_of(vocab: list[str]) -> dict[str, list[int]]:
    """The positions of the strings that are alike after `normalise`."""
    found: dict[str, list[int]] = {}
    for position, text in enumerate(vocab):
        found.setdefault(normalise(text), []).append(position)
    return found


@dataclass(frozen=True)
class Posting:
    """The rows that belong to each key in one segment.

    Attributes:
        keys: uint64 (m,), `key_of` the board's or the query's id, ascending.
        rows: int32 (m,), ascending within a key.
        weights: float32 (m,).
        row_of: int64, the table's row of each of the segment's, -1 if the item no longer counts;
            None if they are the same.
    """

    keys: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    row_of: np.ndarray | None = None


@dataclass(frozen=True)
class Postings:
    """The rows that belong to each key (a board, an engaging query), with weights.

    Attributes:
        parts: of each segment.
        size: n, rows of the table.
    """

    parts: tuple[Posting, ...]
    size: int

    def find(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The rows, ascending, of a board id or a query's id, and their weights."""
        key = np.uint64(key_of(text))
        found = []
        for part in self.parts:
            start, stop = np.searchsorted(part.keys, (key, key + np.uint64(1)))
            if key == np.iinfo(np.uint64).max:
                stop = len(part.keys)
            rows = part.rows[start:stop]
            if part.row_of is not None:
                rows = part.row_of[rows].astype(np.int32)
            found.append((rows, part.weights[start:stop]))
        if self.parts[0].row_of is None:
            return found[0]
        rows, weights = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(rows, kind="stable")
        order = order[np.searchsorted(rows[order], 0) :]
        return rows[order], weights[order]

    def mask(self, text: str) -> np.ndarray:
        """Bool (n,): the rows of a board id or a query's id."""
        mask = np.zeros(self.size, dtype=bool)
        mask[self.find(text)[0]] = True
        return mask

    def match(self, text: str, rows: np.ndarray) -> np.ndarray:
        """Float32 (m,): the weight of each given row under a board's or a query's id, else 0."""
        known, weights = self.find(text)
        if not len(known):
            return np.zeros(len(rows), dtype=np.float32)
        at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        return np.where(known[at] == rows, weights[at], np.float32(0))


@dataclass(frozen=True)
class Shown:
    """What is displayed of one segment's items.

    Attributes:
        text: uint8, lines of JSON. ends: int64 (m,), the end of each item's line.
        path: of the file.
    """

    text: np.ndarray
    ends: np.ndarray
    path: Path

    def lines(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Raises Corrupt if a line is not of that form."""
        text = self.text.data  # slices of a memmap are costly
        ends = self.ends[places].tolist()
        found = []
        with reading("What is displayed of items", self.path, REBUILD):
            for place, end in zip(places, ends, strict=True):
                found.append(orjson.loads(text[int(self.ends[place - 1]) if place else 0 : end]))
            for line in found:
                if type(line) is not dict or not _VALUES.issuperset(map(type, line.values())):
                    check_shape(found, [{str: (str, float)}])  # which names the place
        return found


@dataclass(frozen=True)
class RowOf(Mapping[str, int]):
    """The row of each id, found in the ascending ids: a dict would be made anew by each update."""

    ids: Sequence[str]

    def __getitem__(self, key: str) -> int:
        row = bisect_left(self.ids, key)
        if row == len(self.ids) or self.ids[row] != key:
            raise KeyError(key)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class ItemTable:
    """The columns of one entity type; all have n rows.

    Attributes:
        entity: 'pin', 'product' or 'query'.
        ids: the items' ids by row, ascending.
        price: float32, NaN unknown. created_at: int64 seconds, 0 unknown. is_ad: bool.
        full_name: uint64, `keys.name_key` of the item's name.
        language, country, brand: Codes.
        boards: Postings by board id, weights 1. engaged: Postings by the id of an engaging query,
            weighted as enrichment weighted it (§3.2.3).
        names: the words of each item's name; lacks: those of them that the name excludes
            ('without').
        attributes: name → the items' values; none of queries.
        shown: of each segment.
        layout: in which segment a row's item lies; None if there is one segment.
    """

    entity: str
    ids: Sequence[str]
    price: Rows
    created_at: Rows
    is_ad: Rows
    full_name: Rows
    language: Codes
    country: Codes
    brand: Codes
    boards: Postings
    engaged: Postings
    names: Words
    lacks: Words
    attributes: Mapping[str, Column]
    shown: tuple[Shown, ...]
    layout: Layout | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def row_of(self) -> RowOf:
        """The row of each item."""
        return RowOf(self.ids)

    def display(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """What a result page shows of each row: those of DISPLAYED that the item has. Raises
        Corrupt if a row is not of that form.
        """
        if self.layout is None:
            return self.shown[0].lines(list(map(int, rows)))
        found: list[dict[str, Any]] = [{}] * len(rows)
        for segment, which, places in self.layout.split(np.asarray(rows, np.int64)):
            lines = self.shown[segment].lines(places.tolist())
            for at, line in zip(which.tolist(), lines, strict=True):
                found[at] = line
        return found
