"""Rows divided into buckets on this machine's disk, and rows in order there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnisearch.data.dataset.layout import bucket_of

_BYTES = 2**25  # of rows in memory before a chunk is written
_ORDERED = 512  # rows in memory of each file of rows in order: all are read at once


class Spill:
    """Rows that are added in any order and read bucket by bucket.

    A chunk of them is a file with a batch for each bucket, so that a bucket is read without the
    others and few files are open.

    Args:
        folder: a new one. key: the column with the id of which the bucket is made.
    """

    def __init__(self, folder: Path, schema: pa.Schema, key: str, buckets: int) -> None:
        folder.mkdir()
        self._folder, self._schema, self._key, self._buckets = folder, schema, key, buckets
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._chunks: list[Path] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows; of their columns those of the schema are kept."""
        rows = rows.select(self._schema.names)
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= _BYTES:
            self._write()

    def bucket(self, number: int) -> pa.Table:
        """The rows of a bucket."""
        self._write()
        found = []
        for path in self._chunks:
            with pa.memory_map(str(path)) as file:
                found.append(pa.ipc.open_file(file).get_batch(number))
        return pa.Table.from_batches(found, self._schema)

    def _write(self) -> None:
        rows = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        self._waiting, self._bytes = [], 0
        if len(rows) == 0:
            return
        keys = pc.fill_null(rows.column(self._key).chunk(0), "").dictionary_encode()
        numbers = [bucket_of(key, self._buckets) for key in keys.dictionary.to_pylist()]
        of_row = np.array(numbers)[keys.indices.to_numpy()]
        order = np.argsort(of_row, kind="stable")
        starts = np.searchsorted(of_row[order], np.arange(self._buckets + 1))
        (batch,) = rows.take(order).combine_chunks().to_batches()
        path = self._folder / str(len(self._chunks))
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(str(path), self._schema, options=options) as writer:
            for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                writer.write_batch(batch.slice(start, end - start))
        self._chunks.append(path)


def write_ordered(path: Path, rows: pa.Table) -> None:
    """Write rows ordered by all their columns."""
    rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
    with pa.ipc.new_file(str(path), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=_ORDERED)


def read_ordered(path: Path) -> Iterator[tuple]:
    """Those rows; between batches the file is closed, so that any number can be read at once."""
    number, count = 0, 1
    while number < count:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            count = reader.num_record_batches
            rows = rows_of(reader.get_batch(number)) if count else []
        yield from rows
        number += 1


def rows_of(batch: pa.RecordBatch) -> list[tuple]:
    """The rows of a batch as Python values."""
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
