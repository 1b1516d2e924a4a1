"""Streaming readers: yield the rows of a file one by one, in bounded memory.

A fault of one row becomes an error of that row. A fault of the whole file (UTF-16, a truncated
Parquet or gzip file, no header) is an InputError. Text that is not valid UTF-8 reaches the row
validators as lone surrogates, and they refuse it by field.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnisearch.data.importers.csv_rows import csv_rows
from omnisearch.data.importers.source import MAX_LINE, TOO_LONG, Line, Row, Source
from omnisearch.data.workspace.errors import InputError

BATCH = 8192  # rows
BATCH_BYTES = 64 * 1024 * 1024
FORMATS = ("jsonl", "csv", "tsv", "parquet")
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def format_of(path: Path) -> str | None:
    """The format by a file's name, or None; `.gz` may follow the suffix."""
    name = path.name.lower().removesuffix(".gz")
    return _SUFFIXES.get(Path(name).suffix)


def open_source(path: Path, format: str | None = None) -> Source:
    """Open a file for streaming; `format` is one of FORMATS, by default from the name.

    Raises:
        InputError: the file does not exist, is empty, has an unknown format or is damaged. Damage
            further on in the file is raised while `rows` is read.
    """
    chosen = format or format_of(path)
    if chosen not in FORMATS:
        raise InputError(
            f"Unknown file format {format or path.suffix or path.name!r}.",
            where=str(path),
            how=f"Use one of {', '.join(FORMATS)} (.gz may follow, except for Parquet).",
        )
    try:
        if not path.is_file():
            raise InputError("There is no such file.", where=str(path))
        size = path.stat().st_size
        if size == 0:
            raise InputError("The file is empty.", where=str(path), how="Write it again.")
        return _open_parquet(path) if chosen == "parquet" else _open_text(path, chosen, size)
    except OSError as error:
        raise InputError(f"The file cannot be read ({error}).", where=str(path)) from error


def _open_text(path: Path, format: str, size: int) -> Source:
    raw = path.open("rb")
    magic = raw.read(4)
    raw.seek(0)
    file: BinaryIO = raw
    if magic[:2] == b"\x1f\x8b":
        file = gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[assignment]
        with _damage_told(path):
            magic = file.read(4)
            file.seek(0)
    _check_encoding(path, magic)
    lines = _lines(path, raw, file)
    if format == "jsonl":
        rows, columns = _jsonl(lines), None
    else:
        rows, columns = csv_rows(path, lines, "," if format == "csv" else "\t")
    return Source(format, rows, columns, size, lambda: size if raw.closed else raw.tell())


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Turn errors of a damaged gzip file into InputError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        raise InputError(
            f"The file is damaged or truncated ({error}).",
            where=str(path),
            how="Fetch or write it again; nothing was imported.",
        ) from error


def _check_encoding(path: Path, magic: bytes) -> None:
    wide = magic[:2] in (b"\xff\xfe", b"\xfe\xff") or (
        len(magic) == 4 and (magic[0::2] == b"\0\0" or magic[1::2] == b"\0\0")
    )
    if wide:
        raise InputError(
            "The file is UTF-16 or UTF-32, not UTF-8.",
            where=str(path),
            how="Convert it first, for example with `iconv -f UTF-16 -t UTF-8`.",
        )
    if magic == b"PAR1":
        raise InputError(
            "This is a Parquet file, but its name does not say so.",
            where=str(path),
            how="Rename it to end in .parquet.",
        )


def _lines(path: Path, raw: BinaryIO, file: BinaryIO) -> Iterator[Line]:
    """(number, line) of a file; None in place of a line longer than MAX_LINE."""
    number = 0
    with raw, file, _damage_told(path):
        while line := file.readline(MAX_LINE):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) < MAX_LINE or line.endswith(b"\n"):
                yield number, line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield number, None


def _jsonl(lines: Iterator[Line]) -> Iterator[Row]:
    for number, line in lines:
        if line is None:
            yield Row(number, None, TOO_LONG)
            continue
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            try:
                values = _python_json(line)
            except (ValueError, RecursionError) as error:
                utf8 = not isinstance(error, UnicodeDecodeError)
                yield Row(number, None, "is not valid JSON" if utf8 else "is not UTF-8")
                continue
        if type(values) is dict:
            yield Row(number, values)
        else:
            yield Row(number, None, "is not a JSON object")


def _python_json(line: bytes) -> Any:
    """JSON as Python writes it: NaN means missing; lone surrogates are refused later."""
    constants = {"NaN": None, "Infinity": float("inf"), "-Infinity": float("-inf")}
    return json.loads(line.decode("utf-8"), parse_constant=constants.__getitem__)


def _open_parquet(path: Path) -> Source:
    try:
        # A buffer instead of whole column chunks: row groups may be larger than memory.
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"The file is not Parquet, or it is truncated ({_first_line(error)}).",
            where=str(path),
            how="Fetch or write it again.",
        ) from error
    read = [0]
    columns = tuple(file.schema_arrow.names)
    if len(set(columns)) < len(columns):
        raise InputError("A column name is used twice.", where=str(path))
    rows = _parquet_rows(path, file, columns, read)
    return Source("parquet", rows, columns, file.metadata.num_rows, lambda: read[0])


def _parquet_rows(
    path: Path, file: pq.ParquetFile, columns: tuple[str, ...], read: list[int]
) -> Iterator[Row]:
    try:
        for batch in file.iter_batches(batch_size=_batch_size(file.metadata)):
            values = [_python_values(column) for column in batch.columns]
            start = read[0] + 1
            for line, row in enumerate(zip(*values, strict=True), start):
                yield Row(line, dict(zip(columns, row, strict=True)))
            read[0] += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"The file is damaged ({_first_line(error)}).",
            where=f"{path}, after row {read[0]}",
            how="Fetch or write it again; nothing was imported.",
        ) from error
    finally:
        file.close()


def _batch_size(metadata: pq.FileMetaData) -> int:
    """BATCH rows, or fewer if rows are long, because a batch is held in memory."""
    groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return max(1, min(BATCH, BATCH_BYTES * metadata.num_rows // max(1, sum(groups))))


def _python_values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        seconds = pc.cast(column, pa.timestamp("s", column.type.tz), safe=False)
        return pc.cast(seconds, pa.int64()).to_pylist()
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        raw = column.cast(pa.binary()).to_pylist()
        return [v if v is None else v.decode("utf-8", "surrogateescape") for v in raw]


def _first_line(error: BaseException) -> str:
    return io.StringIO(str(error)).readline().strip()[:200]
