"""Reads CSV files as spreadsheets save them: other separators, encodings and byte order marks.

Cells written by `export_sheet` have no line breaks, so each row is one line, and an unclosed quote
affects only its own line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.judging.scale import FORMS

MAX_BYTES = 64 << 20
_NEEDED = ("pair", "grade")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class SheetRow:
    """A row: its cells by the first word of the column's name, or why it cannot be read."""

    line: int
    cells: dict[str, str]
    error: str = ""


def read_rows(path: Path) -> Iterator[SheetRow]:
    """The rows below the header, without blank lines.

    Accepts UTF-8 and UTF-16 with or without a BOM, and comma, semicolon or tab. Other encodings
    are read as Windows-1252 without the `query` or `caption`, whose letters may be lost.

    Raises:
        InputError: the file cannot be read, is over 64 MB, or its header lacks `pair` or `grade`.
    """
    text, exact = _text(path)
    numbered = enumerate(io.StringIO(text, newline=None), 1)
    lines = [(n, line) for n, line in numbered if line.strip() and not line.startswith("sep=")]
    names, separator = _header(path, lines[0][1] if lines else "")
    for number, line in lines[1:]:
        try:
            cells = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            yield SheetRow(number, {}, f"is not valid CSV: {error}")
            continue
        if any(cells[len(names) :]):
            yield SheetRow(number, {}, "has more columns than the header")
            continue
        row = dict(zip(names, cells + [""] * len(names), strict=False))
        if not exact:
            for form in FORMS.values():
                row.pop(form.text, None)
        yield SheetRow(number, row)


def _text(path: Path) -> tuple[str, bool]:
    """The text of a file, and whether its encoding is certain."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError("The file is larger than 64 MB.", where=str(path))
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The file cannot be read ({error.strerror}).", where=str(path)) from error
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig"), True
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace"), False


def _header(path: Path, line: str) -> tuple[list[str], str]:
    """The first words of the columns' names, and the separator."""
    for separator in ",;\t":
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        names = [(cell.split() or [""])[0].casefold() for cell in cells]
        if all(names.count(name) == 1 for name in _NEEDED):
            return names, separator
    raise InputError(
        "The file needs a header with one column `pair` and one column `grade`.",
        where=f"{path}:1",
        how="Fill in a sheet from `omnisearch judge export`; other columns are optional.",
    )
