"""Item vectors from `.npy` with an id list, or from Parquet (§3.3)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.schema import ENTITIES
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.catalogue_writer import Known, table_of_any
from omnisearch.data.importers.files import blocks
from omnisearch.data.importers.parquet_rows import (
    ParquetFile,
    batches,
    first_line,
    parquet_file,
    python_values,
)
from omnisearch.data.importers.rejects import Rejects
from omnisearch.data.importers.transaction import Counts, Report, check_strict, importing, record
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.progress import Progress

_ROWS = 4096
VECTORS_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PREFIXES = ("vectors", "features")  # the second is the former name
_FILE = re.compile(
    rf"({'|'.join(_PREFIXES)})-({VECTORS_NAME.pattern})-({'|'.join(ENTITIES)})\.(npy|parquet)"
)

# (row number of the first, ids, one vector per row, None if missing)
Block = tuple[int, list, list[np.ndarray | None]]


def vectors_of(path: Path) -> tuple[str, str] | None:
    """(name, entity) by a conventional file name, such as vectors-pinsage-pin.npy."""
    match = _FILE.fullmatch(path.name)
    return (match[2], match[3]) if match else None


def import_vectors(
    workspace: Workspace,
    path: Path,
    name: str,
    entity: str,
    ids: Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import vectors of this name; existing rows of the same ids are replaced, others added.

    `path` is an `.npy` (n, d) array with `ids`, a text file of n lines (by default the file of
    the same name that ends in `.ids`, else `.txt`), or a Parquet file with a column `id` and one
    column of lists. Rows with NaN or infinity, of another dimension, or of an id that is not in the
    catalogue are refused by row number, counted from 1.

    Raises:
        InputError: the file as a whole is unusable, its dimension is not that of the existing
            vectors, or `strict` is set and a row was refused.
    """
    path = Path(path)
    if not VECTORS_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a valid name for vectors.",
            where=str(path),
            how="Use lower-case letters, digits and underscores, such as pinsage.",
        )
    if entity not in ENTITIES:
        raise InputError(
            f"Unknown entity {entity!r}.", where="--entity", how=f"One of {', '.join(ENTITIES)}."
        )
    if not path.is_file():
        raise InputError("There is no such file.", where=str(path))
    workspace.item_vectors.mkdir(parents=True, exist_ok=True)
    parquet = path.suffix == ".parquet"
    with (
        importing(workspace, path) as (db, rejects),
        # A file without a name, so that a kill leaves nothing behind.
        tempfile.TemporaryFile(dir=workspace.item_vectors) as kept_file,
    ):
        old = _intact(workspace, db, name, entity)
        total, source = _parquet(path) if parquet else _npy(path, ids, old)
        kept = _Kept(db, entity, old, rejects)
        for block in source:
            for row in kept.add(block):
                kept_file.write(row.tobytes())
            if progress:
                progress(kept.rows, total)
        kept_file.flush()
        counts = Counts("item_vectors", "parquet" if parquet else "npy", kept.rows)
        if not (strict and rejects.refused):
            counts.taken, counts.changed = kept.rows - rejects.refused, kept.changed
        report = record(db, path, counts, rejects)
        if counts.changed:
            vectors = np.memmap(kept_file, np.float32, "r", shape=(len(kept.ids), kept.dim))
            write_vectors(workspace, db, name, entity, kept.ids, vectors, replace=old is None)
    return check_strict(report) if strict else report


