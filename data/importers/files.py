"""`import_file` and `import_rows`: rows into the catalogue, a file at a time.

One file is one transaction: a crash or an error leaves all of it or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import sqlite_utils

from data.catalogue import open_catalogue
from data.errors import InputError
from data.importers.readers import Row, Source, format_of, open_source
from data.importers.rejects import Rejects
from data.importers.rows import FIELDS, KINDS, REQUIRED, Parser, QueryIds, inline_items, parser_of
from data.importers.store import BlockWriter, Numbered
from data.importers.values import Refused
from data.workspace import Workspace, sha256_file

T = TypeVar("T")
Progress = Callable[[int, int], None] | None
BLOCK = 10_000
_CACHE_KIB = 64 * 1024


@dataclass(frozen=True)
class ImportOptions:
    """How a file is read.

    Attributes:
        mapping: our field → the file's column, such as {"title": "product_title"}.
        strict: refuse the whole file for one bad row.
        format: 'jsonl', 'csv', 'tsv' or 'parquet'; by default the file's name tells.
    """

    mapping: dict[str, str] = field(default_factory=dict)
    strict: bool = False
    format: str | None = None


@dataclass(frozen=True)
class Report:
    """What became of a file: `rows` = `taken` + `refused`.

    Attributes:
        changed: rows that were added or altered something; 0 when a file is imported again.
        rejects: the file that lists the refused rows, or None.
        reasons: how many rows were refused for each reason.
        ignored: columns of the file that its kind does not have.
    """

    file: str
    kind: str
    rows: int
    taken: int
    changed: int
    refused: int
    rejects: Path | None
    reasons: dict[str, int]
    ignored: tuple[str, ...] = ()


def kind_of(path: Path) -> str | None:
    """The kind that a file's name tells: 'pins' for pins.jsonl and pins-2024.csv.gz."""
    stem = path.name.split(".")[0].split("-")[0].lower()
    return stem if stem in KINDS and format_of(path) else None


def import_file(
    workspace: Workspace,
    path: Path,
    kind: str | None = None,
    options: ImportOptions | None = None,
    progress: Progress = None,
) -> Report:
    """Import one file as rows of `kind` (by default the file's name tells) in one transaction.

    Rows that cannot be taken are refused one by one, with the reason; the others are written.

    Raises:
        InputError: the file as a whole is unusable, or `strict` and a row was refused; then
            nothing was imported.
    """
    options = options or ImportOptions()
    path = Path(path)
    kind = kind or kind_of(path)
    if kind not in KINDS:
        raise InputError(
            f"Unknown kind of rows {kind!r}." if kind else "The file's name tells no kind of rows.",
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
    progress: Progress = None,
) -> Report:
    """Import the rows of an open source, read from `path`, in one transaction."""
    options = options or ImportOptions()
    workspace.root.mkdir(parents=True, exist_ok=True)
    digest = sha256_file(path)
    db = open_catalogue(workspace.catalogue, create=True)
    rejects = Rejects(workspace, str(path))
    loading = _Loading(db, path, kind, source, options, rejects, progress)
    try:
        db.conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.conn.execute("BEGIN IMMEDIATE")
        loading.run()
        if options.strict and rejects.refused:
            db.conn.rollback()
            db.conn.execute("BEGIN IMMEDIATE")
            loading.taken = loading.changed = 0
        number = next_number(db)
        final = rejects.finish(number)
        db.conn.execute(
            "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(number, str(path), digest, kind, source.format, int(time.time())),
                *(loading.rows, loading.taken, loading.changed, rejects.refused),
                final and final.name,
            ],
        )
        db.conn.commit()
    except BaseException:
        db.conn.rollback()
        rejects.discard()
        raise
    finally:
        db.conn.close()
    if options.strict and rejects.refused:
        raise strict_error(path, rejects, loading.rows, final)
    return Report(
        str(path),
        kind,
        loading.rows,
        loading.taken,
        loading.changed,
        rejects.refused,
        final,
        dict(rejects.reasons.most_common()),
        tuple(sorted(loading.ignored)),
    )


