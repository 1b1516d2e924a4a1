"""`import_file` and `import_rows`: import rows into the catalogue, one file at a time.

Each file is one transaction: after a crash or an error, all of it is imported or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import sqlite_utils

from omnisearch.data.importers.attributes import AttributeNames, NoAttribute, read_attributes
from omnisearch.data.importers.catalogue_writer import BlockWriter, Numbered
from omnisearch.data.importers.readers import format_of, open_source
from omnisearch.data.importers.rejects import Rejects
from omnisearch.data.importers.rows import (
    FIELDS,
    KINDS,
    REQUIRED,
    Parser,
    QueryIds,
    inline_items,
    leave_out_unsafe_link,
    parser_of,
)
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.transaction import (
    Counts,
    Report,
    check_strict,
    importing,
    record,
    start_anew,
)
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress

T = TypeVar("T")
BLOCK = 10_000  # rows checked and written together
BLOCK_BYTES = 32 * 1024 * 1024
SMALL_BLOCK = 1_000
WIDE_KINDS = ("pins", "products", "boards")  # rows may be long
ITEM_KINDS = ("pins", "products")


@dataclass(frozen=True)
class ImportOptions:
    """How a file is read.

    Attributes:
        mapping: our field → the file's column, such as {"title": "product_title"}.
        strict: refuse the whole file if any row is bad.
        format: 'jsonl', 'csv', 'tsv' or 'parquet'; by default from the file's name.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    format: str | None = None


def kind_of(path: Path) -> str | None:
    """The kind of rows by the file's name: 'pins' for pins.jsonl and pins-2024.csv.gz."""
    stem = path.name.split(".")[0].split("-")[0].lower()
    return stem if stem in KINDS and format_of(path) else None


