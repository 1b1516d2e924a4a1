"""`omnisearch catalogue import`: makes a workspace of a data set, the exact inverse of an export.

Its rows were checked, and their texts normalised, when they came into the catalogue they were
exported from. They are stored as they are, because the rules for files would change them: rows that
outlive their items would be refused, merged attributes and enriched columns lost, and events
numbered anew. The catalogue is then held to what a catalogue must be (`catalogue.verify`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue import changes
from omnisearch.data.catalogue.feedback import open_feedback
from omnisearch.data.catalogue.schema import (
    ENTITIES,
    catalogue_error,
    open_catalogue,
    opened,
)
from omnisearch.data.catalogue.vectors import MADE_BYTES
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.catalogue.verify import damage_of
from omnisearch.data.dataset.layout import (
    FEEDBACK,
    FEEDBACK_TABLES,
    TABLES,
    vectors_schema,
)
from omnisearch.data.dataset.manifest import AGAIN, Manifest, read_manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.dataset.reader import Reader
from omnisearch.data.importers.vectors import VECTORS_NAME
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.arrays import new_array
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.leftovers import remove_leftovers_of
from omnisearch.data.workspace.progress import Progress

_VECTORS = "item_vectors"
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+)")


def import_catalogue(root: Path, place: Place, progress: Progress | None = None) -> Manifest:
    """Make a workspace at `root` of the data set at `place`.

    All is written beside `root`, and takes its place in one step: after an error or a kill there is
    nothing. Each file is copied here and compared with its sha256 before it is read.

    Args:
        root: an empty folder, or one that does not exist.
        progress: called with (files done, files in all).

    Raises:
        InputError: there is no data set, or one of another program or schema; `root` is not empty.
        Corrupt: the data set is damaged.
        Unavailable: the place cannot be read, or the disk is full.
    """
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise InputError(
            "The workspace is not empty.",
            where=str(root),
            how="Name a new one with --workspace: a data set becomes a workspace of its own.",
        )
    with using(place):
        manifest = read_manifest(place)
    remove_leftovers_of(root)
    with new_folder(root, replace=root.exists()) as folder:
        workspace = Workspace(folder)
        reader = Reader(place, manifest, folder / "fetched.parquet", progress)
        try:
            _load(workspace, reader)
        except sqlite3.IntegrityError as error:
            what = f"A row is there twice, or lacks a value that it must have ({error})."
            raise Corrupt(what, where=f"{place.url}/{reader.name}", how=AGAIN) from error
        except sqlite3.Error as error:
            raise catalogue_error(error, workspace.catalogue) from error
        finally:
            opened.discard(workspace.catalogue)  # it gets another name, or is removed
        if damage := damage_of(workspace.catalogue):
            raise Corrupt(f"It holds no sound catalogue. {damage}", where=place.url, how=AGAIN)
        _check_all_read(reader)
    return manifest


def _check_all_read(reader: Reader) -> None:
    manifest = reader.manifest
    unread = sorted(manifest.files.keys() - reader.read)
    differing = [name for name, rows in manifest.rows.items() if rows != reader.rows[name]]
    if not unread and not differing:
        return
    what = (
        f"{unread[0]} belongs to nothing that the data set has."
        if unread
        else f"There are {reader.rows[differing[0]]:,} rows of {differing[0]}, and "
        f"{manifest.rows[differing[0]]:,} in the manifest."
    )
    raise Corrupt(what, where=reader.place.url, how=AGAIN)


def _load(workspace: Workspace, reader: Reader) -> None:
    with closing(open_catalogue(workspace.catalogue, create=True).conn) as connection:
        db = sqlite_utils.Database(connection)
        connection.execute("PRAGMA synchronous = OFF")  # the whole folder is synced at the end
        scripts = f"{changes.TRIGGERS}{changes.LOG}"
        for name in _TRIGGER.findall(scripts):
            connection.execute(f"DROP TRIGGER {name}")
        sets = list(reader.table(_VECTORS))
        for name, entity, _, rows, dim, _, _, made, made_by in sets:
            if not VECTORS_NAME.fullmatch(name or "") or entity not in ENTITIES:
                raise reader.damaged(f"{name!r:.80} of {entity!r:.80} cannot be vectors")
            if rows is None or rows < 0 or dim is None or dim < 1:
                raise reader.damaged(f"the {name} vectors of {entity} have no size")
            _load_vectors(workspace, db, reader, (name, entity), (rows, dim), made, made_by)
        # What loading has noted itself.
        connection.execute("DELETE FROM changes")
        connection.execute("DELETE FROM log_changes")
        for name, table in TABLES.items():
            if name != _VECTORS:
                marks = ", ".join("?" * len(table.columns))
                sql = f"INSERT INTO {name} ({', '.join(table.columns)}) VALUES ({marks})"
                connection.executemany(sql, reader.table(name))
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'changes'")
        if last := reader.manifest.last_change:
            connection.execute("INSERT INTO sqlite_sequence VALUES ('changes', ?)", [last])
        connection.commit()
        connection.executescript("".join(_triggers(scripts)))
    _load_feedback(workspace, reader)


def _triggers(scripts: str) -> Iterator[str]:
    """The statements that make triggers; those that make tables are left out."""
    return (f"{line}\n" for line in scripts.splitlines() if _TRIGGER.match(line))


def _load_vectors(
    workspace: Workspace,
    db: sqlite_utils.Database,
    reader: Reader,
    kind: tuple[str, str],
    shape: tuple[int, int],
    made: str | None,
    made_by: str | None,
) -> None:
    name, entity = kind
    rows, dim = shape
    path = reader.copy.with_suffix(".npy")
    try:
        vectors = new_array(path, np.float32, (rows, dim))
        ids: list[str | None] = [None] * rows
        hashes = None if made is None else np.zeros((rows, MADE_BYTES), np.uint8)
    except (MemoryError, OverflowError, ValueError) as error:
        what = f"{rows:,} {name} vectors of {dim:,} numbers are more than can be held"
        raise reader.damaged(what) from error
    for batch in reader.vectors(name, entity, vectors_schema(dim, made is not None)):
        where = batch["row"].to_numpy()
        if len(where) and not 0 <= where.min() <= where.max() < rows:
            raise reader.damaged(f"a row of the {name} vectors is outside of their {rows:,}")
        vectors[where] = batch["vector"].flatten().to_numpy().reshape(-1, dim)
        for at, key in zip(where.tolist(), batch["id"].to_pylist(), strict=True):
            ids[at] = key
        if hashes is not None:
            given = b"".join(batch["made"].to_pylist())
            hashes[where] = np.frombuffer(given, np.uint8).reshape(-1, MADE_BYTES)
    known = [key for key in ids if key is not None]
    if len(set(known)) != rows:
        raise reader.damaged(f"not every row of the {name} vectors of {entity} is there once")
    write_vectors(
        workspace, db, name, entity, known, vectors, replace=True, made=hashes, made_by=made_by
    )
    del vectors
    path.unlink()


def _load_feedback(workspace: Workspace, reader: Reader) -> None:
    if not FEEDBACK.keys() <= reader.manifest.rows.keys():
        return
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        log.execute("BEGIN")
        for name, table in FEEDBACK_TABLES.items():
            marks = ", ".join("?" * len(table.columns))
            sql = f"INSERT INTO {FEEDBACK[name]} ({', '.join(table.columns)}) VALUES ({marks})"
            log.executemany(sql, reader.table(name))
        log.execute("COMMIT")