def _intact(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> ItemVectors | None:
    """The existing vectors; None if they are damaged, so that importing them again mends them."""
    try:
        return open_vectors(workspace, db, name, entity)
    except Corrupt:
        return None


class _Kept:
    """The valid rows, in order; ids are kept in memory, vectors are passed on."""

    def __init__(
        self, db: sqlite_utils.Database, entity: str, old: ItemVectors | None, rejects: Rejects
    ) -> None:
        self.ids: list[str] = []
        self.dim = old.dim if old else 0
        self.rows = 0
        self.changed = 0
        self._old = old
        self._known = Known(db.conn)
        self._table = table_of_any(entity)
        self._entity = entity
        self._rejects = rejects
        self._seen: dict[str, tuple[int, int]] = {}  # id → (row, hash of the vector)

    def add(self, block: Block) -> Iterator[np.ndarray]:
        first, raw_ids, vectors = block
        self.rows += len(raw_ids)
        ids = [self._identifier(first + i, raw) for i, raw in enumerate(raw_ids)]
        missing = self._known.missing(self._table, [key for key in ids if key is not None])
        for line, (key, vector) in enumerate(zip(ids, vectors, strict=True), first):
            if key is None:
                continue
            try:
                if key in missing:
                    reason = f"names a {self._entity} that does not exist"
                    raise Refused("id", reason, key)
                row = self._checked(vector)
                if not self._repeats(line, key, row):
                    self.ids.append(key)
                    self.changed += self._differs(key, row)
                    yield row
            except Refused as refused:
                self._rejects.add(line, refused)

    def _identifier(self, line: int, raw: object) -> str | None:
        try:
            return v.identifier(raw, "id")
        except Refused as refused:
            self._rejects.add(line, refused)
            return None

    def _checked(self, vector: np.ndarray | None) -> np.ndarray:
        if vector is None or vector.size == 0:
            raise Refused("vector", "is missing")
        with np.errstate(over="ignore"):
            row = vector.astype(np.float32)
            length = row @ row
        if not np.isfinite(row).all():
            raise Refused("vector", "contains NaN or infinity", str(row[:4].tolist()))
        if not np.isfinite(length):
            raise Refused("vector", "is too long for float32", str(row[:4].tolist()))
        if not self.dim:
            self.dim = row.size
        if row.size != self.dim:
            raise Refused("vector", f"does not have {self.dim} dimensions", row.size)
        return row

    def _repeats(self, line: int, key: str, row: np.ndarray) -> bool:
        digest = hash(row.tobytes())
        earlier = self._seen.setdefault(key, (line, digest))
        if earlier[0] == line:
            return False
        if earlier[1] != digest:
            reason = "appears earlier in this file with other values"
            raise Refused("id", reason, f"{key} (first in row {earlier[0]})")
        return True

    def _differs(self, key: str, row: np.ndarray) -> bool:
        where = None if self._old is None else self._old.index.get(key)
        return where is None or not np.array_equal(self._old.vectors[where], row)  # type: ignore[union-attr]


def _npy(path: Path, ids: Path | None, old: ItemVectors | None) -> tuple[int, Iterator[Block]]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header fails in the tokenizer, the parser or mmap
        raise InputError(
            f"The file is not a numeric .npy array ({first_line(error)}).",
            where=str(path),
            how="Write it with numpy.save; object arrays are not read.",
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        shape = getattr(array, "shape", "")
        raise InputError(
            f"The array must be numeric and of shape (n, d), not {shape}.", where=str(path)
        )
    if array.shape[1] == 0 or array.shape[0] == 0:
        raise InputError("The array is empty.", where=str(path))
    if old is not None and old.dim != array.shape[1]:
        raise InputError(
            f"The vectors have {array.shape[1]} dimensions, the existing ones {old.dim}.",
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
    with names.open("rb") as file:
        lines = sum(1 for line in file)
    if lines != len(array):
        raise InputError(
            f"There are {len(array)} vectors and {lines} ids.",
            where=f"{path} and {names}",
            how="Write one id per line, in the order of the rows.",
        )
    return len(array), _npy_blocks(array, names)


def _npy_blocks(array: np.ndarray, names: Path) -> Iterator[Block]:
    with names.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        done = 0
        for part in blocks(file, _ROWS):
            yield done + 1, [line.rstrip("\r\n") for line in part], list(array[done:][: len(part)])
            done += len(part)


def _parquet(path: Path) -> tuple[int, Iterator[Block]]:
    file = parquet_file(path)
    schema = file.plain.schema_arrow
    lists = [column.name for column in schema if _is_vector(column.type)]
    names = [name for name in ("id", "item_id") if name in schema.names]
    if not names or len(lists) != 1:
        raise InputError(
            "The file must have a column id and one column of lists of numbers.",
            where=str(path),
            how=f"Its columns are {', '.join(schema.names)[:500]}.",
        )
    return file.plain.metadata.num_rows, _parquet_blocks(path, file, names[0], lists[0])


def _is_vector(kind: pa.DataType) -> bool:
    types = pa.types
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return listed and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _parquet_blocks(path: Path, file: ParquetFile, name: str, vector: str) -> Iterator[Block]:
    done = 0
    for batch in batches(path, file, [name, vector]):
        vectors = [
            # A null number within a list becomes NaN, which is refused.
            None if cell.values is None else cell.values.to_numpy(zero_copy_only=False)
            for cell in batch.column(vector)
        ]
        yield done + 1, python_values(batch.column(name)), vectors
        done += batch.num_rows
