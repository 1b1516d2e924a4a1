"""The causes of failures outside OmniSearch: what to say of a full disk, a lock, a missing right.

One table for the commands, the catalogue, the importers and the service. The system's number of an
error (errno) is the key; SQLite's codes and the messages of libraries are led back to it.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnisearch.data.workspace.errors import Corrupt, OmniError, Unavailable

_FULL = "Free some room or name another folder, then run the command again."
_RIGHTS = "Make it and its folder readable and writable for you, or name another folder."
_DISK = "Check that the disk has room and no faults; put back a copy if the file is lost."

# errno → what happened, and what to do.
_CAUSES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("The disk is full.", _FULL),
    errno.EDQUOT: ("Your quota on the disk is used up.", _FULL),
    errno.EFBIG: ("A file became larger than the file system or `ulimit -f` allows.", _FULL),
    errno.EROFS: (
        "The file system is read-only.",
        "Mount it for writing, or copy the workspace to another disk.",
    ),
    errno.EACCES: ("The permission is missing.", _RIGHTS),
    errno.EPERM: ("The system does not permit this.", _RIGHTS),
    errno.ENOENT: (
        "There is no such file or folder; it may have been moved or removed meanwhile.",
        "Put it back, then run the command again.",
    ),
    errno.EEXIST: ("It already exists.", "Remove it or choose another name."),
    errno.ENOTEMPTY: ("The folder is not empty.", "Empty it or choose another name."),
    errno.ENOTDIR: ("A file stands where a folder is needed.", "Move it away."),
    errno.EISDIR: ("A folder stands where a file is needed.", "Move it away."),
    errno.ENAMETOOLONG: ("The file name is too long.", "Use a shorter name."),
    errno.ELOOP: ("The links lead in a circle.", "Correct them."),
    errno.EXDEV: ("A folder and its files are on different disks.", "Keep them on one disk."),
    errno.EMFILE: (
        "Too many files are open.",
        "Raise the limit, for example with `ulimit -n 4096`.",
    ),
    errno.ENFILE: ("The system has too many files open.", "Close other programs."),
    errno.EIO: ("The disk cannot be read or written.", _DISK),
    errno.ENXIO: ("The device does not answer.", _DISK),
    errno.ENODEV: ("The file system cannot do this, such as map a file.", _DISK),
    errno.ESTALE: ("The network disk was disconnected.", "Connect it again."),
    errno.ENOTCONN: ("The network disk was disconnected.", "Connect it again."),
    errno.ENOLCK: (
        "The file system does not have locks.",
        "Keep the workspace on a disk of this machine.",
    ),
    errno.ENOMEM: (
        "There is not enough memory.",
        "Close other programs, or use a machine with more memory.",
    ),
    errno.EAGAIN: (
        "Another process is writing to it.",
        "Wait until that has ended, then run the command again.",
    ),
}
# Result code of SQLite → errno. CANTOPEN and IOERR have many causes: see `_of_disk`.
_SQLITE = {
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EAGAIN,
    sqlite3.SQLITE_LOCKED: errno.EAGAIN,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_NOLFS: errno.EFBIG,
    sqlite3.SQLITE_TOOBIG: errno.EFBIG,
    sqlite3.SQLITE_READONLY_DBMOVED: errno.ENOENT,
    sqlite3.SQLITE_IOERR_NOMEM: errno.ENOMEM,
}
_UNCLEAR = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
# What SQLite says of a database whose schema or text is damaged: our statements fit the schema.
_DAMAGE = re.compile(r"no such (table|column|index)|malformed|has no column|Could not decode")
# A library in Rust names the number; numpy says only how much of an array it wrote.
_NUMBER = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)")
_SHORT = re.compile(r"\d+ requested and \d+ written")
_IN_TEXT = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EMFILE)
_LEAST = 64 * 1024  # bytes that SQLite needs beside a database to open it
# A file of an artefact that is missing is damage; one that cannot be read for these is not.
_NOT_DAMAGE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE),
    *(errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.ENOLCK),
}


def cause_of(error: BaseException, where: str | Path = "") -> OmniError | None:
    """The cause of an error as an error for the user, None if it is not a known one.

    `where` is the file concerned, if the error does not name one.
    """
    if isinstance(error, OmniError):
        inner = error.__cause__
        if not isinstance(error, Corrupt) or inner is None or _errno(inner, "") not in _NOT_DAMAGE:
            return None
        return cause_of(inner, error.where)
    if isinstance(error, EOFError):
        how = "Put back a copy of it, or make it again."
        return Corrupt("A file is empty or ends too early.", where=str(where), how=how)
    if is_damage(error):
        return Corrupt(
            f"The database is damaged ({error}).", where=str(where), how="Put back a copy of it."
        )
    named = getattr(error, "filename", None)
    where = os.fsdecode(named) if isinstance(named, str | bytes) else str(where)
    what, how = _CAUSES.get(_errno(error, where) or 0, ("", ""))
    return Unavailable(what, where=where, how=how) if what else None


@contextmanager
def log_errors(log: str, path: Path) -> Iterator[None]:
    """Turns what SQLite says of a log that a service writes into an error for the user.

    `log` names it, such as 'The feedback log'.
    """
    try:
        yield
    except sqlite3.Error as error:
        known = None if is_damage(error) else cause_of(error, path)
        raise known or damaged_log(log, error, path) from error


def damaged_log(log: str, why: object, path: Path) -> Corrupt:
    """The error for a damaged log that a service writes."""
    how = "Put back a copy, or move the file away: the service starts a new one."
    return Corrupt(f"{log} cannot be read ({why}).", where=str(path), how=how)


def explained(error: BaseException, command: str) -> OmniError:
    """An error as one for the user: its cause, or a bug of the `omnisearch` command."""
    known = cause_of(error)
    if isinstance(error, OmniError):
        return known or error
    return known or OmniError(
        f"An unexpected error occurred ({type(error).__name__}: {error}).",
        where=command,
        how="This is a bug in OmniSearch: run the command again with --debug and report it.",
    )


def database_of(error: BaseException) -> Path | None:
    """The file of the database that SQLite's error is about, None if it cannot be told.

    SQLite does not say it: the file is that of the connection at hand where the error was raised.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        for value in frame.f_locals.values():
            connection = getattr(value, "conn", value)  # of sqlite_utils
            if isinstance(connection, sqlite3.Connection) and (file := _file_of(connection)):
                return Path(file)
    return None


