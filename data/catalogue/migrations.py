"""Brings a catalogue of an earlier schema up to date, in place.

`open_catalogue` calls `migrate`; a new schema version is one function here and its line in
`MIGRATIONS`. All steps run in one transaction, so that a crash leaves the catalogue as it was, to
be migrated when it is next opened. Changes that a step makes outside the database must be
repeatable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from omnisearch.data.catalogue import changes
from omnisearch.data.workspace.causes import cause_of, is_damage
from omnisearch.data.workspace.errors import Unavailable
from omnisearch.data.workspace.files import fsync_folder, sha256_file


def to_2(connection: sqlite3.Connection, folder: Path) -> None:
    """Rename the `features` table and folder to `item_vectors`; features are what rankers read."""
    connection.execute("ALTER TABLE features RENAME TO item_vectors")
    old, new = folder / "features", folder / "item_vectors"
    if not old.is_dir():
        return
    try:
        old.rename(new)  # also where `new` is an empty folder
    except OSError:
        for path in list(old.iterdir()):  # file names hold a hash of the content
            path.replace(new / path.name)
        old.rmdir()
    fsync_folder(folder)


def to_3(connection: sqlite3.Connection, folder: Path) -> None:
    """Note the hashes of the id lists of item vectors, and what was made of what."""
    for column in ("ids_sha256", "made_sha256", "made_by"):
        connection.execute(f"ALTER TABLE item_vectors ADD COLUMN {column} TEXT")
    for rowid, file in connection.execute("SELECT rowid, file FROM item_vectors").fetchall():
        with suppress(OSError, ValueError, TypeError):  # a damaged set is named when it is opened
            ids = (folder / "item_vectors" / Path(file).name).with_suffix(".ids")
            connection.execute(
                "UPDATE item_vectors SET ids_sha256 = ? WHERE rowid = ?", [sha256_file(ids), rowid]
            )
    # The note that said which model made image embeddings.
    connection.execute(
        "UPDATE item_vectors SET made_by = note.value ->> 'model' FROM meta note "
        "WHERE note.key = 'image_model' AND json_valid(note.value) AND sha256 IN "
        "(SELECT value FROM json_each(note.value, '$.files'))"
    )
    connection.execute("DELETE FROM meta WHERE key = 'image_model'")
    connection.execute(
        "CREATE TABLE machine_captions (entity TEXT, item_id TEXT, image TEXT, caption TEXT, "
        "PRIMARY KEY (entity, item_id)) WITHOUT ROWID"
    )


def to_4(connection: sqlite3.Connection, folder: Path) -> None:
    """Add the codes of products."""
    for column in ("sku", "gtin", "mpn"):
        connection.execute(f"ALTER TABLE products ADD COLUMN {column} TEXT")


def to_5(connection: sqlite3.Connection, folder: Path) -> None:
    """Note changes from now on, and the first engagement of each query."""
    for sql in (changes.TABLES, changes.TRIGGERS):
        for statement in _statements(sql):
            connection.execute(statement)
    connection.execute(changes.FIRST_ENGAGED.format(which=""))


def to_6(connection: sqlite3.Connection, folder: Path) -> None:
    """Add availability and attributes."""
    for table in ("pins", "products"):
        for column in ("availability", "attributes"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")


def to_7(connection: sqlite3.Connection, folder: Path) -> None:
    """Count the changes of the log from now on."""
    for statement in _statements(changes.LOG):
        connection.execute(statement)


def to_8(connection: sqlite3.Connection, folder: Path) -> None:
    """Add further pictures of items."""
    for table in ("pins", "products"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN more_images TEXT")


def _statements(sql: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


# Version of the schema → the step to the next one, given the workspace's folder.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection, Path], None]] = {
    1: to_2,
    2: to_3,
    3: to_4,
    4: to_5,
    5: to_6,
    6: to_7,
    7: to_8,
}


def migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring the catalogue at `path`, which `connection` has open, to the schema `version`.

    A copy (`catalogue.db.before-2`) is kept beside it until the migration has succeeded. Of several
    processes that open the catalogue at once, one migrates it and the others wait.

    Raises:
        sqlite3.OperationalError: it is damaged.
        Unavailable: it cannot be written, or another process keeps it locked; it is unchanged.
    """
    copy, locked = _copy_of(path, version), False
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        locked = True
        found = schema_version(connection)  # another process may have migrated it meanwhile
        if found < version:
            _back_up(path, copy)
            for step in range(found, version):
                MIGRATIONS[step](connection, path.parent)
            connection.execute(f"PRAGMA user_version={version}")
        connection.commit()
    except (sqlite3.OperationalError, OSError) as error:
        if locked:  # otherwise the copy belongs to another process
            _remove(copy)
        with suppress(sqlite3.Error):
            connection.rollback()
        cause = None if is_damage(error) else cause_of(error, path)
        if cause is None:
            raise
        raise Unavailable(
            f"The catalogue could not be migrated; it is unchanged. {cause.what}",
            where=str(path),
            how=f"{cause.how} A migration needs room for a second copy of the file.",
        ) from error
    _remove(copy)


def remove_copies(path: Path) -> None:
    """Remove the copies that migrations left if they were killed after they succeeded."""
    for copy in path.parent.glob(f"{path.name}.before-*"):
        with suppress(OSError):
            copy.unlink()


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the schema in the file; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _copy_of(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.before-{version}")


def _back_up(path: Path, copy: Path) -> None:
    """Copy the database; SQLite's own backup also copies what is only in the write-ahead log."""
    _remove(copy)  # left by a migration that was killed
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    fsync_folder(path.parent)


def _remove(copy: Path) -> None:
    for path in copy.parent.glob(f"{copy.name}*"):  # and its journal
        with suppress(OSError):
            path.unlink()
