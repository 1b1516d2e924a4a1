"""What items are filtered and counted by: some of their fields, and all their attributes.

Values are stored once, as texts, and each item's as positions among them. What kind of values an
attribute has is decided over a whole generation (`omnisearch.engine.attributes`), so that it does
not depend on the segments.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from safetensors.numpy import load_file, save_file

from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.layout import Layout
from omnisearch.indexer.parts.words import ascends

ATTRIBUTES_FILE = "attributes.safetensors"
# Fields that are filtered and counted as attributes are.
FIELDS = (
    "availability",
    "brand",
    "colours",
    "country",
    "currency",
    "domain",
    "language",
    "materials",
    "patterns",
    "price",
    "product_types",
    "size",
)
T = TypeVar("T")
_Seen = dict[str, tuple[list[str], np.ndarray]]  # entity type → the values, and which are used
_LOOKED_AT = 4_096
# Not 007, which is a code.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?(?:[eE][+-]?[0-9]{1,2})?")
_COMMA = re.compile(r"-?(?:0|[1-9][0-9]{0,14}),[0-9]{1,15}")
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2},[0-9]{3}")


@dataclass(frozen=True)
class Column:
    """The values of one attribute, of the items of one type.

    Attributes:
        rows, codes: int32 (m,): the item in that row has that one of `values`; an item with several
            values has several entries. In a segment the rows ascend.
        values: the distinct texts; of a number its digits, of a flag 'true' or 'false'.
    """

    rows: np.ndarray
    codes: np.ndarray
    values: list[str]

    @cached_property
    def position(self) -> dict[str, int]:
        """The place of each value."""
        return {value: place for place, value in enumerate(self.values)}

    @cached_property
    def folded(self) -> list[str]:
        """The values as they are compared: without case."""
        return [normalise(value) for value in self.values]

    @cached_property
    def plain(self) -> np.ndarray:
        """float64 (v,): the values as numbers, NaN for those that are none."""
        return np.array([_number(value) for value in self.values], np.float64)

    @cached_property
    def commas(self) -> np.ndarray:
        """float64 (v,): the values that may be numbers with a decimal comma; NaN for others."""
        return np.array([_comma(value) for value in self.values], np.float64)

    @cached_property
    def numbers(self) -> np.ndarray:
        """float64 (v,): the values as numbers, NaN for those that are none.

        12,5 is one if all values that items have are numbers then. 1,500 could be read in two ways:
        others tell.
        """
        if not np.isnan(self.plain).any():
            return self.plain
        others = np.isnan(self.plain) & self.used
        texts = (self.values[at] for at in np.flatnonzero(others).tolist())
        if np.isnan(self.commas[others]).any() or all(map(_THOUSANDS.fullmatch, texts)):
            return self.plain
        return np.where(others, self.commas, self.plain)

    @cached_property
    def used(self) -> np.ndarray:
        """Bool (v,): the values that items have."""
        found = np.zeros(len(self.values), bool)
        found[self.codes] = True
        return found

    @cached_property
    def kept(self) -> Kept:
        """That of the first segment's column, for all generations that have it."""
        return Kept()


class Kept:
    """What was worked out of the values that items have, while they are the same: most updates
    change none, and there may be a hundred thousand."""

    def __init__(self) -> None:
        self._kept: tuple[_Seen, dict[str, Any]] = ({}, {})

    def of(self, columns: Mapping[str, Column], what: str, made: Callable[[], T]) -> T:
        """What was made of such values before, or is made now.

        Args:
            columns: entity type → column. what: names it.
        """
        seen = {entity: (column.values, column.used) for entity, column in columns.items()}
        before, found = self._kept
        if not _same(before, seen):
            found = {}
            self._kept = seen, found
        if what not in found:
            found[what] = made()
        return cast(T, found[what])


def _same(one: _Seen, other: _Seen) -> bool:
    return one.keys() == other.keys() and all(
        values == other[entity][0] and np.array_equal(used, other[entity][1])
        for entity, (values, used) in one.items()
    )


def _number(value: str) -> float:
    return float(value) if _NUMBER.fullmatch(value) else np.nan


def _comma(value: str) -> float:
    return float(value.replace(",", ".")) if _COMMA.fullmatch(value) else np.nan


