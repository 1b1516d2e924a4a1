"""The attributes of a generation's items, pins and products together, and what kind of values each
has."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from rapidfuzz import fuzz, process

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import table_of_settings
from omnisearch.engine.attribute import KINDS, STEP, Attribute, attribute_of
from omnisearch.engine.filter_syntax import LONGEST, Condition, filter_by
from omnisearch.indexer.parts.attributes import Column, used
from omnisearch.indexer.parts.table import ItemTable

MOST_USUAL = 8
_NOT_USUAL = ("country", "currency", "domain", "language")

_FIELD_KINDS = {
    **dict.fromkeys(("availability", "brand", "country", "currency"), "text"),
    **dict.fromkeys(("domain", "language", "size"), "text"),
    **dict.fromkeys(("colours", "materials", "patterns"), "list"),
    "price": "number",
}
# Names that people use for fields, if there is no attribute of that name.
_ALIASES = {
    "color": "colours",
    "colour": "colours",
    "colors": "colours",
    "material": "materials",
    "pattern": "patterns",
    "category": "product_types",
    "categories": "product_types",
    "product_type": "product_types",
    "stock": "availability",
}


class Attributes:
    """All attributes of a generation; safe for several threads.

    Attributes:
        names: ascending.
    """

    def __init__(
        self, tables: Mapping[str, ItemTable], kinds: Mapping[str, str] | None = None
    ) -> None:
        self._tables = tables
        self.names = sorted({name for table in tables.values() for name in table.attributes})
        self._kinds = kinds or {}
        self._found: dict[str, Attribute] = {}
        self._lock = threading.Lock()

    def has(self, name: str) -> bool:
        """Whether any item has it, by this name or a usual one."""
        return name in self.names or _ALIASES.get(name) in self.names

    def named(self, name: str, where: str = "filter") -> Attribute:
        """An attribute by its name; raises InputError, with the names that there are."""
        known = name if name in self.names else _ALIASES.get(name, name)
        if known not in self.names:
            near = process.extractOne(known, self.names, scorer=fuzz.ratio, score_cutoff=60)
            listed = ", ".join(self.names) or "none: no item has any"
            raise InputError(
                f"No item has an attribute {name!r}.",
                where=f"{where} {name}",
                how=(f"Did you mean {near[0]}? " if near else "") + f"There are {listed}.",
            )
        with self._lock:
            if known not in self._found:
                columns = self._columns(known)
                kind = self._kinds.get(known) or _FIELD_KINDS.get(known) or kind_of(columns)
                self._found[known] = attribute_of(known, columns, kind)
            return self._found[known]

    def filter_on(self, names: Sequence[str], value: str) -> str | None:
        """The filter on one of these attributes that keeps the most items with a value, or with one
        below it; None if no item has it, or the filter would be too long."""
        best, most = "", 0
        for name in names:
            count = self.named(name).count(value) if name in self.names else 0
            if count > most:
                best, most = filter_by(name, value), count
        return best if 0 < len(best) <= LONGEST else None

    @property
    def out_of_stock(self) -> bool:
        """Whether anything is out of stock."""
        return self.has("availability") and "out_of_stock" in self.named("availability").place

    @cached_property
    def usual(self) -> list[str]:
        """The attributes that most people will want counted, at most MOST_USUAL: those of which
        there are some values, not one for each item, by how many items have them."""
        having: dict[str, int] = {}
        for name in self.names:
            columns = self._columns(name).values()
            sizes = [int(np.count_nonzero(column.used)) for column in columns]
            if name in _NOT_USUAL or sum(sizes) < 2 or (max(sizes) > 500 and name != "price"):
                continue
            having[name] = sum(len(np.unique(column.rows)) for column in columns)
        return sorted(having, key=lambda name: (-having[name], name))[:MOST_USUAL]

    def _columns(self, name: str) -> dict[str, Column]:
        return {
            entity: table.attributes[name]
            for entity, table in self._tables.items()
            if name in table.attributes
        }

    def mask(self, condition: Condition, entity: str, n: int) -> np.ndarray:
        """Bool (n,): the rows that meet a condition; raises InputError like `Attribute.mask`."""
        return self.named(condition.name).mask(condition, entity, n)


def kind_of(columns: Mapping[str, Column]) -> str:
    """The kind of the values that items have: one of KINDS.

    Flags and numbers are such if all of them are; a category path is one if half of them have ' > '
    in them; a list, if an item has several values.

    Args:
        columns: entity type → column.
    """
    kept = next(iter(columns.values())).kept
    told = kept.of(columns, "kind of values", lambda: _kind_of_values(list(columns.values())))
    if told:
        return told
    several = any(np.bincount(column.rows).max(initial=0) > 1 for column in columns.values())
    return "list" if several else "text"


def _kind_of_values(columns: list[Column]) -> str:
    """The kind that the values tell; empty if they do not."""
    texts: set[str] = set()
    numbers = True
    for column, places in used(columns):
        texts |= {column.folded[at] for at in places.tolist()}
        numbers &= not np.isnan(column.numbers[places]).any()
    if texts and texts <= {"true", "false", "yes", "no"}:
        return "flag"
    if numbers:
        return "number"
    return "path" if 2 * sum(STEP in text for text in texts) >= len(texts) else ""


def attribute_kinds(workspace: Workspace) -> dict[str, str]:
    """The `[attributes]` table of `omnisearch.toml`: attribute → the kind of its values.

    Raises InputError for a kind that there is not.
    """
    found = table_of_settings("attributes", workspace.settings)
    for name, kind in found.items():
        if kind not in KINDS:
            raise InputError(
                f"The attribute {name!r} cannot be of the kind {kind!r}.",
                where=f"{workspace.settings} [attributes]",
                how=f"Use one of {', '.join(KINDS)}.",
            )
    return found
