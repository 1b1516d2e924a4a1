"""Reads files of item vectors in blocks: `.npy` with an id list, and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.data.importers.files import blocks
from omnisearch.data.importers.parquet_rows import (
    ParquetFile,
    batches,
    first_line,
    parquet_file,
    python_values,
)
from omnisearch.data.importers.text_files import damage_told, opened_text
from omnisearch.data.workspace.errors import InputError

_ROWS = 4096

# (row number of the first, ids, one vector per row, None if missing)
Block = tuple[int, list, list[np.ndarray | None]]


def npy_rows(
    path: Path, ids: Path | None, old: ItemVectors | None, bits: bool
) -> tuple[int, Iterator[Block]]:
    """How many rows an `.npy` file has, and its blocks; see `import_vectors`."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header fails in the tokenizer, the parser or mmap
        # numpy takes what it does not know for objects, and says how to load these unsafely.
        unknown = "allow_pickle" in str(error)
        why = "it is none, or one of objects" if unknown else first_line(error)
        raise InputError(
            f"The file is not a numeric .npy array ({why}).",
            where=str(path),
            how="Write it with numpy.save; object arrays are not read.",
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiub":
        shape = getattr(array, "shape", "")
        raise InputError(
            f"The array must be numeric and of shape (n, d), not {shape}.", where=str(path)
        )
    if array.shape[1] == 0 or array.shape[0] == 0:
        raise InputError("The array is empty.", where=str(path))
    if bits and array.dtype != np.uint8:
        raise _not_bits(array.dtype, path)
    dim = array.shape[1] * (8 if bits else 1)
    if old is not None and old.dim != dim:
        raise InputError(
            f"The vectors have {dim} dimensions, the existing ones {old.dim}.",
            where=str(path),
            how="Import vectors of the same model, or use another name.",
        )
    beside = [path.with_suffix(suffix) for suffix in (".ids", ".txt")]
    names = ids or next((p for p in beside if p.is_file()), None)
    if names is None or not names.is_file():
        raise InputError(
            "The id list of the vectors is missing.",
            where=str(names or path),
            how="Give --ids, a text file with one id per line.",
        )
    with opened_text(names, errors="surrogateescape") as file, damage_told(names):
        lines = sum(1 for line in file)
    if lines != len(array):
        raise InputError(
            f"There are {len(array)} vectors and {lines} ids.",
            where=f"{path} and {names}",
            how="Write one id per line, in the order of the rows.",
        )
    return len(array), _npy_blocks(array, names, bits)


def _not_bits(kind: object, path: Path) -> InputError:
    return InputError(
        f"Packed bits are bytes, not {kind}.",
        where=str(path),
        how="Write them with numpy.packbits(vectors, axis=1), or leave out --bits.",
    )


def _npy_blocks(array: np.ndarray, names: Path, bits: bool) -> Iterator[Block]:
    with opened_text(names, errors="surrogateescape") as file:
        done = 0
        for part in blocks(file, _ROWS):
            rows = array[done : done + len(part)]
            rows = np.unpackbits(rows, axis=1) if bits else rows
            yield done + 1, [line.rstrip("\r\n") for line in part], list(rows)
            done += len(part)


def parquet_rows(path: Path, bits: bool) -> tuple[int, Iterator[Block]]:
    """How many rows a Parquet file has, and its blocks; see `import_vectors`."""
    file = parquet_file(path)
    schema = file.plain.schema_arrow
    names = [name for name in ("id", "item_id") if name in schema.names]
    lists = [column.name for column in schema if _is_vector(column.type)]
    lists = lists or [c.name for c in schema if _is_bytes(c.type) and c.name not in names]
    if not names or len(lists) != 1:
        raise InputError(
            "The file must have a column id and one column of lists of numbers, or of bytes.",
            where=str(path),
            how=f"Its columns are {', '.join(schema.names)[:500]}.",
        )
    kind = schema.field(lists[0]).type
    if bits and not (_is_bytes(kind) or kind.value_type == pa.uint8()):
        raise _not_bits(kind, path)
    packed = bits or _is_bytes(kind)
    return file.plain.metadata.num_rows, _parquet_blocks(path, file, names[0], lists[0], packed)


def _is_vector(kind: pa.DataType) -> bool:
    types = pa.types
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return listed and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _parquet_blocks(
    path: Path, file: ParquetFile, name: str, vector: str, bits: bool
) -> Iterator[Block]:
    done = 0
    for batch in batches(path, file, [name, vector]):
        vectors = [_bits_of(cell) if bits else _numbers_of(cell) for cell in batch.column(vector)]
        yield done + 1, python_values(batch.column(name)), vectors
        done += batch.num_rows


def _numbers_of(cell: Any) -> np.ndarray | None:
    """A null number within a list becomes NaN, which is refused."""
    return None if cell.values is None else cell.values.to_numpy(zero_copy_only=False)


def _bits_of(cell: Any) -> np.ndarray | None:
    found = cell.as_py()
    if isinstance(found, list):
        found = None if None in found else bytes(found)
    return None if found is None else np.unpackbits(np.frombuffer(found, np.uint8))
