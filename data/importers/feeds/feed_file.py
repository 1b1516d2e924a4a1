"""A file of a shop system while it is read, and its import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnisearch.data.importers.columns import check_names, folded, with_attributes
from omnisearch.data.importers.constants import check_constants
from omnisearch.data.importers.feeds.xml_rows import is_xml, open_xml
from omnisearch.data.importers.files import ImportOptions, import_rows
from omnisearch.data.importers.importer import Feed
from omnisearch.data.importers.prices import Prices, decide
from omnisearch.data.importers.readers import format_of, open_source
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.transaction import Report
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.registry import load_function


@dataclass
class FeedFile:
    """A file of a shop system.

    Attributes:
        workspace: that the rows are for.
        fixed_currency: whether the currency is given for all rows.
        prices: how its prices are read; set by `decide_prices`.
        left_out: what is left out on purpose, as one and as many → how often, for the report.
        notes, ignored: as in `Source`.
    """

    workspace: Workspace
    path: Path
    delimiter: str | None = None
    encoding: str | None = None
    fixed_currency: bool = False
    prices: Prices = field(default_factory=Prices)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.source = self._open()
        self.notes += self.source.notes

    def rows(self, columns: Mapping[str, str], skipped: frozenset[str]) -> Iterator[Row]:
        """The rows, with only what is there.

        A column whose folded name is in `columns` has the name that stands there; the first of
        several. Those in `skipped` are named in the report. All others keep their names.
        """
        plans: dict[tuple[str, ...], dict[str, str]] = {}
        for row in self._rows_once():
            if row.values is None:
                yield row
                continue
            names = tuple(row.values)
            if names not in plans:
                if len(plans) > 1000:  # rows that differ in their columns
                    plans.clear()
                plans[names] = self._plan(names, columns, skipped)
            plan = plans[names]
            values = {
                plan[name]: value
                for name, value in row.values.items()
                if name in plan and not (value is None or value == "")
            }
            yield row._replace(values=values)

    def decide_prices(
        self, columns: Mapping[str, str], skipped: frozenset[str], *names: str
    ) -> None:
        """Read the file for the decimal sign of the columns of these names."""
        rows = (row.values for row in self.rows(columns, skipped) if row.values)
        self.prices = decide(values.get(name) for values in rows for name in names)

    def _plan(
        self, names: tuple[str, ...], columns: Mapping[str, str], skipped: frozenset[str]
    ) -> dict[str, str]:
        plan: dict[str, str] = {}
        for name in names:
            key = folded(name)
            if key in skipped:
                if len(self.ignored) < 100:
                    self.ignored.add(name[:100])
            elif columns.get(key) not in plan.values():
                plan[name] = columns.get(key, name)
            else:
                plan[name] = name
        return plan

    def _rows_once(self) -> Iterator[Row]:
        """The rows from the beginning; the file is opened again each time but the first."""
        source, self.source = self.source, None  # type: ignore[assignment]
        if source is None:
            source = self._open()
        self._done = source.done
        yield from source.rows

    def _open(self) -> Source:
        source = (
            open_xml(self.path, self.encoding)
            if is_xml(self.path)
            else open_source(
                self.path,
                None if format_of(self.path) else "txt",
                self.delimiter,
                self.encoding,
            )
        )
        self._done = source.done
        return source

    def done(self) -> int:
        return self._done()


def import_feed(
    feed: Feed,
    workspace: Workspace,
    path: Path,
    progress: Progress | None,
    options: ImportOptions | None,
) -> Report:
    """Import a file of a shop system; raises InputError if it cannot be read as one."""
    options = options or ImportOptions()
    if options.mapping:
        raise InputError(
            f"The columns of {feed.name} are known.",
            where="--map",
            how="Leave it out, or give --format csv to read the file as a plain one.",
        )
    if not path.is_file():
        raise InputError("This is not a file.", where=str(path), how=f"Name a file of {feed.name}.")
    check_names(feed.kind, {}, options.constants)
    check_constants(feed.kind, options.constants)
    size = path.stat().st_size
    fixed = "currency" in options.constants
    file = FeedFile(workspace, path, options.delimiter, options.encoding, fixed)
    _check_headers(feed, file)
    made = load_function(feed.function, f"format {feed.name!r}")(file)
    rows = _with(made, options.constants, file)
    source = Source(
        feed.name, rows, None, size, lambda: min(size, file.done()), file.notes, file.ignored
    )
    return import_rows(workspace, path, feed.kind, source, options, progress)


def _with(rows: Iterable[Row], constants: Mapping[str, str], file: FeedFile) -> Iterator[Row]:
    """The rows with the constants; at the end the report's sentences are complete."""
    given = with_attributes(constants)
    for row in rows:
        yield row._replace(values=row.values | given) if given and row.values else row
    file.notes += file.prices.notes()
    if file.left_out:
        shown = ", ".join(counted(n, *what) for what, n in file.left_out.most_common())
        file.notes.append(f"Left out on purpose: {shown}.")


def _check_headers(feed: Feed, file: FeedFile) -> None:
    columns = file.source.columns
    if columns is None or not feed.headers:
        return
    wanted = feed.headers[0].split("|")
    if {folded(name) for name in wanted}.isdisjoint(map(folded, columns)):
        raise InputError(
            f"The file has no column {' or '.join(map(repr, wanted))}, which {feed.name} has.",
            where=str(file.path),
            how=f"Its columns are {', '.join(columns)[:500]}.",
        )


def values_of(values: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a value that may be given several times."""
    found = values.get(name)
    listed = found if type(found) is list else [] if found is None else [found]
    return [each.strip() for each in map(str, listed) if each.strip()]
