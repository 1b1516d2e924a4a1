"""The transaction of one imported file, and its record in the catalogue."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlite_utils

from omnisearch.data.catalogue.schema import catalogue_error, open_catalogue, opened
from omnisearch.data.importers.rejects import Rejects
from omnisearch.data.importers.source import Source
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import cause_of
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError, OmniError, Unavailable
from omnisearch.data.workspace.files import legible, sha256_file
from omnisearch.data.workspace.paths import remove_leftovers

_CACHE_KIB = 64 * 1024


@dataclass(frozen=True)
class Report:
    """The result of importing a file: `rows` = `taken` + `refused`.

    Attributes:
        changed: rows that added or changed something; 0 when a file is imported again.
        rejects: the file that lists the refused rows and fields, or None.
        reasons: how many rows or fields were refused for each reason.
        ignored: columns of the file that its kind does not have.
        left_out: values that were refused, and without which their rows were taken.
        attributes: names of the attributes that items were given.
        notes: what was decided and left out while the file was read, in sentences.
        same_as: when a file of the same content was last imported as the same kind, in seconds
            since 1970, or None.
        left_out_reasons: how many values were refused for each reason; `reasons` has them, too.
    """

    file: str
    kind: str
    rows: int
    taken: int
    changed: int
    refused: int
    rejects: Path | None
    reasons: dict[str, int]
    ignored: tuple[str, ...] = ()
    left_out: int = 0
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    same_as: int | None = None
    left_out_reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class Counts:
    """What `record` stores about a file; see Report."""

    kind: str
    format: str
    rows: int = 0
    taken: int = 0
    changed: int = 0
    ignored: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@contextmanager
def importing(workspace: Workspace, path: Path) -> Iterator[tuple[sqlite_utils.Database, Rejects]]:
    """The catalogue inside one write transaction, and the collector of refused rows.

    Commits at the end. An error or a kill leaves the catalogue unchanged; an error removes a
    catalogue and folders that were made here.

    Raises:
        InputError: the catalogue could not note the file's name, which is not UTF-8.
        Unavailable: another import made the catalogue, failed and has just removed it.
    """
    name = legible(path)
    if name != str(path):
        raise InputError("The file's name is not UTF-8.", where=name, how="Rename it.")
    made = not workspace.catalogue.exists()
    missing = _missing(workspace)
    workspace.root.mkdir(parents=True, exist_ok=True)
    db = open_catalogue(workspace.catalogue, create=True)
    rejects = Rejects(workspace, str(path))
    try:
        db.conn.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        db.conn.execute("BEGIN IMMEDIATE")
        if not workspace.catalogue.exists():
            raise _removed(workspace)
        remove_leftovers(workspace)
        yield db, rejects
        db.conn.commit()
    except BaseException as error:
        db.conn.rollback()
        rejects.discard()
        if made:
            _remove_made(db, workspace, missing)
        known: OmniError | None = None
        if isinstance(error, sqlite3.Error):
            known = catalogue_error(error, workspace.catalogue)
        elif isinstance(error, OSError):
            known = cause_of(error)
        if known is None:
            raise
        what = f"{known.what} Nothing was imported from {path}."
        raise type(known)(what, where=known.where, how=known.how) from error
    finally:
        db.conn.close()


@contextmanager
def noting(workspace: Workspace) -> Iterator[None]:
    """For imports that note something in the catalogue first: an error removes a catalogue and
    folders that were made inside, unless a file was imported."""
    made, missing = not workspace.catalogue.exists(), _missing(workspace)
    try:
        yield
    except BaseException:
        if made and workspace.catalogue.exists():
            with suppress(OmniError, sqlite3.Error, OSError):
                _remove_made(open_catalogue(workspace.catalogue), workspace, missing)
        raise


def _missing(workspace: Workspace) -> list[Path]:
    """The folders that an import would make, the innermost first."""
    folders = [workspace.rejects, workspace.root, *workspace.root.parents]
    return [folder for folder in folders if not folder.exists()]


def _remove_made(db: sqlite_utils.Database, workspace: Workspace, folders: list[Path]) -> None:
    """Remove a new catalogue that has no import, and those of the folders that are empty.

    It stays if another process has it open: only the last one can leave the WAL mode. A process
    that opens it afterwards waits for the lock, and then sees that the file is gone.
    """
    with suppress(sqlite3.Error, OSError):
        db.conn.execute("PRAGMA busy_timeout = 0")
        db.conn.execute("PRAGMA locking_mode = EXCLUSIVE")
        [mode] = db.conn.execute("PRAGMA journal_mode = DELETE").fetchone()
        db.conn.execute("BEGIN EXCLUSIVE")
        if mode != "delete" or db.conn.execute("SELECT 1 FROM imports").fetchone():
            return
        workspace.catalogue.unlink()
        opened.discard(workspace.catalogue)
        db.conn.close()  # removes the journal
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()


def _removed(workspace: Workspace) -> Unavailable:
    return Unavailable(
        "Another import made this catalogue, failed and removed it.",
        where=str(workspace.catalogue),
        how="Import again.",
    )


def start_anew(db: sqlite_utils.Database) -> None:
    """Roll back the transaction and begin a new one."""
    db.conn.rollback()
    db.conn.execute("BEGIN IMMEDIATE")


def record(db: sqlite_utils.Database, path: Path, counts: Counts, rejects: Rejects) -> Report:
    """Add the file to the `imports` table, in the transaction that imports it."""
    number = db.conn.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM imports").fetchone()[0]
    final = rejects.finish(number)
    digest = sha256_file(path)
    [same_as] = db.conn.execute(
        "SELECT MAX(time) FROM imports WHERE sha256 = ? AND kind = ? AND taken > 0",
        [digest, counts.kind],
    ).fetchone()
    db.conn.execute(
        "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(number, str(path.absolute()), digest, counts.kind, counts.format),
            int(time.time()),
            *(counts.rows, counts.taken, counts.changed, rejects.refused, final and final.name),
        ],
    )
    return Report(
        str(path),
        counts.kind,
        counts.rows,
        counts.taken,
        counts.changed,
        rejects.refused,
        final,
        dict((rejects.reasons + rejects.left_out_reasons).most_common()),
        tuple(sorted(counts.ignored)),
        rejects.left_out,
        tuple(sorted(counts.attributes)),
        tuple(counts.notes),
        same_as,
        dict(rejects.left_out_reasons.most_common()),
    )


def without_rows(path: Path, kind: str, source: Source) -> Report:
    """The report of a file without rows, of which nothing is recorded."""
    notes, ignored = tuple(source.notes), tuple(sorted(source.ignored))
    return Report(str(path), kind, 0, 0, 0, 0, None, {}, ignored, notes=notes)


def check_strict(report: Report) -> Report:
    """The report; raises InputError if a row or a field was refused (nothing of it was taken)."""
    if not (report.refused or report.left_out):
        return report
    commonest = "; ".join(f"{n} × {reason}" for reason, n in list(report.reasons.items())[:3])
    rows = f"{report.refused:,} of {counted(report.rows, 'row')}" if report.refused else ""
    values = counted(report.left_out, "value") if report.left_out else ""
    were = "was" if report.refused + report.left_out == 1 else "were"
    raise InputError(
        f"{' and '.join(filter(None, (rows, values)))} {were} refused ({commonest}); "
        "nothing of this file was imported.",
        where=report.file,
        how=f"Fix the rows listed in {report.rejects}, or import without --strict.",
    )
