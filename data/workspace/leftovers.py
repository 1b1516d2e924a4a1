"""Temporary files and folders, and the one sweeper that removes those of killed processes.

A temporary is `.NAME.xxxxxxxx.tmp` beside the file or folder that it becomes. Its writer holds a
lock on it, and a lock ends with its process: who gets the lock of a temporary may remove it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OURS = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
# Names that earlier versions gave; they held no lock.
_EARLIER = re.compile(
    r"\.(.+\.[a-z0-9_]{8}|.+\.removed|.+\.partial\.npy|partial-[a-z0-9_]{8})", re.DOTALL
)
_EARLIER_IN_ROOT = re.compile(r"\.CURRENT\.[a-z0-9_]{8}")
_LONGEST = 60  # characters of the final name in a temporary's: a file name has at most 255 bytes


def temporary_name(final: Path) -> Path:
    """A new name beside `final` that the sweeper recognises."""
    return final.with_name(f".{final.name[:_LONGEST]}.{secrets.token_hex(4)}.tmp")


@contextmanager
def temporary(final: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new, empty file or folder beside `final`, locked; at the end it is removed, if still there.

    The caller fills it and renames it to `final`.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    path, fd = _new(final, folder)
    try:
        yield path
    finally:
        with suppress(OSError):
            _remove(path)
        os.close(fd)


def _new(final: Path, folder: bool) -> tuple[Path, int]:
    while True:
        path = temporary_name(final)
        if folder:
            path.mkdir(mode=0o700)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with suppress(FileNotFoundError):  # a sweeper was faster than the lock: another name
            fd = os.open(path, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if path.exists():
                return path, fd
            os.close(fd)


def remove_leftovers_in(*folders: Path) -> None:
    """Remove the temporaries in folders and their subfolders whose writers are dead.

    Links are not followed.
    """
    for folder in folders:
        if folder.is_symlink() or not folder.is_dir():
            continue
        _sweep(folder, _EARLIER)
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False):
                _sweep(Path(entry.path), _EARLIER)


def remove_leftovers_of_root(root: Path) -> None:
    """The same for files right in a workspace's folder, where users may have files of their own."""
    _sweep(root, _EARLIER_IN_ROOT)


def remove_leftovers_of(final: Path) -> None:
    """Remove the temporaries of one file or folder, beside which others have theirs."""
    ours = re.compile(
        rf"\.{re.escape(final.name[:_LONGEST])}(\..+)?\.[0-9a-f]{{8}}\.tmp", re.DOTALL
    )
    for entry in _entries(final.parent):
        if ours.fullmatch(entry.name):
            _remove_unlocked(Path(entry.path))


def _sweep(folder: Path, earlier: re.Pattern[str]) -> None:
    for entry in _entries(folder):
        if _OURS.fullmatch(entry.name) or earlier.fullmatch(entry.name):
            _remove_unlocked(Path(entry.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # removed meanwhile, or not ours to read
        return []


def _remove_unlocked(path: Path) -> None:
    """Remove a file or folder unless another process has it locked."""
    with suppress(OSError):  # what cannot be removed now is left for the next command
        if path.is_symlink():
            return
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been renamed, and the name taken by another, since it was listed.
            if os.path.samestat(os.fstat(fd), path.lstat()):
                _remove(path)
        finally:
            os.close(fd)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
