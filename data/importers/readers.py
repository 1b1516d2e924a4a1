"""Streaming readers: yield the rows of a file one by one, in bounded memory.

A fault of one row becomes an error of that row. A fault of the whole file (a truncated Parquet or
gzip file, no header) is an InputError. All text is read as UTF-8 (`text_files`). What is not valid
in it reaches the row validators as lone surrogates, and they refuse it by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from omnisearch.data.importers.csv_rows import RECORD_LINES, csv_rows
from omnisearch.data.importers.delimiters import (
    NAMES,
    checked_delimiter,
    found_delimiter,
)
from omnisearch.data.importers.json_rows import array_rows, is_array, is_lines, line_rows
from omnisearch.data.importers.parquet_rows import open_parquet
from omnisearch.data.importers.source import MAX_LINE, Line, Source
from omnisearch.data.importers.text_files import damage_told, encoding_of, open_text, read_sample
from omnisearch.data.workspace.errors import InputError

FORMATS = ("jsonl", "json", "csv", "tsv", "txt", "parquet")
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "txt",
    ".parquet": "parquet",
}
_UNFINISHED = (".tmp", ".part")
_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")


def format_of(path: Path) -> str | None:
    """The format by a file's name, or None; `.gz` may follow the suffix."""
    name = path.name.lower().removesuffix(".gz")
    return _SUFFIXES.get(Path(name).suffix)


def passed_over(path: Path) -> bool:
    """Whether nobody means this file of a folder: a hidden one, such as .DS_Store, one that is
    still being written, or the lock file of an open office document, such as ~$products.xlsx."""
    return path.name.startswith((".", "~$")) or path.name.lower().endswith(_UNFINISHED)


def refuse_spreadsheet(path: Path) -> None:
    """Raise InputError for a file whose name is that of a spreadsheet."""
    if path.suffix.lower() in _SPREADSHEETS:
        raise InputError(
            "Excel and LibreOffice files are not read.",
            where=str(path),
            how="Save the sheet as CSV, and import that file.",
        )


def open_source(
    path: Path,
    format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Source:
    """Open a file for streaming; `format` is one of FORMATS, by default from the name.

    The encoding, and the delimiter of a table, are found in the file if they are not given. `.txt`
    is a table, or JSON if it begins like it; `.json` is an array of objects, or one object a line.

    Raises:
        InputError: the file does not exist, is empty, has an unknown format or is damaged. Damage
            further on in the file is raised while `rows` is read.
    """
    if not path.is_file():
        folder = ": this is a folder" if path.is_dir() else ""
        raise InputError(f"There is no such file{folder}.", where=str(path))
    chosen = format or format_of(path)
    if chosen not in FORMATS:
        raise InputError(
            f"Unknown file format {format or path.suffix or path.name!r}.",
            where=str(path),
            how=f"Use one of {', '.join(FORMATS)} (.gz may follow, except for Parquet).",
        )
    try:
        size = path.stat().st_size
        if size == 0:
            raise InputError("The file is empty.", where=str(path), how="Write it again.")
        if chosen == "parquet":
            return open_parquet(path)
        return _open_text(path, chosen, size, delimiter, encoding)
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"The file cannot be read ({why}).", where=str(path)) from error


def _open_text(
    path: Path, format: str, size: int, delimiter: str | None, encoding: str | None
) -> Source:
    _check_text(path)
    read_as = encoding_of(path, encoding)
    sample = read_sample(path, read_as.name)
    _check_no_xml(path, sample)
    notes = read_as.notes() if encoding is None else []
    raw, file = open_text(path, read_as.name)
    if format in ("jsonl", "json", "txt") and is_array(sample):
        rows, columns = array_rows(path, _chunks(path, raw, file)), None
    elif format == "jsonl" or (format in ("json", "txt") and is_lines(sample)):
        rows, columns = line_rows(_lines(path, raw, file)), None
    elif format == "json":
        raise InputError(
            "The file is not an array of objects, nor one object a line.",
            where=str(path),
            how="Write [{...}, {...}], or one {...} a line.",
        )
    else:
        usual = "," if format == "csv" else "\t"
        sign, said = checked_delimiter(delimiter) if delimiter else usual, False
        if delimiter is None:
            sign, said = found_delimiter(sample, usual)
            if sign != usual:
                notes.append(f"The columns are separated by a {NAMES.get(sign, repr(sign))}.")
        lines = _lines(path, raw, file)
        if said:
            next(lines)
        rows, columns = csv_rows(path, lines, sign)
    return Source(
        format, rows, columns, size, lambda: size if raw.closed else raw.tell(), notes=notes
    )


def _chunks(path: Path, raw: BinaryIO, file: BinaryIO) -> Callable[[int], bytes]:
    """A reader of so many bytes, which closes the file at its end."""

    def read(size: int) -> bytes:
        with damage_told(path):
            chunk = file.read(size)
        if not chunk:
            file.close()
            raw.close()
        return chunk

    return read


def _check_text(path: Path) -> None:
    """Refuse a file that is known for none of text by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise InputError(
            "This is a ZIP archive, or a spreadsheet whose name does not say so.",
            where=str(path),
            how="Unpack it, or save the sheet as CSV, and import that file.",
        )
    if magic == b"PAR1":
        raise InputError(
            "This is a Parquet file, but its name does not say so.",
            where=str(path),
            how="Rename it to end in .parquet.",
        )


def _check_no_xml(path: Path, sample: bytes) -> None:
    if sample.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise InputError(
            "This is XML or HTML.",
            where=str(path),
            how="A product feed in XML is read with --format google-merchant.",
        )


def _lines(path: Path, raw: BinaryIO, file: BinaryIO) -> Iterator[Line]:
    number, blank = 0, 0
    with raw, file, damage_told(path):
        while line := file.readline(MAX_LINE):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
                yield number, None
                continue
            yield number, line
            blank = blank + 1 if line in _BLANK else 0
            if blank > RECORD_LINES:  # no record has so many
                number += _skip_blank(file)


_BLANK = (b"\n", b"\r\n")


def _skip_blank(file: BinaryIO) -> int:
    """Skip the blank lines ahead, a buffer at a time; returns how many."""
    skipped = 0
    while ahead := file.peek():  # type: ignore[attr-defined]
        blank = ahead[: len(ahead) - len(ahead.lstrip(b"\r\n"))]
        blank = blank[: blank.rfind(b"\n") + 1]
        skipped += blank.count(b"\n")
        file.read(len(blank))
        if len(blank) < len(ahead):
            break
    return skipped
