"""`import_file` and `import_rows`: import rows into the catalogue, one file at a time.

Each file is one transaction: after a crash or an error, all of it is imported or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import sqlite_utils

from omnisearch.data.importers.attributes import AttributeNames, NoAttribute, read_attributes
from omnisearch.data.importers.campaigns import import_campaigns
from omnisearch.data.importers.catalogue_writer import BlockWriter, Numbered
from omnisearch.data.importers.choices import apart, translated
from omnisearch.data.importers.codes import NoCodes
from omnisearch.data.importers.columns import Names, check_columns, check_mapped, check_names
from omnisearch.data.importers.constants import check_constants
from omnisearch.data.importers.days import TIMES, with_dates
from omnisearch.data.importers.prices import priced
from omnisearch.data.importers.readers import format_of, open_source, refuse_spreadsheet
from omnisearch.data.importers.rejects import Rejects
from omnisearch.data.importers.rows import (
    FIELDS,
    ITEM_KINDS,
    KINDS,
    Parser,
    QueryIds,
    inline_items,
    leave_out_unsafe_link,
    parser_of,
)
from omnisearch.data.importers.source import Row, Source, begun
from omnisearch.data.importers.transaction import (
    Counts,
    Report,
    check_strict,
    importing,
    record,
    start_anew,
    without_rows,
)
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.importers.words import NO_WORDS, have_words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress

T = TypeVar("T")
BLOCK = 10_000  # rows checked and written together
BLOCK_BYTES = 32 * 1024 * 1024
SMALL_BLOCK = 1_000
WIDE_KINDS = ("pins", "products", "boards")  # rows may be long


@dataclass(frozen=True)
class ImportOptions:
    """How a file is read.

    Attributes:
        mapping: our field → the file's column, such as {"title": "product_title"}; of some fields
            also our value → the file's words (`importers.choices`).
        constants: our field → its value in every row, such as {"entity": "product"}.
        strict: refuse the whole file if any row or value is bad.
        format: one of `readers.FORMATS`; by default from the file's name.
        delimiter: what separates the columns of a table; by default it is found in the file.
        encoding: of a text, by Python's name for it; by default it is found in the file.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    format: str | None = None
    constants: dict[str, str] = field(default_factory=dict)
    delimiter: str | None = None
    encoding: str | None = None


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

    Bad rows are refused one by one, with the reason. The others are written, without the optional
    values that are bad and without a link that is not safe to follow (`data.text.links`): they keep
    what the catalogue holds.

    Raises:
        InputError: the file as a whole is unusable, or `strict` is set and a row was refused;
            nothing was imported.
    """
    options = options or ImportOptions()
    path = Path(path)
    if options.format is None:
        refuse_spreadsheet(path)
    kind = kind or kind_of(path)
    if kind not in KINDS:
        raise InputError(
            f"Unknown kind of rows {kind!r}." if kind else "The file's name does not say its kind.",
            where=str(path),
            how=f"Give --kind, one of {', '.join(KINDS)}.",
        )
    columns, words = apart(kind, options.mapping)
    check_names(kind, columns, options.constants)
    check_constants(kind, options.constants)
    names = Names(kind, columns, options.constants)
    source = open_source(path, options.format, options.delimiter, options.encoding)
    check_columns(source, path, names)
    renamed = names.rename(source.rows)
    rows = _dated(path, source, names, translated(renamed, words) if words else renamed, options)
    if kind == "campaigns":
        source = replace(source, rows=rows)
        return import_campaigns(workspace, path, source, names, options.strict, progress)
    if kind == "products":
        rows = _priced(path, source, names, rows, options)
    return import_rows(workspace, path, kind, replace(source, rows=rows), options, progress, names)


def _priced(
    path: Path, source: Source, names: Names, rows: Iterator[Row], options: ImportOptions
) -> Iterator[Row]:
    """The rows with their prices as numbers; the file is read once more for how to read them."""
    if source.columns is not None and "price" not in names.known(source.columns):
        return rows
    again = _again(path, names, options)
    return priced(rows, again, "currency" in options.constants, source.notes)


def _dated(
    path: Path, source: Source, names: Names, rows: Iterator[Row], options: ImportOptions
) -> Iterator[Row]:
    """The rows with dates that can be read; the file may be read once more for how."""
    known = FIELDS[names.kind] if source.columns is None else names.known(source.columns)
    fields = tuple(field for field in TIMES.get(names.kind, ()) if field in known)
    if not fields or source.format == "parquet":
        return rows
    return with_dates(rows, _again(path, names, options), fields, source.notes)


def _again(path: Path, names: Names, options: ImportOptions) -> Iterator[Row]:
    """The rows once more."""
    source = open_source(path, options.format, options.delimiter, options.encoding)
    return names.rename(source.rows)


def import_rows(
    workspace: Workspace,
    path: Path,
    kind: str,
    source: Source,
    options: ImportOptions | None = None,
    progress: Progress | None = None,
    names: Names | None = None,
) -> Report:
    """Import the rows of an open source, read from `path`, in one transaction.

    A file without rows makes no workspace.

    Raises:
        InputError: no row had a column of the mapping in `names`, or `strict` is set and a row or
            a value was refused; nothing was imported.
    """
    options = options or ImportOptions()
    opened = source if workspace.catalogue.exists() else begun(source)
    if opened is None:
        return without_rows(path, kind, source)
    source = opened
    counts = Counts(kind, source.format, notes=source.notes, ignored=source.ignored)
    with importing(workspace, path) as (db, rejects):
        loading = _Loading(db, source, counts, rejects, progress)
        loading.run()
        counts.notes += loading.no_codes.notes()
        if names is not None and counts.taken and not loading.worded:
            counts.notes.append(NO_WORDS[kind])
        if names is not None and counts.rows:
            check_mapped(names, path)
        if options.strict and (rejects.refused or rejects.left_out):
            start_anew(db)
            counts.taken = counts.changed = 0
        report = record(db, path, counts, rejects)
    return check_strict(report) if options.strict else report


@dataclass
class _Loading:
    """The import of one file, and the counts so far."""

    db: sqlite_utils.Database
    source: Source
    counts: Counts
    rejects: Rejects
    progress: Progress | None
    names: AttributeNames = field(init=False)
    no_attributes: set[str] = field(default_factory=set)  # names that were told
    no_codes: NoCodes = field(default_factory=NoCodes)
    worded: bool = False  # whether an item has words to be found by

    def run(self) -> None:
        kind = self.counts.kind
        queries = QueryIds()
        bad: list[Refused] = []  # the values that a row is taken without
        parse = parser_of(kind, queries, bad.append)
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
            records = self._parse(_some(self.source.rows, size), parse, items, bad)
            self.no_codes.see(records)
            refused = self._write(writer, records)
            self.worded = self.worded or have_words(self.db.conn, kind, records)
            if inline is not None:
                self._write_items(inline, [item for item in items if item[0] not in refused])
            if self.progress:
                self.progress(self.source.done(), self.source.total)
        writer.close()
        self.names.save()
        self.counts.attributes = self.names.met
        if inline is not None:
            inline.close()

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
        self,
        rows: Iterable[Row],
        parse: Parser,
        items: list[tuple[int, dict]],
        bad: list[Refused],
    ) -> list[Numbered]:
        """The valid rows; a board's inline items go to `items`. `parse` fills `bad`."""
        fields = frozenset(FIELDS[self.counts.kind])
        ignored = self.counts.ignored
        holds_items, are_items = "items" in fields, self.counts.kind in ITEM_KINDS
        records: list[Numbered] = []
        for line, values, error, at, _, left_out in rows:
            self.counts.rows += 1
            bad.clear()
            try:
                if values is None:
                    raise Refused(at, error or "cannot be read")
                if not (are_items or values.keys() <= fields) and len(ignored) < 100:
                    unknown = sorted(map(str, values.keys() - fields))
                    ignored |= {name[:100] for name in unknown[: 100 - len(ignored)]}
                record = parse(values)
                if are_items:
                    bad += self._read_attributes(values, fields, record)
                if unsafe := leave_out_unsafe_link(record):
                    bad.append(unsafe)
                if holds_items and "items" in values:
                    items += _items(line, record["id"], values["items"], bad)
                records.append((line, record))
            except Refused as refused:
                self.rejects.add(line, refused)
                continue
            for each in bad:
                self.rejects.leave_out(line, each)
            for at_line, each in left_out:
                self.rejects.leave_out(at_line, each)
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


def _items(
    line: int, board: str, value: Any, bad: list[Refused]
) -> list[tuple[int, dict[str, Any]]]:
    """The items that a board lists, numbered by its line; a bad list goes to `bad`."""
    try:
        return [(line, item) for item in inline_items(board, value)]
    except Refused as refused:
        bad.append(refused)
        return []


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
