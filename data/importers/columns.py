"""Which column of a file is which of our fields.

A header names a field whatever its case, spaces, hyphens and underscores: `Image Link`, `imageLink`
and `image_link` are one name. A column that has a field's exact name goes before one that is only
spelled alike; of columns spelled alike the first is taken, and the others stay unknown ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omnisearch.data.importers.attributes import attribute_name
from omnisearch.data.importers.rows import FIELDS, ITEM_KINDS, REQUIRED
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.workspace.errors import InputError

_MOST_PLANS = 1000  # of rows that differ in their columns
_ATTRIBUTE = "attributes."  # of pins and products, in --map and --set: attributes.category
_SEPARATORS = re.compile(r"[\W_]+")


def folded(name: str) -> str:
    """The name without what makes no difference: `Image Link` is `imagelink`."""
    return _SEPARATORS.sub("", name).casefold()


@dataclass
class Names:
    """The fields of a kind of rows, by the columns of a file.

    Attributes:
        mapping: our field or `attributes.NAME` → the file's column, as `--map` gives it.
        constants: our field or `attributes.NAME` → its value in every row, as `--set` gives it.
        mapped: our fields whose column of the mapping a row had.
    """

    kind: str
    mapping: Mapping[str, str]
    constants: Mapping[str, str]
    mapped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._fields = {folded(name): name for name in FIELDS[self.kind]}
        self._plans: dict[tuple[str, ...], dict[str, str] | None] = {}

    def rename(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows with our names for what we know, theirs for the rest."""
        constants = with_attributes(self.constants)
        for row in rows:
            values = row.values
            if values is None:
                yield row
                continue
            columns = tuple(values)
            plan = self._plans[columns] if columns in self._plans else self._plan(columns)
            if plan is not None:
                values = {plan[name]: value for name, value in values.items() if name in plan}
            if constants:
                values = values | constants
            yield row if values is row.values else row._replace(values=values)

    def known(self, columns: Iterable[str]) -> set[str]:
        """The names after `rename` of the columns of a header."""
        found = tuple(columns)
        plan = self._plan(found)
        return {*(found if plan is None else plan.values()), *self.constants}

    def _plan(self, columns: tuple[str, ...]) -> dict[str, str] | None:
        """Column → its new name, without what --map replaces; None if nothing changes."""
        plan: dict[str, str] = {}
        for ours, theirs in self.mapping.items():
            alike = [name for name in columns if folded(name) == folded(theirs)]
            if alike:
                self.mapped.add(ours)
                plan[theirs if theirs in alike else alike[0]] = _plain(ours)
        taken = set(plan.values())
        attributes = {_plain(ours) for ours in self.mapping if ours.startswith(_ATTRIBUTE)}
        exact = {name for name in columns if name in self._fields.values()}
        for name in columns:
            if name in plan:
                continue
            ours = name if name in exact else self._fields.get(folded(name), name)
            if (name in exact and ours in taken) or attribute_name(name) in attributes:
                continue  # replaced by --map
            plan[name] = name if name not in exact and ours in exact | taken else ours
            taken.add(plan[name])
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        same = all(name == new for name, new in plan.items()) and len(plan) == len(columns)
        self._plans[columns] = None if same else plan
        return self._plans[columns]


def with_attributes(constants: Mapping[str, str]) -> dict[str, str]:
    """Constants by the names that rows have: `attributes.category` is the column `category`."""
    return {_plain(ours): value for ours, value in constants.items()}


def _plain(ours: str) -> str:
    """A name of --map or --set as that of a column."""
    if not ours.startswith(_ATTRIBUTE):
        return ours
    return attribute_name(ours.removeprefix(_ATTRIBUTE))


def check_names(kind: str, mapping: Mapping[str, str], constants: Mapping[str, str]) -> None:
    """Refuse fields of --map and --set that the kind does not have."""
    for option, given in (("--map", mapping), ("--set", constants)):
        for ours, value in given.items():
            if kind in ITEM_KINDS and ours.startswith(_ATTRIBUTE):
                _check_attribute(ours, kind, option)
            elif ours not in FIELDS[kind]:
                known = f"Their fields are {', '.join(FIELDS[kind])}."
                name = attribute_name(ours) if kind in ITEM_KINDS else ""
                pair = f"{option} {_ATTRIBUTE}{name}={value}"
                turned = f"Did you mean --map {value}={ours}? The field comes first. "
                raise InputError(
                    f"{kind} have no field {ours!r}.",
                    where=option,
                    how=(turned if option == "--map" and value in FIELDS[kind] else "")
                    + (f"For an attribute write {pair}. " if name else "")
                    + known,
                )
    _check_pairs(mapping, constants)


def _check_pairs(mapping: Mapping[str, str], constants: Mapping[str, str]) -> None:
    """Refuse a field that is given twice, and a column for two fields, of which one has none."""
    fields: set[str] = set()
    for ours in (*mapping, *constants):
        if _plain(ours) in fields:
            raise InputError(
                f"{ours!r} is given twice.", where="--map and --set", how="Leave one of them out."
            )
        fields.add(_plain(ours))
    of_column: dict[str, str] = {}
    for ours, theirs in mapping.items():
        other = of_column.setdefault(theirs, ours)
        if other != ours:
            raise InputError(
                f"The column {theirs!r} is given to both {other} and {ours}.",
                where="--map",
                how="A column has one field: leave one of them out, or write the column twice.",
            )


def _check_attribute(ours: str, kind: str, option: str) -> None:
    name = _plain(ours)
    if not name or name in FIELDS[kind]:
        raise InputError(
            f"{ours!r} names no attribute, but the field {name!r} of {kind}."
            if name
            else f"{ours!r} names no attribute.",
            where=option,
            how=f"Write {name} alone." if name else f"Write a name after {_ATTRIBUTE}",
        )


def check_columns(source: Source, path: Path, names: Names) -> None:
    """Refuse a file whose header lacks a required column before any row is read."""
    if source.columns is None:
        return
    shown = ", ".join(source.columns)[:500]
    known = names.known(source.columns)
    lost = [name for ours, name in names.mapping.items() if ours not in names.mapped]
    if lost:
        raise InputError(
            f"The file has no column {lost[0]!r}.",
            where=str(path),
            how=f"Its columns are {shown}.",
        )
    absent = [name for name in REQUIRED[names.kind] if name not in known]
    if absent:
        field, shared = absent[0], f", or give all rows the same with --set {absent[0]}=VALUE"
        raise InputError(
            f"The file has no column {field!r}, which {names.kind} require.",
            where=str(path),
            how=f"Its columns are {shown}; name one with --map {field}=COLUMN"
            f"{'' if field == 'id' else shared}.",
        )


def check_mapped(names: Names, path: Path) -> None:
    """Refuse a file none of whose rows had a column that --map names."""
    unseen = names.mapping.keys() - names.mapped
    if unseen:
        pairs = ", ".join(f"{name}={names.mapping[name]}" for name in sorted(unseen))
        raise InputError(
            f"No row has the column that --map names ({pairs}).",
            where=str(path),
            how="Name a column of the file; nothing of it was imported.",
        )