def _file_of(connection: sqlite3.Connection) -> str:
    try:
        return str(next(iter(connection.execute("PRAGMA database_list")))[2])
    except sqlite3.Error:  # closed meanwhile, or of another thread
        return ""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that a database is damaged, or not one."""
    if not isinstance(error, sqlite3.Error):
        return False
    return _code(error) in _DAMAGED or bool(_DAMAGE.search(str(error)))


def _errno(error: BaseException, where: str) -> int | None:
    """The system's number of an error, None if it has none."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, sqlite3.Error):
        whole, code = getattr(error, "sqlite_errorcode", 0), _code(error)
        known = _SQLITE.get(whole if whole in _SQLITE else code)
        return (_of_disk(where) if code in _UNCLEAR else None) or known
    if isinstance(error, OSError) and error.errno is not None:
        return errno.EAGAIN if isinstance(error, BlockingIOError) else error.errno
    text = str(error)
    if isinstance(error, OSError) and _SHORT.search(text):
        return errno.ENOSPC
    found = _NUMBER.search(text)
    if found:
        return int(found[1] or found[2])
    return next((number for number in _IN_TEXT if os.strerror(number) in text), None)


def _code(error: sqlite3.Error) -> int:
    """The primary result code of SQLite; 0 for an error of Python's module."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _of_disk(where: str) -> int | None:
    """What is wrong with the disk of a file: full, read-only, or a folder in the file's place."""
    if where and Path(where).is_dir():
        return errno.EISDIR
    folder = next((path for path in Path(where).parents if path.is_dir()), None)
    if not where or folder is None:
        return None
    disk = os.statvfs(folder)
    if disk.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if disk.f_bavail * disk.f_frsize < _LEAST or (disk.f_files and not disk.f_favail):
        return errno.ENOSPC
    return None
