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
from safetensors import SafetensorError
from safetensors.numpy import load_file

from omnisearch.data.text.keys import key_of
from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.parts import REBUILD
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
)
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
        counts: float32 (n, 6), engagement by ACTIONS before the catalogue's engaged_until; for a
            query, the engagement that it led to. NaN if the log was derived from labels.
        coverage: uint8, how many text fields are filled, engaged queries excluded.
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
    counts: np.ndarray
    coverage: np.ndarray
    language: Codes
    country: Codes
    brand: Codes
    boards: Postings
    engaged: Postings
    names: Words
    lacks: Words
    _display: np.ndarray
    _display_ends: np.ndarray

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
        deleted item.
        """
        text = self._display.data  # slices of a memmap are costly
        ends = self._display_ends[np.asarray(rows, np.int64)].tolist()
        found = []
        for row, end in zip(rows, ends, strict=True):
            line = text[int(self._display_ends[row - 1]) if row else 0 : end]
            found.append(orjson.loads(line) if line else {})
        return found


def open_table(folder: Path, entity: str) -> ItemTable:
    """Open the table that `omnisearch.indexer.parts.table_write.write_table` wrote.

    Raises:
        Corrupt: a file is missing or its shapes do not agree.
    """
    try:
        columns = load_file(folder / COLUMNS_FILE)
        ids = [orjson.loads(line) for line in (folder / IDS_FILE).read_bytes().splitlines()]
        vocabulary = orjson.loads((folder / VOCABULARY_FILE).read_bytes())
        display = _bytes_of(folder / DISPLAY_FILE)
        table = _assemble(entity, ids, columns, vocabulary, display)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Corrupt(
            f"The table of {entity} items cannot be read ({error}).",
            where=str(folder),
            how=REBUILD,
        ) from error
    return table


def _assemble(
    entity: str,
    ids: list[str],
    columns: dict[str, np.ndarray],
    vocabulary: dict[str, list[str]],
    display: np.ndarray,
) -> ItemTable:
    n = len(ids)
    _check(all(isinstance(key, str) for key in ids), "an id is not a string")
    for name, column in columns.items():
        if not name.startswith(("boards_", "engaged_")) and name not in ("name_keys", "lack_keys"):
            _check(len(column) == n, f"column {name} has {len(column)} rows, not {n}")
    ends = columns["display_ends"]
    _check(_partition(ends, len(display)), "the index of what is displayed")
    codes = {name: Codes(columns[name], vocabulary[name]) for name in CODED}
    for name, code in codes.items():
        _check(not n or code.codes.max() < len(code.vocab), f"codes of {name}")
    return ItemTable(
        entity=entity,
        ids=ids,
        deleted=columns["deleted"],
        price=columns["price"],
        created_at=columns["created_at"],
        is_ad=columns["is_ad"],
        counts=columns["counts"],
        coverage=columns["coverage"],
        language=codes["language"],
        country=codes["country"],
        brand=codes["brand"],
        boards=_postings("boards", columns, n),
        engaged=_postings("engaged", columns, n),
        names=_words("name", columns),
        lacks=_words("lack", columns),
        _display=display,
        _display_ends=ends,
    )


def _partition(ends: np.ndarray, total: int) -> bool:
    """Whether the ends of consecutive parts ascend to the total."""
    if not len(ends):
        return total == 0
    return bool(ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] == total)


def _words(name: str, columns: dict[str, np.ndarray]) -> Words:
    keys, ends = columns[f"{name}_keys"], columns[f"{name}_ends"]
    _check(_partition(ends, len(keys)), f"the index of {name}s")
    return Words(keys, np.concatenate(([0], ends)))


def _postings(name: str, columns: dict[str, np.ndarray], n: int) -> Postings:
    keys, rows, weights = (columns[f"{name}_{part}"] for part in _POSTING_PARTS)
    _check(len(keys) == len(rows) == len(weights), f"postings of {name}")
    _check(not len(rows) or 0 <= rows.min() <= rows.max() < n, f"rows of {name}")
    return Postings(keys, rows, weights, n)


_POSTING_PARTS = ("keys", "rows", "weights")


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
