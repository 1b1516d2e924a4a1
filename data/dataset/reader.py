"""Reads the files of a data set one after another, in batches; each is compared with its sha256."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from omnisearch.data.dataset.layout import FEEDBACK_TABLES, TABLES, completed, table_in
from omnisearch.data.dataset.manifest import AGAIN, Manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.importers.parquet_rows import batches, parquet_file
from omnisearch.data.workspace.errors import Corrupt, OmniError
from omnisearch.data.workspace.progress import Progress


@dataclass
class Reader:
    """Reads the files of a data set, one after another, by way of a verified copy.

    Attributes:
        copy: where a copy is put; it is removed after it was read.
        name: the file that was read last. read: all that were.
        rows: table → rows that were read.
    """

    place: Place
    manifest: Manifest
    copy: Path
    progress: Progress | None
    name: str = ""
    read: set[str] = field(default_factory=set)
    rows: Counter[str] = field(default_factory=Counter)

    def table(self, table: str) -> Iterator[tuple]:
        """The rows of a table."""
        for batch in self.batches(table):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def vectors(self, name: str, entity: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The vectors of a name and entity type."""
        for file in self.manifest.files:
            if table_in(file) == f"vectors-{name}" and file.startswith(f"entity={entity}/"):
                yield from self._file(file, schema)

    def damaged(self, why: str) -> Corrupt:
        """The error for the file that was read last."""
        what = f"The file cannot be read ({why})."
        return Corrupt(what, where=f"{self.place.url}/{self.name}", how=AGAIN)

    def batches(self, table: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table, a few thousand at a time."""
        known = TABLES.get(table) or FEEDBACK_TABLES[table]
        for name in self.manifest.files:
            if table_in(name) == table:
                for batch in self._file(name, known.schema):
                    self.rows[table] += batch.num_rows
                    yield batch

    def _file(self, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        self.name = name
        with using(self.place):
            digest = self.place.fetch(name, self.copy)
        if digest != self.manifest.files[name]["sha256"]:
            what = "The file does not match its sha256 in the manifest."
            raise Corrupt(what, where=f"{self.place.url}/{name}", how=AGAIN)
        with self._reading():
            file = parquet_file(self.copy)
            if not completed(file.plain.schema_arrow.empty_table(), schema).schema.equals(schema):
                raise ValueError(f"it has the columns {file.plain.schema_arrow.names}")
            found = batches(self.copy, file)
        while True:
            with self._reading():
                batch = next(found, None)
                if batch is None:
                    break
                batch = completed(batch, schema).cast(schema)
                batch.validate(full=True)
            yield batch
        self.copy.unlink()
        self.read.add(name)
        if self.progress is not None:
            self.progress(len(self.read), len(self.manifest.files))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever the library finds wrong with its content
            why = error.what if isinstance(error, OmniError) else str(error)
            raise self.damaged(why.splitlines()[0] if why else type(error).__name__) from error
