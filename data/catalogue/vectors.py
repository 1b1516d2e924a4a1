"""Vectors of items: memory-mapped arrays with an id list beside them (§3.3).

They have a name ('pinsage', 'itemsage', 'image', 'text' or any other) and an entity type. The rows
are stored in `item_vectors/<name>-<entity>-<hash>.npy`, float32 (n, d), and their ids, one JSON
string per line, in the `.ids` file of the same name. The catalogue's table `item_vectors` names the
live file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.arrays import new_array
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import fsync_folder, sha256_file, write_atomic
from omnisearch.data.workspace.leftovers import temporary


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of one name for one entity type.

    Attributes:
        ids: the item ids, in row order.
        vectors: float32 (n, d), memory-mapped.
    """

    name: str
    entity: str
    ids: list[str]
    vectors: np.ndarray

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    @cached_property
    def index(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.ids)}

    def rows(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of `ids`, float32 (m, d), and bool (m,): which have one; the others are zeros."""
        where = np.array([self.index.get(key, -1) for key in ids], dtype=np.int64)
        present = where >= 0
        found = np.zeros((len(where), self.dim), dtype=np.float32)
        found[present] = self.vectors[where[present]]
        return found, present


def check_vectors(vectors: np.ndarray, where: str) -> np.ndarray:
    """Vectors as float32 (n, d); raises InputError for another shape or type, NaN or infinity."""
    if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype.kind not in "fiub":
        raise InputError(
            f"Vectors must be a numeric array of shape (n, d), not {vectors.dtype} "
            f"{vectors.shape}.",
            where=where,
            how="Save one row per id.",
        )
    vectors = np.asarray(vectors, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise InputError(
            f"{bad.size} vectors hold NaN or infinity, the first in row {bad[0]}.",
            where=where,
            how="Remove or correct these rows, then import again.",
        )
    return vectors


def write_vectors(
    workspace: Workspace,
    db: sqlite_utils.Database,
    name: str,
    entity: str,
    ids: Sequence[str],
    vectors: np.ndarray,
    *,
    replace: bool = False,
) -> ItemVectors:
    """Store vectors (n, d), one row per id; existing rows of these ids are replaced.

    With `replace` all old rows are dropped, because vectors of another model are in another space.
    The old file stays until the catalogue names the new one, so a crash leaves the old vectors
    intact.

    Raises:
        InputError: shapes do not agree, values are not finite, or the dimension is not that of the
            existing rows.
    """
    where = f"{name} of {entity}"
    vectors = check_vectors(vectors, where)
    if len(ids) != len(vectors):
        raise InputError(f"There are {len(ids)} ids and {len(vectors)} vectors.", where=where)
    old = None if replace else open_vectors(workspace, db, name, entity)
    row_of = {} if old is None else dict(old.index)
    if old is not None and old.dim != vectors.shape[1]:
        raise InputError(
            f"The vectors have {vectors.shape[1]} dimensions, the existing ones {old.dim}.",
            where=where,
            how="Import vectors of the same model, or use another name.",
        )
    targets = np.array([row_of.setdefault(key, len(row_of)) for key in ids], dtype=np.int64)
    with temporary(workspace.item_vectors / f"{name}-{entity}.npy") as partial:
        merged = new_array(partial, np.float32, (len(row_of), vectors.shape[1]))
        if old is not None:
            merged[: len(old.ids)] = old.vectors
        merged[targets] = vectors
        merged.flush()
        del merged
        digest = sha256_file(partial)
        stem = f"{name}-{entity}-{digest[:16]}"
        write_atomic(
            workspace.item_vectors / f"{stem}.ids",
            b"".join(orjson.dumps(key) + b"\n" for key in row_of),
        )
        partial.rename(workspace.item_vectors / f"{stem}.npy")
    fsync_folder(workspace.item_vectors)
    with db.conn:
        db.conn.execute(
            "INSERT OR REPLACE INTO item_vectors VALUES (?, ?, ?, ?, ?, ?)",
            [name, entity, f"{stem}.npy", len(row_of), vectors.shape[1], digest],
        )
    for path in workspace.item_vectors.glob(f"{name}-{entity}-*"):
        if path.stem != stem:
            path.unlink()
    written = open_vectors(workspace, db, name, entity)
    assert written is not None
    return written


def open_vectors(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> ItemVectors | None:
    """The vectors, or None if the catalogue has none; raises Corrupt for a damaged file."""
    row = db.conn.execute(
        "SELECT file, rows, dim FROM item_vectors WHERE name = ? AND entity = ?", [name, entity]
    ).fetchone()
    if row is None:
        return None
    path = workspace.item_vectors / Path(row[0]).name
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        ids = [orjson.loads(line) for line in path.with_suffix(".ids").read_bytes().splitlines()]
    except (OSError, ValueError, EOFError) as error:
        raise Corrupt(
            f"The {name} vectors of {entity} items cannot be read ({error}).",
            where=str(path),
            how="Import them again.",
        ) from error
    if vectors.shape != (row[1], row[2]) or len(ids) != row[1] or vectors.dtype != np.float32:
        raise Corrupt(
            "The file's rows and dimensions are not those in the catalogue.",
            where=str(path),
            how="Import them again.",
        )
    return ItemVectors(name, entity, ids, vectors)


def open_all_vectors(
    workspace: Workspace, db: sqlite_utils.Database, entity: str
) -> dict[str, ItemVectors]:
    """All vectors of an entity type, by name."""
    names = db.conn.execute(
        "SELECT name FROM item_vectors WHERE entity = ? ORDER BY name", [entity]
    ).fetchall()
    found = {name: open_vectors(workspace, db, name, entity) for (name,) in names}
    return {name: vectors for name, vectors in found.items() if vectors is not None}