def strict_error(path: Path, rejects: Rejects, rows: int, final: Path | None) -> InputError:
    """What `strict` says of a file with refused rows."""
    commonest = "; ".join(f"{n} × {reason}" for reason, n in rejects.reasons.most_common(3))
    return InputError(
        f"{rejects.refused} of {rows} rows were refused ({commonest}); nothing was imported.",
        where=str(path),
        how=f"Mend the rows that {final} lists, or import without --strict.",
    )


def next_number(db: sqlite_utils.Database) -> int:
    """The id of the import that is being recorded; call it in the recording transaction."""
    return db.conn.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM imports").fetchone()[0]


@dataclass
class _Loading:
    """One file on its way into the catalogue, and the counts so far."""

    db: sqlite_utils.Database
    path: Path
    kind: str
    source: Source
    options: ImportOptions
    rejects: Rejects
    progress: Progress
    rows: int = 0
    taken: int = 0
    changed: int = 0
    ignored: set[str] = field(default_factory=set)

    def run(self) -> None:
        queries = QueryIds()
        parse = parser_of(self.kind, queries)
        writer = BlockWriter(self.db.conn, self.kind, queries)
        inline = None
        if self.kind == "boards":
            inline = BlockWriter(self.db.conn, "board_items", queries, table="seen_items")
        mapped: set[str] = set()
        for block in blocks(self.source.rows, BLOCK):
            items: list[tuple[int, dict]] = []
            records = self._parse(block, parse, mapped, items)
            refused = self._write(writer, records)
            if inline is not None:
                items = [item for item in items if item[0] not in refused]
                for part in blocks(iter(items), BLOCK):
                    self.rows += len(part)
                    self._write(inline, self._parse_items(part))
            if self.progress:
                self.progress(self.source.done(), self.source.total)
        writer.close()
        if inline is not None:
            inline.close()
        self._check_mapped(mapped)

    def _write(self, writer: BlockWriter, records: list[Numbered]) -> set[int]:
        """Write a block; returns the lines that were refused."""
        lines = set()

        def refuse(line: int, refused: Refused) -> None:
            lines.add(line)
            self.rejects.add(line, refused)

        taken, changed = writer.write(records, refuse)
        self.taken += taken
        self.changed += changed
        return lines

    def _parse(
        self,
        block: list[Row],
        parse: Parser,
        mapped: set[str],
        items: list[tuple[int, dict]],
    ) -> list[Numbered]:
        """The rows of a block that can be read; a board's inline items go to `items`."""
        fields = frozenset(FIELDS[self.kind])
        mapping = self.options.mapping
        records: list[Numbered] = []
        self.rows += len(block)
        for line, values, error, at in block:
            try:
                if values is None:
                    raise Refused(at, error or "cannot be read")
                if mapping:
                    values = _renamed(values, mapping, mapped)
                if not values.keys() <= fields and len(self.ignored) < 100:
                    self.ignored |= {str(name)[:100] for name in values.keys() - fields}
                record = parse(values)
                if self.kind == "boards" and "items" in values:
                    rows = inline_items(record["id"], values["items"])
                    items.extend((line, row) for row in rows)
                records.append((line, record))
            except Refused as refused:
                self.rejects.add(line, refused)
        return records

    def _parse_items(self, items: list[tuple[int, dict]]) -> list[Numbered]:
        parse = parser_of("board_items", QueryIds())
        records: list[Numbered] = []
        for line, values in items:
            try:
                records.append((line, parse(values)))
            except Refused as refused:
                self.rejects.add(line, Refused("items", refused.reason, refused.value))
        return records

    def _check_mapped(self, mapped: set[str]) -> None:
        unseen = self.options.mapping.keys() - mapped
        if unseen and self.rows:
            pairs = ", ".join(f"{name}={self.options.mapping[name]}" for name in sorted(unseen))
            raise InputError(
                f"No row has the column that --map names ({pairs}).",
                where=str(self.path),
                how="Nothing was imported; name a column of the file.",
            )


def blocks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    iterator = iter(rows)
    while block := list(islice(iterator, size)):
        yield block


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
    """A file with a header that lacks a needed column is refused before a row is read."""
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
            f"The file has no column {absent[0]!r}, which {kind} need.",
            where=str(path),
            how=f"Its columns are {', '.join(source.columns)[:500]}; "
            f"name one with --map {absent[0]}=COLUMN.",
        )