class AttributesOf:
    """Collects the values of items, in the order of their rows."""

    def __init__(self) -> None:
        self._rows: dict[str, array[int]] = {}
        self._codes: dict[str, array[int]] = {}
        self._values: dict[str, dict[str, int]] = {}

    def add(self, row: int, item: Mapping[str, Any]) -> None:
        """Add the next item."""
        named = dict(item.get("attributes") or {})
        named |= {name: item[name] for name in FIELDS if item.get(name) is not None}
        for name, given in named.items():
            values = self._values.setdefault(name, {})
            rows, codes = (kept.setdefault(name, array("i")) for kept in (self._rows, self._codes))
            texts = [_text(each) for each in (given if isinstance(given, list) else [given])]
            for text in dict.fromkeys(filter(None, texts)):
                rows.append(row)
                codes.append(values.setdefault(text, len(values)))

    def write(self, folder: Path) -> None:
        """Store them in `folder`."""
        stored = {}
        for name in sorted(filter(self._values.get, self._values)):  # those that an item has
            text = "\n".join(self._values[name]).encode()
            stored[f"{name}/rows"] = np.array(self._rows[name], np.int32)
            stored[f"{name}/codes"] = np.array(self._codes[name], np.int32)
            stored[f"{name}/values"] = np.frombuffer(text, np.uint8)
        save_file(stored, folder / ATTRIBUTES_FILE)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.15g}"
    return " ".join(str(value).split())


def open_attributes(folder: Path, rows: int) -> dict[str, Column]:
    """Open what `AttributesOf.write` wrote of so many items: name → column.

    Raises:
        Corrupt: the file is missing, or its parts do not fit.
    """
    path = folder / ATTRIBUTES_FILE
    with reading("The attributes of items", path, REBUILD):
        stored = load_file(path)
        names = sorted({key.rpartition("/")[0] for key in stored})
        found = {name: _column(name, stored, rows) for name in names}
        if len(stored) != 3 * len(names):
            raise ValueError("it has parts that belong to no attribute")
        return found


def _column(name: str, stored: Mapping[str, np.ndarray], n: int) -> Column:
    rows, codes, text = (stored[f"{name}/{part}"] for part in ("rows", "codes", "values"))
    check_array(f"rows of {name}", rows, np.int32, (None,))
    check_array(f"codes of {name}", codes, np.int32, (len(rows),))
    check_array(f"values of {name}", text, np.uint8, (None,))
    values = text.tobytes().decode().split("\n") if len(text) else []
    inside = rows.min(initial=0) >= 0 and rows.max(initial=-1) < n and ascends(rows)
    if not inside or codes.min(initial=0) < 0 or codes.max(initial=-1) >= len(values):
        raise ValueError(f"rows or codes of {name} are out of range")
    return Column(rows, codes, values)


class StackedAttributes(Mapping[str, Column]):
    """The columns by row of a generation's segments, each put together when it is first read; names
    that no item has are left out."""

    def __init__(self, parts: Sequence[Mapping[str, Column]], layout: Layout) -> None:
        self._parts, self._layout = parts, layout
        self._names = sorted(filter(self._is_there, {name for part in parts for name in part}))
        self._made: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = _stacked([part.get(name) for part in self._parts], self._layout)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names  # which puts none together

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _is_there(self, name: str) -> bool:
        """Whether an item that counts has it; most often one of the first has."""
        each = zip(self._parts, self._layout.rows, strict=True)
        return any(
            (row_of[part[name].rows[start : start + _LOOKED_AT]] >= 0).any()
            for part, row_of in each
            if name in part
            for start in range(0, len(part[name].rows), _LOOKED_AT)
        )


def _stacked(parts: Sequence[Column | None], layout: Layout) -> Column:
    having = [(at, part) for at, part in enumerate(parts) if part is not None]
    first = having[0][1]
    added: dict[str, int] = {}
    rows, codes = [], []
    for at, part in having:
        row = layout.rows[at][part.rows]
        alive = row >= 0
        rows.append(row[alive].astype(np.int32))
        codes.append(part.codes[alive])
        if part is not first:
            codes[-1] = placed(part.values, first.position, added)[codes[-1]]
    new = Column(rows[0][:0], codes[0][:0], list(added))
    values = first.values + new.values if added else first.values
    column = Column(np.concatenate(rows), np.concatenate(codes), values)
    # What was worked out of the first segment's values, by far the most, is kept.
    vars(column)["folded"] = first.folded + new.folded if added else first.folded
    vars(column)["kept"] = first.kept
    for name in ("plain", "commas"):
        vars(column)[name] = np.concatenate((getattr(first, name), getattr(new, name)))
    return column


def placed(texts: list[str], known: Mapping[str, int], added: dict[str, int]) -> np.ndarray:
    """int32 (m + 1,): the place of each text among the known ones, or behind these, where it is
    `added`; and at last -1, for none."""
    places = [
        known[text] if text in known else len(known) + added.setdefault(text, len(added))
        for text in texts
    ]
    return np.array([*places, -1], np.int32)


def used(columns: Iterable[Column]) -> Iterator[tuple[Column, np.ndarray]]:
    """Each column and the places of the values that items have, ascending."""
    for column in columns:
        yield column, np.flatnonzero(column.used)
