"""What a backup copies: the files of a workspace as they are together at one moment.

Published files are never changed, so a hard link to each, made at once, keeps them while others
publish and remove. The catalogue is read after that, from one snapshot of SQLite: it may then know
more than the index, which the next update mends, but never less.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from omnisearch.data.catalogue.schema import catalogue_error
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.leftovers import temporary
from omnisearch.data.workspace.locks import publish_lock

_TRIES = 5  # while others publish and remove what is being linked
_POINTERS = ("CURRENT", "BEST", "LAST")
# Locks, temporaries, SQLite's logs, and the cache of query embeddings, which fills itself again.
_NOT_KEPT = re.compile(r"\..+\.tmp|.+\.lock|.+\.db-(wal|shm|journal)|query_cache\..+", re.DOTALL)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)
_LOCK_SECONDS = 60.0


@dataclass
class Staged:
    """The files of a workspace at one moment.

    Attributes:
        folder: links to all files but databases, under their names.
        databases: the databases, as names relative to the workspace; the catalogue is the first.
        catalogue: a connection to the catalogue in an open read transaction.
        left_out: links and special files, which a backup does not hold.
    """

    folder: Path
    catalogue: sqlite3.Connection
    databases: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@contextmanager
def staged(workspace: Workspace) -> Iterator[Staged]:
    """Link the files of a workspace, and hold a snapshot of its catalogue.

    Raises:
        Unavailable: the disk of the workspace cannot take the links.
        Corrupt: the catalogue is damaged.
    """
    with temporary(workspace.root.joinpath("backup"), folder=True) as folder:
        for tried in range(_TRIES):
            with publish_lock(workspace):
                whole, databases, left_out = _link_all(workspace.root, folder)
            with closing(_snapshot(workspace.catalogue)) as catalogue:
                whole = whole and not _dangling(folder) and not _missing(folder, catalogue)
                if whole or tried == _TRIES - 1:  # then what is missing is missing there too
                    databases.sort(key=lambda name: (name != workspace.catalogue.name, name))
                    yield Staged(folder, catalogue, databases, left_out)
                    return
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link_all(root: Path, folder: Path) -> tuple[bool, list[str], list[str]]:
    """Link every file; returns whether none vanished meanwhile, the databases, and what is left."""
    whole, databases, left_out = True, [], []
    for base, folders, names in os.walk(root):
        inside = Path(base).relative_to(root)
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        folders[:] = [
            name for name in folders if name not in links and not _NOT_KEPT.fullmatch(name)
        ]
        (folder / inside).mkdir(exist_ok=True)
        for name in (*names, *links):
            path = Path(base) / name
            if _NOT_KEPT.fullmatch(name):
                continue
            if path.is_symlink() or not path.is_file():
                if path.is_symlink() or path.exists():
                    left_out.append((inside / name).as_posix())
                else:
                    whole = False
            elif name.endswith(".db"):
                databases.append((inside / name).as_posix())
            else:
                whole = _link(path, folder / inside / name) and whole
    return whole, databases, left_out


def _link(path: Path, to: Path) -> bool:
    """Link or copy a file; False if it has vanished."""
    try:
        os.link(path, to)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, to)
    return True


def _snapshot(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()  # it begins here
    except sqlite3.Error as error:
        raise catalogue_error(error, path) from error
    return connection


def _dangling(folder: Path) -> list[Path]:
    """The pointers of which the target was not linked."""
    pointers = [path for name in _POINTERS for path in folder.rglob(name) if path.is_file()]
    return [path for path in pointers if not _target(folder, path).exists()]


def _target(folder: Path, pointer: Path) -> Path:
    beside = folder / "generations" if pointer.parent == folder else pointer.parent
    return beside / pointer.read_text("utf-8", errors="replace").strip()[:255].replace("\0", "")


def _missing(folder: Path, catalogue: sqlite3.Connection) -> list[str]:
    """The files of vectors that the catalogue names and that were not linked."""
    return [name for name in vector_files(catalogue) if not (folder / name).exists()]


def vector_files(catalogue: sqlite3.Connection) -> dict[str, str]:
    """The files of vectors that a catalogue names, relative to the workspace, and their sha256."""
    try:
        rows = catalogue.execute("SELECT file, sha256 FROM item_vectors").fetchall()
    except sqlite3.OperationalError:  # of an earlier version: it has none, or others
        return {}
    return {f"item_vectors/{Path(str(file)).name}": str(digest) for file, digest in rows}
