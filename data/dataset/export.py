"""`omnisearch catalogue export`: writes the catalogue as a data set."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.changes import latest_change
from omnisearch.data.catalogue.feedback import open_feedback
from omnisearch.data.catalogue.schema import (
    ENTITIES,
    catalogue_error,
    corrupt_catalogue,
    open_catalogue,
)
from omnisearch.data.catalogue.vectors import MADE_BYTES, ItemVectors, open_all_vectors
from omnisearch.data.catalogue.verify import damage_of
from omnisearch.data.dataset.layout import (
    FEEDBACK,
    FEEDBACK_TABLES,
    TABLES,
    Table,
    bucket_of,
    day_of,
    folder_of,
    vectors_schema,
)
from omnisearch.data.dataset.manifest import Manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.dataset.tables import ROWS, parquet_writer
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import log_errors
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.leftovers import remove_leftovers_of
from omnisearch.data.workspace.progress import Progress


def export_catalogue(
    workspace: Workspace, place: Place, buckets: int = 16, progress: Progress | None = None
) -> Manifest:
    """Write everything that the catalogue and the feedback log hold, as they are at one moment.

    In a folder of this machine all of it appears in one step. Under a URL the manifest comes last.

    Args:
        place: an empty place, or one that does not exist.
        buckets: into how many files the rows of an entity type are divided, at most 1,000.
        progress: called with (rows done, rows in all).

    Raises:
        InputError: there is something at the place, or it lies in the workspace.
        Corrupt: the catalogue or a file of vectors is damaged; such a data set could not be
            imported.
        Unavailable: the place cannot be written.
    """
    if place.folder and workspace.root.resolve() in (
        place.folder.resolve(),
        *place.folder.resolve().parents,
    ):
        how = "Name a folder elsewhere."
        raise InputError("A data set cannot lie in its workspace.", where=place.url, how=how)
    with using(place):
        if place.names() or (place.folder and place.folder.exists()):
            raise InputError(
                "There is something at this place already.",
                where=place.url,
                how="Name a new folder, or remove what an export that was stopped has left.",
            )
    if damage := damage_of(workspace.catalogue):
        raise corrupt_catalogue(f"The catalogue is damaged. {damage}", workspace.catalogue)
    with closing(open_catalogue(workspace.catalogue).conn) as connection, using(place):
        db = sqlite_utils.Database(connection)
        try:
            connection.execute("BEGIN")  # one snapshot for all tables
            vectors = [open_all_vectors(workspace, db, entity) for entity in ENTITIES]
            with _filled(place) as unfinished:
                writing = _Writing(unfinished, workspace.catalogue, buckets, progress)
                writing.total = _rows_in(workspace, connection)
                _write_catalogue(writing, connection)
                for found in vectors:
                    for each in found.values():
                        writing.vectors(each)
                _write_feedback(writing, workspace)
                manifest = writing.manifest(latest_change(db))
                manifest.write(unfinished)
        except sqlite3.Error as error:
            raise catalogue_error(error, workspace.catalogue) from error
    return manifest


@contextmanager
def _filled(place: Place) -> Iterator[Place]:
    """Where to write: beside a folder of this machine, which takes its name at the end."""
    if place.folder is None:
        yield place
        return
    remove_leftovers_of(place.folder)
    with new_folder(place.folder) as folder:
        yield replace(place, root=folder.absolute().as_posix(), folder=folder)


def _rows_in(workspace: Workspace, connection: sqlite3.Connection) -> int:
    tables = sum(
        connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES
    )
    vectors = connection.execute("SELECT COALESCE(SUM(rows), 0) FROM item_vectors").fetchone()[0]
    return int(tables + vectors)


def _write_catalogue(writing: _Writing, connection: sqlite3.Connection) -> None:
    connection.create_function(
        "bucket_of", 1, partial(bucket_of, buckets=writing.buckets), deterministic=True
    )
    for name, table in TABLES.items():
        try:
            _write_table(writing, connection, name, table)
        except (ValueError, OverflowError) as error:
            what = f"A row of {name} cannot be written ({error})."
            raise corrupt_catalogue(what, writing.catalogue) from error


def _write_table(
    writing: _Writing, connection: sqlite3.Connection, name: str, table: Table
) -> None:
    columns = ", ".join(table.columns)
    if table.entity:
        # SQLite sorts on the disk: one pass, and one file open at a time.
        rows = connection.execute(
            f"SELECT {table.entity}, bucket_of({table.id}), {columns} FROM {name} "
            f"ORDER BY 1, 2, {table.key}"
        )
        writing.table(name, table, rows, lambda row: folder_of(*row[:2]), 2)
        return
    rows = connection.execute(f"SELECT {columns} FROM {name} ORDER BY {table.key}")
    days = name == "engagements"
    at = list(table.columns).index("time") if days else 0
    writing.table(name, table, rows, (lambda row: day_of(row[at])) if days else lambda row: "")


def _write_feedback(writing: _Writing, workspace: Workspace) -> None:
    if not workspace.feedback.exists():
        return
    path = workspace.feedback
    with closing(open_feedback(path)) as log, log_errors("The feedback log", path):
        log.execute("BEGIN")
        for name, table in FEEDBACK_TABLES.items():
            columns = ", ".join(table.columns)
            rows = log.execute(f"SELECT {columns} FROM {FEEDBACK[name]} ORDER BY seq")
            writing.table(name, table, rows, lambda row: "")


@dataclass
class _Writing:
    """The files that were written so far."""

    place: Place
    catalogue: Path
    buckets: int
    progress: Progress | None
    total: int = 0
    done: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def table(
        self,
        name: str,
        table: Table,
        rows: Iterator[tuple[Any, ...]],
        folder: Callable[[tuple[Any, ...]], str],
        skipped: int = 0,
    ) -> None:
        """Write rows that are ordered by folder, without their first `skipped` columns."""
        self.rows[name] = 0
        for part, group in groupby(rows, folder):
            with self._file(f"{part}/{name}.parquet".lstrip("/"), table.schema) as write:
                while chunk := list(islice(group, ROWS)):
                    columns = list(zip(*chunk, strict=True))[skipped:]
                    arrays = [
                        pa.array(values, kind)
                        for values, kind in zip(columns, table.schema.types, strict=True)
                    ]
                    write(pa.table(arrays, table.schema))
                    self.rows[name] += len(chunk)
                    self._advance(len(chunk))

    def vectors(self, found: ItemVectors) -> None:
        """Write the vectors of one name and entity type."""
        buckets = np.array([bucket_of(key, self.buckets) for key in found.ids], dtype=np.int64)
        schema = vectors_schema(found.dim, found.made is not None)
        for bucket in np.unique(buckets).tolist():
            rows = np.flatnonzero(buckets == bucket)
            name = f"{folder_of(found.entity, bucket)}/vectors-{found.name}.parquet"
            with self._file(name, schema) as write:
                for start in range(0, len(rows), ROWS):
                    write(_vectors_table(found, rows[start : start + ROWS], schema))
            self._advance(len(rows))

    def manifest(self, last_change: int) -> Manifest:
        """What is in the data set."""
        return Manifest(self.buckets, self.rows, last_change, dict(sorted(self.files.items())))

    def _advance(self, rows: int) -> None:
        self.done += rows
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)

    @contextmanager
    def _file(self, name: str, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
        with self.place.new_file(name) as file:
            with parquet_writer(file, schema) as writer:
                yield writer.write_table
            self.files[name] = file.entry()


def _vectors_table(found: ItemVectors, rows: np.ndarray, schema: pa.Schema) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(found.vectors[rows]).ravel())
    arrays = [
        pa.array([found.ids[row] for row in rows.tolist()], pa.string()),
        pa.array(rows, pa.int64()),
        pa.FixedSizeListArray.from_arrays(flat, found.dim),
    ]
    if found.made is not None:
        made = pa.py_buffer(np.ascontiguousarray(found.made[rows]).tobytes())
        arrays.append(pa.Array.from_buffers(pa.binary(MADE_BYTES), len(rows), [None, made]))
    return pa.table(arrays, schema)