def import_file(
    workspace: Workspace,
    path: Path,
    kind: str | None = None,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Import one file as rows of `kind` (by default from the file's name) in one transaction.

    Bad rows are refused one by one, with the reason; the others are written, without a link that is
    not safe to follow (`data.text.links`).

    Raises:
        InputError: the file as a whole is unusable, or `strict` is set and a row was refused;
            nothing was imported.
    """
    options = options or ImportOptions()
    path = Path(path)
    kind = kind or kind_of(path)
    if kind not in KINDS:
        raise InputError(
            f"Unknown kind of rows {kind!r}." if kind else "The file's name does not say its kind.",
            where=str(path),
            how=f"Give --kind, one of {', '.join(KINDS)}.",
        )
    _check_mapping(options.mapping, kind)
    source = open_source(path, options.format)
    _check_columns(source, path, kind, options.mapping)
    return import_rows(workspace, path, kind, source, options, progress)


def import_rows(
    workspace: Workspace,
    path: Path,
    kind: str,
    source: Source,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Import the rows of an open source, read from `path`, in one transaction."""
    options = options or ImportOptions()
    counts = Counts(kind, source.format)
    with importing(workspace, path) as (db, rejects):
        _Loading(db, path, source, options, counts, rejects, progress).run()
        if options.strict and (rejects.refused or rejects.left_out):
            start_anew(db)
            counts.taken = counts.changed = 0
        report = record(db, path, counts, rejects)
    return check_strict(report) if options.strict else report


@dataclass
class _Loading:
    """The import of one file, and the counts so far."""

    db: sqlite_utils.Database
    path: Path
    source: Source
    options: ImportOptions
    counts: Counts
    rejects: Rejects
    progress: Progress | None
    names: AttributeNames = field(init=False)
    no_attributes: set[str] = field(default_factory=set)  # names that were told
    mapped: set[str] = field(default_factory=set)  # our fields whose column a row had

    def run(self) -> None:
        kind = self.counts.kind
        queries = QueryIds()
        parse = parser_of(kind, queries)
        self.names = AttributeNames(self.db.conn)
        writer = BlockWriter(self.db.conn, kind, queries)
        inline = None
        if kind == "boards":
            inline = BlockWriter(self.db.conn, "board_items", queries, table="seen_items")
        size = SMALL_BLOCK if kind in WIDE_KINDS else BLOCK
        read = -1
        while read < self.counts.rows:
            read = self.counts.rows
            items: list[tuple[int, dict]] = []
            # Parsed as they are read, so that rows too long to be taken are not kept.
            records = self._parse(_some(self.source.rows, size), parse, items)
            refused = self._write(writer, records)
            if inline is not None:
                self._write_items(inline, [item for item in items if item[0] not in refused])
            if self.progress:
                self.progress(self.source.done(), self.source.total)
        writer.close()
        self.names.save()
        self.counts.attributes = self.names.met
        if inline is not None:
            inline.close()
        self._check_mapped()

    def _write_items(self, writer: BlockWriter, items: list[tuple[int, dict]]) -> None:
        """Import the items that boards list inline, each as a row of its own."""
        for part in blocks(items, BLOCK):
            self.counts.rows += len(part)
            self._write(writer, self._parse_items(part))

    def _write(self, writer: BlockWriter, records: list[Numbered]) -> set[int]:
        """Write a block; returns the lines that were refused."""
        lines = set()

        def refuse(line: int, refused: Refused) -> None:
            lines.add(line)
            self.rejects.add(line, refused)

        taken, changed = writer.write(records, refuse)
        self.counts.taken += taken
        self.counts.changed += changed
        return lines

    def _parse(
        self, rows: Iterable[Row], parse: Parser, items: list[tuple[int, dict]]
    ) -> list[Numbered]:
        """The valid rows; a board's inline items go to `items`."""
        fields = frozenset(FIELDS[self.counts.kind])
        ignored, mapping = self.counts.ignored, self.options.mapping
        holds_items, are_items = "items" in fields, self.counts.kind in ITEM_KINDS
        records: list[Numbered] = []
        for line, values, error, at, _ in rows:
            self.counts.rows += 1
            try:
                if values is None:
                    raise Refused(at, error or "cannot be read")
                if mapping:
                    values = _renamed(values, mapping, self.mapped)
                if not (are_items or values.keys() <= fields) and len(ignored) < 100:
                    unknown = sorted(map(str, values.keys() - fields))
                    ignored |= {name[:100] for name in unknown[: 100 - len(ignored)]}
                record = parse(values)
                for each in self._read_attributes(values, fields, record) if are_items else ():
                    self.rejects.leave_out(line, each)
                if left_out := leave_out_unsafe_link(record):
                    self.rejects.leave_out(line, left_out)
                if holds_items and "items" in values:
                    inline = inline_items(record["id"], values["items"])
                    items.extend((line, item) for item in inline)
                records.append((line, record))
            except Refused as refused:
                self.rejects.add(line, refused)
        return records

    def _read_attributes(
        self, values: dict, fields: frozenset[str], record: dict
    ) -> Iterator[Refused]:
        """Add a row's attributes to its record; yields what is left out, each wrong name once."""
        for each in (*read_attributes(values, fields, record), *self.names.admit(record)):
            if not isinstance(each, NoAttribute):
                yield each
            elif each.field not in self.no_attributes and len(self.no_attributes) < 1000:
                self.no_attributes.add(each.field)
                yield each

    def _parse_items(self, items: list[tuple[int, dict]]) -> list[Numbered]:
        parse = parser_of("board_items", QueryIds())
        records: list[Numbered] = []
        for line, values in items:
            try:
                records.append((line, parse(values)))
            except Refused as refused:
                self.rejects.add(line, Refused("items", refused.reason, refused.value))
        return records

    def _check_mapped(self) -> None:
        unseen = self.options.mapping.keys() - self.mapped
        if unseen and self.counts.rows:
            pairs = ", ".join(f"{name}={self.options.mapping[name]}" for name in sorted(unseen))
            raise InputError(
                f"No row has the column that --map names ({pairs}).",
                where=str(self.path),
                how="Nothing was imported. Name a column of the file.",
            )


def blocks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    iterator = iter(rows)
    while block := list(islice(iterator, size)):
        yield block


def _some(rows: Iterator[Row], most: int) -> Iterator[Row]:
    """The next rows: `most`, or fewer that have BLOCK_BYTES."""
    size = 0
    for row in islice(rows, most):
        yield row
        size += row.size
        if size > BLOCK_BYTES:
            return


def _renamed(values: dict, mapping: dict[str, str], mapped: set[str]) -> dict:
    renamed = dict(values)
    for ours, theirs in mapping.items():
        if theirs in values:
            mapped.add(ours)
            renamed.pop(theirs, None)
    for ours, theirs in mapping.items():
        if theirs in values:
            renamed[ours] = values[theirs]
    return renamed


def _check_mapping(mapping: dict[str, str], kind: str) -> None:
    for ours in mapping:
        if ours not in FIELDS[kind]:
            raise InputError(
                f"{kind} have no field {ours!r}.",
                where="--map",
                how=f"Their fields are {', '.join(FIELDS[kind])}.",
            )


def _check_columns(source: Source, path: Path, kind: str, mapping: dict[str, str]) -> None:
    """Refuse a file whose header lacks a required column before any row is read."""
    if source.columns is None:
        return
    lost = [name for name in mapping.values() if name not in source.columns]
    if lost:
        raise InputError(
            f"The file has no column {lost[0]!r}.",
            where=str(path),
            how=f"Its columns are {', '.join(source.columns)[:500]}.",
        )
    here = {*source.columns, *mapping}
    absent = [name for name in REQUIRED[kind] if name not in here]
    if absent:
        raise InputError(
            f"The file has no column {absent[0]!r}, which {kind} require.",
            where=str(path),
            how=f"Its columns are {', '.join(source.columns)[:500]}; "
            f"name one with --map {absent[0]}=COLUMN.",
        )
