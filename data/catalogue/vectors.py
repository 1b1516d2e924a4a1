"""Continuous features: memory-mapped arrays with an id list beside them (§3.3).

A feature is known by a name ('pinsage', 'itemsage', 'image', or any other) and an entity type.
Its rows lie in `features/<name>-<entity>-<hash>.npy`, float32 (n, d), with the ids, one a line of
JSON, in the `.ids` file beside it; the catalogue's `features` table names the live file.
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
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import fsync_folder, sha256_file, write_atomic


@dataclass(frozen=True)
class Feature:
    """One continuous feature of one entity type.

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
        """(m, d) float32 vectors, zeros where an id has none, and (m,) bool: which ids have one."""
        where = np.array([self.index.get(key, -1) for key in ids], dtype=np.int64)
        present = where >= 0
        found = np.zeros((len(where), self.dim), dtype=np.float32)
        found[present] = self.vectors[where[present]]
        return found, present


def check_vectors(vectors: np.ndarray, where: str) -> np.ndarray:
    """Vectors as float32 (n, d); raises InputError for wrong shape, type, NaN or infinity."""
    if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype.kind not in "fiub":
        raise InputError(
            f"Vectors must be a numeric array of shape (n, d), not {vectors.dtype} "
            f"{vectors.shape}.",
            where=where,
            how="Save one row for each id.",
        )
    vectors = np.asarray(vectors, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise InputError(
            f"{bad.size} vectors hold NaN or infinity, the first in row {bad[0]}.",
            where=where,
            how="Drop these rows or mend them, then import again.",
        )
    return vectors


def write_feature(
    workspace: Workspace,
    db: sqlite_utils.Database,
    name: str,
    entity: str,
    ids: Sequence[str],
    vectors: np.ndarray,
    *,
    replace: bool = False,
) -> Feature:
    """Add or replace rows of a feature: rows of known ids are replaced, the others appended.

    `vectors` is (n, d) float32, one row an id. With `replace` nothing of the old feature is kept
    (vectors of another fit lie in another space). The old file stays until the catalogue names the
    new one, so a crash leaves the old feature whole.

    Raises:
        InputError: shapes do not agree, values are not finite, or the dimension differs from the
            rows already there.
    """
    where = f"{name} of {entity}"
    vectors = check_vectors(vectors, where)
    if len(ids) != len(vectors):
        raise InputError(f"There are {len(ids)} ids and {len(vectors)} vectors.", where=where)
    old = None if replace else open_feature(workspace, db, name, entity)
    row_of = {} if old is None else dict(old.index)
    if old is not None and old.dim != vectors.shape[1]:
        raise InputError(
            f"The vectors have {vectors.shape[1]} dimensions, those already there {old.dim}.",
            where=where,
            how="Import vectors of the same model, or use another feature name.",
        )
    targets = np.array([row_of.setdefault(key, len(row_of)) for key in ids], dtype=np.int64)
    workspace.features.mkdir(exist_ok=True)
    partial = workspace.features / f".{name}-{entity}.partial.npy"
    merged = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.float32, shape=(len(row_of), vectors.shape[1])
    )
    if old is not None:
        merged[: len(old.ids)] = old.vectors
    merged[targets] = vectors
    merged.flush()
    del merged
    digest = sha256_file(partial)
    stem = f"{name}-{entity}-{digest[:16]}"
    write_atomic(
        workspace.features / f"{stem}.ids", b"".join(orjson.dumps(key) + b"\n" for key in row_of)
    )
    partial.rename(workspace.features / f"{stem}.npy")
    fsync_folder(workspace.features)
    with db.conn:
        db.conn.execute(
            "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?, ?)",
            [name, entity, f"{stem}.npy", len(row_of), vectors.shape[1], digest],
        )
    for path in workspace.features.glob(f"{name}-{entity}-*"):
        if path.stem != stem:
            path.unlink()
    feature = open_feature(workspace, db, name, entity)
    assert feature is not None
    return feature


def open_feature(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> Feature | None:
    """The feature, or None where it was never imported; raises Corrupt for a damaged file."""
    row = db.conn.execute(
        "SELECT file, rows, dim FROM features WHERE name = ? AND entity = ?", [name, entity]
    ).fetchone()
    if row is None:
        return None
    path = workspace.features / Path(row[0]).name
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        ids = [orjson.loads(line) for line in path.with_suffix(".ids").read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise Corrupt(
            f"The feature {name} of {entity} cannot be read ({error}).",
            where=str(path),
            how="Import it again.",
        ) from error
    if vectors.shape != (row[1], row[2]) or len(ids) != row[1] or vectors.dtype != np.float32:
        raise Corrupt(
            "The feature's file does not hold what the catalogue says.",
            where=str(path),
            how="Import it again.",
        )
    return Feature(name, entity, ids, vectors)


def open_features(
    workspace: Workspace, db: sqlite_utils.Database, entity: str
) -> dict[str, Feature]:
    """All features of an entity type by name."""
    names = db.conn.execute(
        "SELECT name FROM features WHERE entity = ? ORDER BY name", [entity]
    ).fetchall()
    found = {name: open_feature(workspace, db, name, entity) for (name,) in names}
    return {name: feature for name, feature in found.items() if feature is not None}
