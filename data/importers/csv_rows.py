"""Rows of CSV and TSV files, in which a stray quote loses its own line and no other.

A quoted field may hold line ends. A quote that was never meant to begin one would swallow the rows
up to the next quote, or all of them. A record of several lines is therefore only believed if it
ends within RECORD_LINES and RECORD_BYTES, has as many columns as the header, and its lines do not
read as rows of their own. Otherwise its first line is refused, and reading starts anew at the next
physical line.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from omnisearch.data.importers.source import MAX_LINE, TOO_LONG, Line, Row
from omnisearch.data.workspace.errors import InputError

RECORD_LINES = 1000
RECORD_BYTES = 1024 * 1024
# Lines may be read again this often on average, so that hostile quotes cost linear time.
_AGAIN = 16
_SLACK = 100_000
_OPEN = "is not valid CSV: a quote is not closed in its row"
_PAIR = "is not valid CSV: a quote is closed in the next row"
_COLUMNS = "has a different number of columns than the header"

csv.field_size_limit(MAX_LINE)


def csv_rows(
    path: Path, lines: Iterator[Line], delimiter: str
) -> tuple[Iterator[Row], tuple[str, ...]]:
    """(rows, columns of the header); raises InputError if the header is unusable."""
    shape = _Shape(delimiter)
    rows = _rows(lines, shape)
    header = next(rows, None)
    if header is None:
        raise InputError(
            "The file has no header.",
            where=str(path),
            how="Write the names of its columns into its first line.",
        )
    if header.error:
        raise InputError(f"The header cannot be read: it {header.error}.", where=str(path))
    if not _utf8(shape.columns):
        raise InputError(
            "The header is not UTF-8, as the rest of the file is.",
            where=str(path),
            how="Mend it, or name the encoding of the file with --encoding.",
        )
    twice = sorted(name for name, times in Counter(shape.columns).items() if times > 1)
    if twice:
        shown = ", ".join(map(repr, twice))[:500]
        raise InputError(
            f"Duplicate columns: {shown}.",
            where=str(path),
            how="Remove or rename all but one of each.",
        )
    return rows, shape.columns


def _utf8(columns: tuple[str, ...]) -> bool:
    try:
        "".join(columns).encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(lines: Iterator[Line], shape: _Shape) -> Iterator[Row]:
    """The header, as a row without values, and the rows; blank lines are none."""
    ahead: deque[Line] = deque()  # lines taken back
    text: list[str] = []
    # Reads the one line in `text`; IndexError says that a quoted field goes on after it.
    reader = csv.reader(iter(text.pop, None), delimiter=shape.delimiter, strict=True)
    columns, again = shape.columns, 0
    while (first := ahead.popleft() if ahead else next(lines, None)) is not None:
        number, line = first
        if line is None:
            yield Row(number, None, TOO_LONG)
            continue
        size, error = len(line), None
        plain = line.rstrip(b"\r\n")
        try:
            if b'"' in plain or b"\r" in plain:
                text.append(line.decode("utf-8", "surrogateescape"))
                cells = next(reader)
            elif plain:  # as csv.reader does, in half its time
                cells = plain.decode("utf-8", "surrogateescape").split(shape.delimiter)
            else:
                continue
        except csv.Error as fault:
            error = f"is not valid CSV: {fault}"
        except IndexError:
            if again > _AGAIN * number + _SLACK:
                yield Row(number, None, _OPEN, "", size)
                continue
            taken = [first]
            cells, error = _read_on(taken, chain(_drained(ahead), lines), shape)
            if error is None:
                size = sum(len(line or b"") for _, line in taken)
            elif error == _PAIR:  # both have a stray quote
                yield Row(number, None, error, "", size)
                number, size = taken[1][0], len(taken[1][1] or b"")
            else:
                again += len(taken)
                ahead.extendleft(reversed(taken[1:]))
        if error is not None:
            yield Row(number, None, error, "", size)
        elif len(cells) == len(columns):
            values: dict[str, str | None] = dict(zip(columns, cells, strict=True))
            if "" in cells:
                values = {name: cell or None for name, cell in values.items()}
            yield Row(number, values, None, "", size)
        elif columns:
            yield Row(number, None, _COLUMNS, "", size)
        else:
            columns = shape.learn(cells)
            yield Row(number, None)


def _drained(ahead: deque[Line]) -> Iterator[Line]:
    while ahead:
        yield ahead.popleft()


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


@dataclass
class _Shape:
    """What is known of the rows of the file; `columns` is empty before the header."""

    delimiter: str
    columns: tuple[str, ...] = ()
    spaced: bool = True  # delimiters may be followed by a space

    def learn(self, header: list[str]) -> tuple[str, ...]:
        named = [name.strip() for name in header]
        self.columns = tuple(name or f"column {i}" for i, name in enumerate(named, 1))
        self.spaced = self.delimiter == "\t" or any(name.startswith(" ") for name in header)
        return self.columns

    def fits(self, line: bytes) -> bool:
        """Whether the line has the columns of a row if its quotes mean nothing.

        A comma before a space is taken for prose, unless the header has such commas.
        """
        delimiter = self.delimiter.encode()
        found = line.count(delimiter) - (0 if self.spaced else line.count(delimiter + b" "))
        return found == len(self.columns) - 1


def _read_on(
    taken: list[Line], following: Iterator[Line], shape: _Shape
) -> tuple[list[str], str | None]:
    """(cells, error) of the record that begins in the line in `taken`, which gets its others."""

    def texts() -> Iterator[str]:
        [(start, line)] = taken
        number, size = start, 0
        while line is not None and number - start < RECORD_LINES and size <= RECORD_BYTES:
            yield _decoded(line)
            size += len(line)
            if (more := next(following, None)) is None:
                return
            taken.append(more)
            number, line = more

    try:
        cells = next(csv.reader(texts(), delimiter=shape.delimiter, strict=True))
    except csv.Error as fault:
        return [], _OPEN if "unexpected end" in str(fault) else f"is not valid CSV: {fault}"
    if not shape.columns:
        return cells, None
    if len(cells) != len(shape.columns):
        return [], _COLUMNS
    rows = [shape.fits(line or b"") for _, line in taken]
    if rows[0] and rows[-1] and 2 * sum(rows) > len(rows):
        second = taken[1][1] or b""
        return [], _PAIR if len(rows) == 2 and _closed(second, shape.delimiter) else _OPEN
    return cells, None


def _closed(line: bytes, delimiter: str) -> bool:
    """Whether a line can be read alone."""
    try:
        return bool(next(csv.reader([_decoded(line)], delimiter=delimiter, strict=True)))
    except csv.Error:
        return False
