"""Single files of a data set as tables: each is compared with its sha256 before it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnisearch.data.dataset.layout import completed
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.importers.parquet_rows import first_line
from omnisearch.data.workspace.errors import Corrupt

ROWS = 16_384  # in a row group
_AGAIN = "Copy it again, or export the catalogue again."


def read_table(
    place: Place, digests: Mapping[str, str], name: str, schema: pa.Schema | None = None
) -> pa.Table:
    """A file as a table, in memory.

    Args:
        digests: file → sha256. schema: what its columns must be.

    Raises:
        Corrupt: it is missing, differs from its hash, or has other columns.
    """
    where = f"{place.url}/{name}"
    with using(place):
        content = place.read(name)
    if content is None or hashlib.sha256(content).hexdigest() != digests[name]:
        what = "does not match its sha256 in the manifest" if content is not None else "is missing"
        raise Corrupt(f"The file {what}.", where=where, how=_AGAIN)
    try:
        table = pq.read_table(pa.BufferReader(content))
        if schema is not None:
            table = completed(table, schema)
        if schema is not None and not table.schema.equals(schema):
            raise ValueError(f"it has the columns {table.schema.names}")
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"The file cannot be read ({first_line(error)})."
        raise Corrupt(what, where=where, how=_AGAIN) from error
    return table


def parquet_writer(file: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """What writes the files of a data set; give it at most ROWS rows at a time."""
    return pq.ParquetWriter(file, schema, compression="zstd")


def parquet_bytes(table: pa.Table) -> bytes:
    """The content of a file with these rows, as an export writes it."""
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, table.schema) as writer:
        for start in range(0, len(table), ROWS):
            writer.write_table(table.slice(start, ROWS))
    return bytes(sink.getvalue())
