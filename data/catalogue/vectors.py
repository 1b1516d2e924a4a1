"""Vectors of items: memory-mapped arrays with an id list beside them (§3.3).

They have a name ('pinsage', 'itemsage', 'image', 'text' or any other) and an entity type. In
`item_vectors/` the rows of one set are `<name>-<entity>-<hash>.npy`, float32 (n, d); their ids, one
JSON string per line, are in the `.ids` file of the same name; and if the vectors were made here,
the hash of what each row was made of is in the `.made` file, 16 bytes a row, zeros for rows that
were imported. The catalogue's table `item_vectors` names the live files and has their sha256.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.vector_files import (
    check_values,
    damaged,
    digest_of,
    forget_checks,
    unusable,
)
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady, OmniError

MADE_BYTES = 16  # of the hash of what a row was made of
_SUFFIXES = (".npy", ".ids", ".made")
# (name, entity) → what was opened last, and the catalogue's row of it; None keeps nothing.
_kept: dict[tuple[str, str], tuple[tuple[object, ...], ItemVectors]] | None = None


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of one name for one entity type.

    Attributes:
        ids: the item ids, in row order.
        vectors: float32 (n, d), memory-mapped.
        made: uint8 (n, 16), the hash of what each row was made of, zeros for imported rows; None
            if all were imported.
        made_by: the identity of the model that made them; None if all were imported.
        file: the name of the array's file.
    """

    name: str
    entity: str
    ids: list[str]
    vectors: np.ndarray
    made: np.ndarray | None = None
    made_by: str | None = None
    file: str = ""

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
    """Vectors as float32 (n, d); raises InputError for another shape or type, and unusable rows."""
    if vectors.ndim != 2 or vectors.shape[1] == 0 or vectors.dtype.kind not in "fiub":
        raise InputError(
            f"Vectors must be a numeric array of shape (n, d), not {vectors.dtype} "
            f"{vectors.shape}.",
            where=where,
            how="Save one row per id.",
        )
    with np.errstate(over="ignore"):
        vectors = np.asarray(vectors, dtype=np.float32)
    bad = unusable(vectors)
    if bad.size:
        raise InputError(
            f"{bad.size} vectors hold NaN or infinity, or are too long for float32, the first in "
            f"row {bad[0]}.",
            where=where,
            how="Remove or correct these rows, then import again.",
        )
    return vectors


def keep_vectors() -> None:
    """Keep what is opened from now on: this process will open it again and again."""
    global _kept
    _kept = {}


def open_vectors(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> ItemVectors | None:
    """The vectors, or None if the catalogue has none.

    The files are compared with the catalogue's sha256, and values are checked, once per process
    and version of a file.

    Raises:
        Corrupt: a file is damaged, or a value cannot be used.
        NotReady: another process has replaced the files since `db` began to read.
    """
    row = db.conn.execute(
        "SELECT file, rows, dim, sha256, ids_sha256, made_sha256, made_by FROM item_vectors "
        "WHERE name = ? AND entity = ?",
        [name, entity],
    ).fetchone()
    if row is None:
        return None
    path = workspace.item_vectors / Path(row[0]).name
    try:
        return _opened(path, name, entity, row[1:])
    except (OSError, ValueError, EOFError, Corrupt) as error:
        _check_replaced(workspace, path, name, entity)
        if isinstance(error, Corrupt):
            raise
        vectors = f"{name} vectors of {entity} items"
        if isinstance(error, FileNotFoundError):
            what = f"A file of the {vectors} is missing."
            raise damaged(what, Path(error.filename or path), name) from error
        why = getattr(error, "strerror", None) or error  # without the system's number
        raise damaged(f"The {vectors} cannot be read ({why}).", path, name) from error


def _opened(path: Path, name: str, entity: str, row: tuple) -> ItemVectors:
    rows, dim, *digests, made_by = row
    for suffix, digest in zip(_SUFFIXES, digests, strict=True):
        file = path.with_suffix(suffix)
        if not (digest is None and suffix == ".made") and digest_of(file) != digest:
            raise damaged("The file does not match its hash in the catalogue.", file, name)
    if _kept is not None and _kept.get((name, entity), ((), None))[0] == (path, *row):
        return _kept[name, entity][1]
    vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    ids = [orjson.loads(line) for line in path.with_suffix(".ids").read_bytes().splitlines()]
    made = None
    if digests[2] is not None:
        made = np.fromfile(path.with_suffix(".made"), np.uint8).reshape(-1, MADE_BYTES)
    if (
        not isinstance(vectors, np.ndarray)
        or vectors.shape != (rows, dim)
        or vectors.dtype != np.float32
        or not len(ids) == len(set(ids)) == rows
        or not all(isinstance(key, str) for key in ids)
        or (made is not None and len(made) != rows)
    ):
        raise damaged("The file's rows and dimensions are not those in the catalogue.", path, name)
    check_values(path, vectors, name, ids)
    found = ItemVectors(name, entity, ids, vectors, made, made_by, path.name)
    if _kept is not None:
        _kept[name, entity] = (path, *row), found
    return found


def open_all_vectors(
    workspace: Workspace, db: sqlite_utils.Database, entity: str
) -> dict[str, ItemVectors]:
    """All vectors of an entity type, by name."""
    names = db.conn.execute(
        "SELECT name FROM item_vectors WHERE entity = ? ORDER BY name", [entity]
    ).fetchall()
    found = {name: open_vectors(workspace, db, name, entity) for (name,) in names}
    return {name: vectors for name, vectors in found.items() if vectors is not None}


def check_item_vectors(workspace: Workspace, db: sqlite_utils.Database) -> list[str]:
    """The problems of all item vectors, as sentences; empty if there are none.

    Every file is read again, whatever was checked before.
    """
    forget_checks()
    problems = []
    for name, entity in db.conn.execute("SELECT name, entity FROM item_vectors").fetchall():
        try:
            open_vectors(workspace, db, name, entity)
        except OmniError as error:
            problems.append(str(error))
    return problems


def _check_replaced(workspace: Workspace, path: Path, name: str, entity: str) -> None:
    """Raise NotReady if the catalogue names another file by now: `path` was removed with reason."""
    with closing(sqlite3.connect(workspace.catalogue, timeout=60)) as connection:
        row = connection.execute(
            "SELECT file FROM item_vectors WHERE name = ? AND entity = ?", [name, entity]
        ).fetchone()
    if row is not None and Path(row[0]).name != path.name:
        raise NotReady(
            f"Another process has replaced the {name} vectors of {entity} items in the meantime.",
            where=str(workspace.item_vectors),
            how="Run the command again.",
        )
