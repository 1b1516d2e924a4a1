"""Writing vectors of items: merged with those that are there, and published together.

The catalogue's write lock is also the lock of the folder: files without a row in its table
`item_vectors` are leftovers unless another process holds it.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.changes import note_changes
from omnisearch.data.catalogue.schema import table_of
from omnisearch.data.catalogue.vector_files import digest_of
from omnisearch.data.catalogue.vectors import MADE_BYTES, ItemVectors, check_vectors, open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.arrays import new_array
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.files import fsync_folder, write_atomic
from omnisearch.data.workspace.leftovers import temporary

_ROWS = 65_536  # copied at a time
_TRIES = 3  # to merge while others write; then they wait
_OURS = re.compile(r"[a-z][a-z0-9_]*-(pin|product|query)-[0-9a-f]{16}\.(npy|ids|made)")


def write_vectors(
    workspace: Workspace,
    db: sqlite_utils.Database,
    name: str,
    entity: str,
    ids: Sequence[str],
    vectors: np.ndarray,
    *,
    replace: bool = False,
    drop: Collection[str] = (),
    made: np.ndarray | None = None,
    made_by: str | None = None,
) -> ItemVectors:
    """Store vectors (n, d), one row per id; existing rows of these ids are replaced.

    With `replace` all old rows are dropped, because vectors of another model are in another space.
    The old files stay until the catalogue names the new ones, so a crash leaves the old vectors
    intact; what earlier crashes left is removed. An open transaction is committed.

    Args:
        drop: ids whose old rows are left out.
        made: uint8 (n, 16), the hash of what each row was made of; None for imported rows.
        made_by: the identity of the model that made them.

    Raises:
        InputError: shapes do not agree, values are not usable, or the dimension is not that of the
            existing rows.
        NotReady: another model has replaced the rows meanwhile.
    """
    where = f"{name} of {entity}"
    vectors = check_vectors(vectors, where)
    if len(ids) != len(vectors):
        raise InputError(f"There are {len(ids)} ids and {len(vectors)} vectors.", where=where)
    origin, written, tries = (made, made_by), False, 0
    try:
        while not written:  # again if another process was faster
            tries += 1
            if tries > _TRIES and not db.conn.in_transaction:
                db.conn.execute("BEGIN IMMEDIATE")
            old = None if replace else _newest(workspace, db, name, entity)
            _check_maker(old, made_by, where)
            with _merged(workspace, (name, entity), ids, vectors, old, drop, origin) as merged:
                if not db.conn.in_transaction:
                    db.conn.execute("BEGIN IMMEDIATE")
                written = replace or _named(db, name, entity) == (old and old.file)
                if written:
                    before = _ids_of(workspace, db, name, entity) if replace else ()
                    _put(workspace, db, merged)
                    note_changes(db, entity, {*before, *_changed(ids, vectors, old, drop)})
                db.conn.commit()
    except BaseException:
        db.conn.rollback()
        raise
    _sweep(workspace, db)
    found = open_vectors(workspace, db, name, entity)
    assert found is not None
    return found


def _newest(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> ItemVectors | None:
    """The vectors, also if another process replaces them meanwhile."""
    while True:
        try:
            return open_vectors(workspace, db, name, entity)
        except NotReady:
            if db.conn.in_transaction:  # which goes on seeing the files of before
                raise


def _check_maker(old: ItemVectors | None, made_by: str | None, where: str) -> None:
    """Raise NotReady if the rows to merge with are another model's: they are in another space.

    Callers replace such rows; these have come since the caller looked.
    """
    if old is not None and made_by is not None and old.made_by not in (None, made_by):
        raise NotReady(
            "Another process has replaced the vectors by those of another model.",
            where=where,
            how="Run the command again.",
        )


@dataclass(frozen=True)
class _Merged:
    """Rows that are written but not named in the catalogue yet."""

    name: str
    entity: str
    partial: Path
    shape: tuple[int, int]
    ids: bytes
    made: bytes | None
    made_by: str | None


@contextmanager
def _merged(
    workspace: Workspace,
    kind: tuple[str, str],
    ids: Sequence[str],
    vectors: np.ndarray,
    old: ItemVectors | None,
    drop: Collection[str],
    origin: tuple[np.ndarray | None, str | None],
) -> Iterator[_Merged]:
    """Write the merged rows into a file without a name. It takes a while: call it before the
    catalogue is locked, so that others can write meanwhile."""
    name, entity = kind
    made, made_by = origin[0], origin[1] or (old.made_by if old else None)
    kept = [] if old is None else [row for row, key in enumerate(old.ids) if key not in drop]
    row_of = {} if old is None else {old.ids[row]: at for at, row in enumerate(kept)}
    if old is not None and old.dim != vectors.shape[1]:
        raise InputError(
            f"The vectors have {vectors.shape[1]} dimensions, the existing ones {old.dim}.",
            where=f"{name} of {entity}",
            how="Import vectors of the same model, or use another name.",
        )
    targets = np.array([row_of.setdefault(key, len(row_of)) for key in ids], dtype=np.int64)
    with temporary(workspace.item_vectors / f"{name}-{entity}.npy") as partial:
        merged = new_array(partial, np.float32, (len(row_of), vectors.shape[1]))
        for start in range(0, len(kept) if old else 0, _ROWS):
            part = kept[start : start + _ROWS]
            merged[start : start + len(part)] = old.vectors[part]  # type: ignore[union-attr]
        merged[targets] = vectors
        merged.flush()
        shape = merged.shape
        del merged
        listed = b"".join(orjson.dumps(key) + b"\n" for key in row_of)
        before = None if old is None else old.made
        hashes = None
        if made is not None or before is not None:
            rows = np.zeros((len(row_of), MADE_BYTES), dtype=np.uint8)
            if before is not None:
                rows[: len(kept)] = before[kept]
            rows[targets] = 0 if made is None else made
            hashes = rows.tobytes()
        digest_of(partial)  # now, and not while the catalogue is locked
        yield _Merged(name, entity, partial, shape, listed, hashes, made_by)


def _put(workspace: Workspace, db: sqlite_utils.Database, merged: _Merged) -> None:
    """Give merged rows their place and name them in the catalogue, in a transaction."""
    digest = digest_of(merged.partial)
    digests = [digest, hashlib.sha256(merged.ids).hexdigest()]
    digests.append("" if merged.made is None else hashlib.sha256(merged.made).hexdigest())
    stem = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:16]
    path = workspace.item_vectors / f"{merged.name}-{merged.entity}-{stem}.npy"
    write_atomic(path.with_suffix(".ids"), merged.ids)
    if merged.made is not None:
        write_atomic(path.with_suffix(".made"), merged.made)
    merged.partial.rename(path)
    fsync_folder(workspace.item_vectors)
    db.conn.execute(
        "INSERT OR REPLACE INTO item_vectors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(merged.name, merged.entity, path.name, *merged.shape),
            *(digest, digests[1], digests[2] or None, merged.made_by),
        ],
    )


def _named(db: sqlite_utils.Database, name: str, entity: str) -> str | None:
    """The file that the catalogue names."""
    sought = "SELECT file FROM item_vectors WHERE name = ? AND entity = ?"
    row = db.conn.execute(sought, [name, entity]).fetchone()
    return None if row is None else Path(row[0]).name


def _ids_of(
    workspace: Workspace, db: sqlite_utils.Database, name: str, entity: str
) -> Iterable[str]:
    """The items that have a vector; all items if the files are damaged."""
    try:
        found = open_vectors(workspace, db, name, entity)
    except Corrupt:
        return [key for (key,) in db.conn.execute(f"SELECT id FROM {table_of(entity)}")]
    return () if found is None else found.ids


def _changed(
    ids: Sequence[str],
    vectors: np.ndarray,
    old: ItemVectors | None,
    drop: Collection[str],
) -> set[str]:
    """The items whose vector differs from before, or is new or gone."""
    if old is None:
        return set(ids)
    before, present = old.rows(ids)
    differs = (before != vectors).any(axis=1) | ~present
    changed = {key for key, other in zip(ids, differs.tolist(), strict=True) if other}
    return changed | {key for key in drop if key in old.index}


def _sweep(workspace: Workspace, db: sqlite_utils.Database) -> None:
    """Remove the files that the catalogue does not name.

    The write lock keeps out processes that have files in place and have not committed yet. If
    another process has it, the next write sweeps.
    """
    (patience,) = db.conn.execute("PRAGMA busy_timeout").fetchone()
    with suppress(sqlite3.OperationalError):
        db.conn.execute("PRAGMA busy_timeout = 0")
        db.conn.execute("BEGIN IMMEDIATE")
        try:
            rows = db.conn.execute("SELECT file FROM item_vectors").fetchall()
            named = {Path(file).stem for (file,) in rows}
            for path in workspace.item_vectors.iterdir():
                if _OURS.fullmatch(path.name) and path.stem not in named and path.is_file():
                    path.unlink(missing_ok=True)
        finally:
            db.conn.rollback()
    db.conn.execute(f"PRAGMA busy_timeout = {patience}")
