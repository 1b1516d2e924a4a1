"""Item vectors from `.npy` with an id list, or from Parquet (§3.3)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.schema import ENTITIES
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.importers import value_checks as v
from omnisearch.data.importers.catalogue_writer import Known, table_of_any
from omnisearch.data.importers.rejects import Rejects
from omnisearch.data.importers.transaction import Counts, Report, check_strict, importing, record
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.importers.vector_rows import Block, npy_rows, parquet_rows
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.progress import Progress

VECTORS_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PREFIXES = ("vectors", "features")  # the second is the former name
_FILE = re.compile(
    rf"({'|'.join(_PREFIXES)})-({VECTORS_NAME.pattern})-({'|'.join(ENTITIES)})\.(npy|parquet)"
)


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
    bits: bool = False,
) -> Report:
    """Import vectors of this name; existing rows of the same ids are replaced, others added.

    `path` is an `.npy` (n, d) array with `ids`, a text file of n lines (by default the file of
    the same name that ends in `.ids`, else `.txt`), or a Parquet file with a column `id` and one
    column of lists, or of bytes. Rows with NaN or infinity, of another dimension, or of an id that
    is not in the catalogue are refused by row number, counted from 1.

    Args:
        bits: each byte is 8 dimensions of 0 or 1, as `numpy.packbits` writes them; a Parquet
            column of bytes always is. 1,024 bits are the paper's image embedding (§3.3).

    Raises:
        InputError: the file as a whole is unusable, its dimension is not that of the existing
            vectors, or `strict` is set and a row was refused.
        NotReady: there is no catalogue, of whose items they could be.
    """
    path = Path(path)
    if not VECTORS_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a valid name for vectors.",
            where="--vectors",
            how="Use lower-case letters, digits and underscores, such as pinsage.",
        )
    if entity not in ENTITIES:
        raise InputError(
            f"Unknown entity {entity!r}.", where="--entity", how=f"One of {', '.join(ENTITIES)}."
        )
    if not path.is_file():
        raise InputError("There is no such file.", where=str(path))
    Workspace.open(workspace.root)  # vectors are of items that are there
    workspace.item_vectors.mkdir(parents=True, exist_ok=True)
    parquet = path.suffix == ".parquet"
    with (
        importing(workspace, path) as (db, rejects),
        # A file without a name, so that a kill leaves nothing behind.
        tempfile.TemporaryFile(dir=workspace.item_vectors) as kept_file,
    ):
        old = _intact(workspace, db, name, entity)
        total, source = parquet_rows(path, bits) if parquet else npy_rows(path, ids, old, bits)
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
