"""Rows of Parquet files, in memory bounded by bytes.

A value that Python cannot hold, or that no field could take for its length, becomes `Unread`, so
that the row is refused by the field that would use it, and not at all if none does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.value_checks import MAX_TEXT, Unread
from omnisearch.data.workspace.errors import InputError

BATCH = 8192  # rows
BATCH_BYTES = 16 * 1024 * 1024
MAX_BYTES = 4 * MAX_TEXT  # longer texts have more than MAX_TEXT characters
MAX_ENTRIES = 100_000  # of a list; no field takes more

_REPEATED_BYTES = 8 * BATCH_BYTES
# A buffer instead of whole column chunks: row groups may be larger than memory.
_OPTIONS: dict[str, Any] = {"buffer_size": 1 << 20, "pre_buffer": False}

Types = pa.types


def open_parquet(path: Path) -> Source:
    """Open a Parquet file for streaming; raises InputError if it is none, or damaged."""
    file = parquet_file(path)
    columns = tuple(file.plain.schema_arrow.names)
    if len(set(columns)) < len(columns):
        raise InputError("A column name is used twice.", where=str(path))
    read = [0]
    rows = _rows(path, file, columns, read)
    return Source("parquet", rows, columns, file.plain.metadata.num_rows, lambda: read[0])


@dataclass(frozen=True)
class ParquetFile:
    """An open file, as its texts are and with them kept in dictionaries."""

    plain: pq.ParquetFile
    dictionaries: pq.ParquetFile


def parquet_file(path: Path) -> ParquetFile:
    """Open a file; raises InputError if it is no Parquet file, or a damaged one."""
    try:
        plain = pq.ParquetFile(path, **_OPTIONS)
        columns = [plain.schema.column(i) for i in range(len(plain.schema))]
        texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
        return ParquetFile(plain, pq.ParquetFile(path, read_dictionary=texts, **_OPTIONS))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"The file is not Parquet, or it is truncated ({first_line(error)}).",
            where=str(path),
            how="Fetch or write it again.",
        ) from error


def batches(
    path: Path, file: ParquetFile, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The file in batches of about BATCH_BYTES, or of one row; closes it.

    Raises:
        InputError: the file is damaged further on.
    """
    done = 0
    try:
        for group in range(file.plain.metadata.num_row_groups):
            rows = _batch_rows(file.plain, group)
            chosen = file.dictionaries if _repeats_long_texts(file, group, rows) else file.plain
            for batch in chosen.iter_batches(batch_size=rows, row_groups=[group], columns=columns):
                yield batch
                done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"The file is damaged ({first_line(error)}).",
            where=f"{path}, after row {done}",
            how="Fetch or write it again; nothing of this file was imported.",
        ) from error
    finally:
        file.plain.close()
        file.dictionaries.close()


