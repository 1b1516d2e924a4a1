"""The columns of an entity type's items that search reads besides vectors and tokens.

Row r is the same item in every column, every space and the token index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import load_file

from omnisearch.data.text.keys import key_of
from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.reading import (
    check_array,
    check_shape,
    load_json,
    load_lines,
    reading,
)
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.words import Words, ascends, check_ends

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
)
NAMES = ("title", "caption", "description")  # the first that an item has is its name
COLUMNS_FILE = "columns.safetensors"
IDS_FILE = "ids.jsonl"
VOCABULARY_FILE = "vocabulary.json"
DISPLAY_FILE = "display.jsonl"

# Column → type and shape; n is the number of rows, None any number.
_ROWS, _ANY = -1, None
_COLUMNS: dict[str, tuple[Any, tuple[int | None, ...]]] = {
    "deleted": (bool, (_ROWS,)),
    "price": (np.float32, (_ROWS,)),
    "created_at": (np.int64, (_ROWS,)),
    "is_ad": (bool, (_ROWS,)),
    "full_name": (np.uint64, (_ROWS,)),
    **{name: (np.int32, (_ROWS,)) for name in CODED},
    **{name: (np.int64, (_ROWS,)) for name in ("display_ends", "name_ends", "lack_ends")},
    **{name: (np.uint32, (_ANY,)) for name in ("name_keys", "lack_keys")},
    **{f"{name}_keys": (np.uint64, (_ANY,)) for name in ("boards", "engaged")},
    **{f"{name}_rows": (np.int32, (_ANY,)) for name in ("boards", "engaged")},
    **{f"{name}_weights": (np.float32, (_ANY,)) for name in ("boards", "engaged")},
}


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

    codes: np.ndarray
    vocab: list[str]

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for position, text in enumerate(self.vocab):
            found.setdefault(normalise(text), []).append(position)
        return found

    def mask(self, value: str) -> np.ndarray:
        """Bool (n,): the rows whose string equals `value`, compared after `normalise`."""
        positions = self._positions.get(normalise(value), [])
        if not positions:
            return np.zeros(len(self.codes), dtype=bool)
        mask = self.codes == positions[0]
        for position in positions[1:]:
            mask |= self.codes == position
        return mask


@dataclass(frozen=True)
class Postings:
    """The rows that belong to each key (a board, an engaging query), with weights.

    Attributes:
        keys: uint64 (m,), `key_of` the board's or the query's id, ascending.
        rows: int32 (m,), ascending within a key.
        weights: float32 (m,).
        size: n, rows of the table.
    """

    keys: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    size: int

    def find(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The rows, ascending, of a board id or a query's id, and their weights."""
        key = np.uint64(key_of(text))
        start, stop = np.searchsorted(self.keys, (key, key + np.uint64(1)))
        if key == np.iinfo(np.uint64).max:
            stop = len(self.keys)
        return self.rows[start:stop], self.weights[start:stop]

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
class ItemTable:
    """The columns of one entity type; all have n rows, deleted items included.

    Attributes:
        entity: 'pin', 'product' or 'query'.
        ids: the items' ids by row.
        deleted: bool, the item is no longer in the catalogue, and searches do not return it.
        price: float32, NaN unknown. created_at: int64 seconds, 0 unknown. is_ad: bool.
        full_name: uint64, `keys.name_key` of the item's name.
        language, country, brand: Codes.
        boards: Postings by board id, weights 1. engaged: Postings by the id of an engaging query,
            weighted as enrichment weighted it (§3.2.3).
        names: the words of each item's name; lacks: those of them that the name excludes
            ('without').
    """

    entity: str
    ids: list[str]
    deleted: np.ndarray
    price: np.ndarray
    created_at: np.ndarray
    is_ad: np.ndarray
    full_name: np.ndarray
    language: Codes
    country: Codes
    brand: Codes
    boards: Postings
    engaged: Postings
    names: Words
    lacks: Words
    _display: np.ndarray
    _display_ends: np.ndarray
    _folder: Path

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each item that is not deleted."""
        rows = {key: row for row, key in enumerate(self.ids)}
        for row in np.flatnonzero(self.deleted).tolist():
            del rows[self.ids[row]]
        return rows

    def display(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """What a result page shows of each row: those of DISPLAYED that the item has. Empty for a
        deleted item. Raises Corrupt if a row is not of that form.
        """
        text = self._display.data  # slices of a memmap are costly
        ends = self._display_ends[np.asarray(rows, np.int64)].tolist()
        found = []
        with reading("What is displayed of items", self._folder / DISPLAY_FILE, REBUILD):
            for row, end in zip(rows, ends, strict=True):
                line = text[int(self._display_ends[row - 1]) if row else 0 : end]
                found.append(orjson.loads(line) if line else {})
            check_shape(found, [{str: (str, float)}])
        return found


def open_table(folder: Path, entity: str) -> ItemTable:
    """Open the table that `omnisearch.indexer.parts.table_write.write_table` wrote.

    Raises:
        Corrupt: a file is missing or its shapes do not agree.
    """
    with reading(f"The table of {entity} items", folder, REBUILD):
        ids = load_lines((folder / IDS_FILE).read_bytes(), str)
        vocabulary = load_json(
            (folder / VOCABULARY_FILE).read_bytes(), {name: [str] for name in CODED}
        )
        display = _bytes_of(folder / DISPLAY_FILE)
        columns = load_file(folder / COLUMNS_FILE)
        return _assemble(folder, entity, ids, columns, vocabulary, display)


def _assemble(
    folder: Path,
    entity: str,
    ids: list[str],
    columns: dict[str, np.ndarray],
    vocabulary: dict[str, list[str]],
    display: np.ndarray,
) -> ItemTable:
    n = len(ids)
    _check(len(set(ids)) == n, "an id is there twice")
    for name, (dtype, shape) in _COLUMNS.items():
        sizes = tuple(n if size == _ROWS else size for size in shape)
        check_array(f"column {name}", columns[name], dtype, sizes)
    ends = columns["display_ends"]
    check_ends("the index of what is displayed", ends, len(display))
    codes = {name: Codes(columns[name], vocabulary[name]) for name in CODED}
    for name, code in codes.items():
        low, high = code.codes.min(initial=-1), code.codes.max(initial=-1)
        _check(low >= -1 and high < len(code.vocab), f"codes of {name} are out of range")
    return ItemTable(
        entity=entity,
        ids=ids,
        deleted=columns["deleted"],
        price=columns["price"],
        created_at=columns["created_at"],
        is_ad=columns["is_ad"],
        full_name=columns["full_name"],
        language=codes["language"],
        country=codes["country"],
        brand=codes["brand"],
        boards=_postings("boards", columns, n),
        engaged=_postings("engaged", columns, n),
        names=_words("name", columns),
        lacks=_words("lack", columns),
        _display=display,
        _display_ends=ends,
        _folder=folder,
    )


def _words(name: str, columns: dict[str, np.ndarray]) -> Words:
    keys, ends = columns[f"{name}_keys"], columns[f"{name}_ends"]
    check_ends(f"the index of {name}s", ends, len(keys))
    return Words(keys, np.concatenate(([0], ends)))


def _postings(name: str, columns: dict[str, np.ndarray], n: int) -> Postings:
    keys, rows, weights = (columns[f"{name}_{part}"] for part in ("keys", "rows", "weights"))
    _check(len(keys) == len(rows) == len(weights), f"the columns of {name} differ in length")
    _check(rows.min(initial=0) >= 0 and rows.max(initial=-1) < n, f"rows of {name}")
    _check(ascends(keys) and np.isfinite(weights).all(), f"keys or weights of {name}")
    same = keys[1:] == keys[:-1]
    _check((np.diff(rows) >= 0)[same].all(), f"rows of {name} do not ascend")
    return Postings(keys, rows, weights, n)


def _check(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _bytes_of(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="r")


def postings_columns(name: str, entries: Iterable[tuple[int, int, float]]) -> dict[str, np.ndarray]:
    """The stored columns of Postings from (key, row, weight) entries in any order."""
    found = list(entries)
    keys = np.array([entry[0] for entry in found], dtype=np.uint64)
    rows = np.array([entry[1] for entry in found], dtype=np.int32)
    weights = np.array([entry[2] for entry in found], dtype=np.float32)
    order = np.lexsort((rows, keys))
    return {
        f"{name}_keys": keys[order],
        f"{name}_rows": rows[order],
        f"{name}_weights": weights[order],
    }
