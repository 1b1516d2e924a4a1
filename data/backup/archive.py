"""The two forms of a backup: a folder, and one file (tar). Both hold the same names.

`backup.json` is the last that is written: `format`, when and by which version the backup was made,
and `files`: the size and the sha256 of every other file.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import fsync_folder, new_folder
from omnisearch.data.workspace.leftovers import temporary

MANIFEST = "backup.json"
_CHUNK = 1024 * 1024
DAMAGED = "Use another backup: nothing was restored."


class Hashed(io.RawIOBase):
    """The first `size` bytes of a file, hashed as they are read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left, self.sha256 = file, size, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; none at the end."""
        content = self._file.read(min(size if size >= 0 else self._left, self._left))
        self._left -= len(content)
        self.sha256.update(content)
        return content


class Writer:
    """A backup that is being written, as a folder or a tar file."""

    def __init__(self, folder: Path | None = None, tar: tarfile.TarFile | None = None) -> None:
        self._folder, self._tar = folder, tar

    def add(self, name: str, path: Path) -> dict[str, Any]:
        """Copy a file into the backup; returns its entry in the manifest."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # a file may grow: what comes later is not in it
            source = Hashed(file, size)
            self._write(name, source, size)
        return {"bytes": size, "sha256": source.sha256.hexdigest()}

    def put(self, name: str, content: bytes) -> None:
        """Add a file with this content."""
        self._write(name, io.BytesIO(content), len(content))

    def _write(self, name: str, source: Any, size: int) -> None:
        if self._folder is not None:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
        if self._tar is not None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = size, 0o644
            self._tar.addfile(entry, source)


@contextmanager
def new_backup(target: Path) -> Iterator[Writer]:
    """Write a backup at `target`, a tar file if its name ends in .tar, else a folder.

    It takes its name when it is whole and on disk; after an error or a crash there is none.
    """
    if target.suffix != ".tar":
        with new_folder(target) as folder:
            yield Writer(folder=folder)
        return
    with temporary(target) as unfinished:
        with unfinished.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.copybufsize = _CHUNK  # type: ignore[attr-defined]
                yield Writer(tar=tar)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
    fsync_folder(target.parent)


def contents(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The name and the open content of each file of a backup.

    Raises:
        Corrupt: it holds what no backup does: links, a name twice, or names outside of it.
        tarfile.TarError: it is no tar file, or ends too early.
    """
    seen = set()
    for name, file in _of_folder(source) if source.is_dir() else _of_tar(source):
        outside = ".." in PurePosixPath(name).parts or name.startswith("/") or "\0" in name
        if outside or not name or name in seen:
            what = "a name outside of it" if outside or not name else "twice"
            raise Corrupt(f"It holds {name!r}, {what}.", where=str(source), how=DAMAGED)
        seen.add(name)
        yield name, file


def _of_folder(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise Corrupt(f"It holds {name!r}, which is no file.", where=str(source), how=DAMAGED)
        if path.is_file():
            with path.open("rb") as file:
                yield name, file


def _of_tar(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(source, "r:") as tar:
        for entry in tar:
            whole = entry.isreg() and not entry.issparse()
            file = tar.extractfile(entry) if whole else None
            if file is None:
                what = f"It holds {entry.name!r}, which is no file."
                raise Corrupt(what, where=str(source), how=DAMAGED)
            yield entry.name, file