def _batch_rows(file: pq.ParquetFile, group: int) -> int:
    """BATCH rows, or fewer if those of this row group are long."""
    found = file.metadata.row_group(group)
    lists = [i for i in range(len(file.schema)) if file.schema.column(i).max_repetition_level]
    # In the file, equal numbers take no room; in memory each takes up to eight bytes.
    size = found.total_byte_size + 8 * sum(found.column(i).num_values for i in lists)
    return max(1, min(BATCH, BATCH_BYTES * found.num_rows // max(1, size)))


def _repeats_long_texts(file: ParquetFile, group: int, rows: int) -> bool:
    """Whether a batch could be many times as large as in the file: equal texts are stored once."""
    found = file.plain.metadata.row_group(group)
    if rows == 1 or rows * found.total_byte_size <= _REPEATED_BYTES:
        return False
    first = next(file.dictionaries.iter_batches(batch_size=1, row_groups=[group]), None)
    longest = max((_longest_word(column) for column in first.columns), default=0) if first else 0
    return longest * rows > _REPEATED_BYTES


def _longest_word(array: pa.Array) -> int:
    """The bytes of the longest text of the dictionaries in an array."""
    if Types.is_dictionary(array.type):
        return pc.max(pc.binary_length(array.dictionary)).as_py() or 0
    if Types.is_struct(array.type):
        return max((_longest_word(part) for part in array.flatten()), default=0)
    return _longest_word(array.values) if _is_list(array.type) else 0


def _rows(
    path: Path, file: ParquetFile, columns: tuple[str, ...], read: list[int]
) -> Iterator[Row]:
    for batch in batches(path, file):
        values = [python_values(column) for column in batch.columns]
        size = batch.nbytes // max(1, batch.num_rows)
        for line, row in enumerate(zip(*values, strict=True), read[0] + 1):
            yield Row(line, dict(zip(columns, row, strict=True)), None, "", size)
        read[0] += batch.num_rows


def python_values(array: pa.Array) -> list[Any]:
    """The values of an array; `Unread` in place of those that no field could take."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return python_values(array.storage)
    if Types.is_dictionary(kind):
        return _from_dictionary(array)
    long = _long(array)
    if long is not None:
        array = pc.if_else(long, pa.scalar(None, kind), array)
    values = _convert(kind)(array)
    if long is not None:
        for i, too_long in enumerate(long.to_pylist()):
            if too_long:
                values[i] = _too_long(kind)
    return values


def _convert(kind: pa.DataType) -> Callable[[pa.Array], list[Any]]:
    if Types.is_timestamp(kind):
        return _seconds
    if Types.is_struct(kind):
        return _structs
    if _is_list(kind):
        return _lists
    if Types.is_floating(kind):
        return _floats
    if Types.is_time(kind) or Types.is_duration(kind) or Types.is_map(kind):
        return _no_field
    return _plain


def _from_dictionary(array: pa.DictionaryArray) -> list[Any]:
    used = pc.unique(array.indices.drop_null())
    words = dict(zip(used.to_pylist(), python_values(array.dictionary.take(used)), strict=True))
    return [words.get(index) for index in array.indices.to_pylist()]


def _long(array: pa.Array) -> pa.Array | None:
    """Which values are too long for every field, None if none is."""
    if _is_text(array.type) or _is_binary(array.type):
        lengths, most = pc.binary_length(array), MAX_BYTES
    elif _is_list(array.type):
        lengths, most = pc.list_value_length(array), MAX_ENTRIES
    else:
        return None
    longest = pc.max(lengths).as_py()
    if longest is None or longest <= most:
        return None
    return pc.fill_null(pc.greater(lengths, most), False)


def _too_long(kind: pa.DataType) -> Unread:
    if _is_list(kind):
        return Unread(f"has more than {MAX_ENTRIES:,} entries", str(kind))
    return Unread(f"is longer than {MAX_TEXT:,} characters", str(kind))


def _seconds(array: pa.Array) -> list[Any]:
    seconds = pc.cast(array, pa.timestamp("s", array.type.tz), safe=False)
    return pc.cast(seconds, pa.int64()).to_pylist()


def _floats(array: pa.Array) -> list[Any]:
    """NaN is None: pandas writes a missing value so."""
    if Types.is_float16(array.type):
        array = array.cast(pa.float32())
    return [None if value != value else value for value in array.to_pylist()]


def _no_field(array: pa.Array) -> list[Any]:
    value = Unread("is neither text, a number nor a time", str(array.type))
    return [value if valid else None for valid in array.is_valid().to_pylist()]


def _structs(array: pa.StructArray) -> list[Any]:
    names = [field.name for field in array.type]
    parts = [python_values(part) for part in array.flatten()]
    rows = zip(*parts, strict=True) if parts else [()] * len(array)
    valid = array.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None
        for row, there in zip(rows, valid, strict=True)
    ]


def _lists(array: pa.Array) -> list[Any]:
    entries = python_values(array.flatten())
    lengths = pc.list_value_length(array).to_pylist()
    ends = list(accumulate(length or 0 for length in lengths))
    return [
        None if length is None else entries[end - length : end]
        for length, end in zip(lengths, ends, strict=True)
    ]


def _plain(array: pa.Array) -> list[Any]:
    try:
        return array.to_pylist()
    except UnicodeDecodeError:
        raw = array.cast(pa.large_binary()).to_pylist()
        return [v if v is None else v.decode("utf-8", "surrogateescape") for v in raw]
    except (ValueError, OverflowError, pa.ArrowException):
        return [_scalar(value) for value in array]


def _scalar(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return Unread("is out of the range of its type", str(value.type))


def _is_text(kind: pa.DataType) -> bool:
    return Types.is_string(kind) or Types.is_large_string(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return Types.is_binary(kind) or Types.is_large_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    return Types.is_list(kind) or Types.is_large_list(kind) or Types.is_fixed_size_list(kind)


def first_line(error: BaseException) -> str:
    """The first line of a library's message."""
    return io.StringIO(str(error)).readline().strip()[:200]
