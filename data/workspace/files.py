"""Writing files and folders so that a crash leaves the old or the new ones, never a part."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnisearch.data.workspace.leftovers import temporary, temporary_name

_HERE = -100  # AT_FDCWD
_RENAME_EXCHANGE = 2
_SURROGATES = re.compile("[\ud800-\udfff]")  # bytes of a name that are not UTF-8


def legible(path: Path | str) -> str:
    """A file's name, or a text with one, that can be printed and kept, whatever its bytes are."""
    return _SURROGATES.sub("\ufffd", str(path))


def fsync_folder(folder: Path) -> None:
    """Sync the entries of `folder` to disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader or a crash sees the old content or the new, never a part."""
    with temporary(path) as unfinished:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    fsync_folder(path.parent)


@contextmanager
def new_folder(final: Path, replace: bool = False) -> Iterator[Path]:
    """Fill a temporary folder beside `final`; on success it is synced and takes that name.

    After an error or a crash there is no new folder `final`. A new version usually takes a new
    name, and a pointer file names the live one; with `replace`, it takes the old one's place.

    Raises:
        FileExistsError: `final` already exists.
    """
    if final.exists() and not replace:
        raise FileExistsError(final)
    with temporary(final, folder=True) as unfinished:
        yield unfinished
        put_in_place(unfinished, final)


def put_in_place(unfinished: Path, final: Path) -> None:
    """Sync a temporary folder and give it its name; an old folder of that name is removed."""
    unfinished.chmod(0o755)
    sync_tree(unfinished)
    if not (final.exists() and _exchange(unfinished, final)):
        if final.exists():
            remove_folder(final)
        unfinished.rename(final)
    fsync_folder(final.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # not Linux
        return False
    names = (_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()))
    return bool(renameat2(*names, _RENAME_EXCHANGE) == 0)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder under `folder`."""
    for base, _, names in os.walk(folder):
        for name in names:
            with (Path(base) / name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(base))


def link(source: Path, target: Path) -> None:
    """Give a published file, which never changes, another name; a copy where there are no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove_folder(folder: Path) -> None:
    """Remove a published folder, renaming it first so that no reader sees a part of it."""
    gone = temporary_name(folder)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def sha256_file(path: Path) -> str:
    """The hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file at the path is written or replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
