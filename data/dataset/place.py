"""Where a data set is: a folder of this machine, or a URL that fsspec knows (s3://, gs://, ..)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from omnisearch.data.importers.parquet_rows import first_line
from omnisearch.data.workspace.errors import InputError, OmniError, Unavailable
from omnisearch.data.workspace.files import fsync_folder, write_atomic

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Place:
    """A folder.

    Attributes:
        url: as the user gave it.
        files: the fsspec file system. root: the folder there.
        folder: the folder, if it is on this machine.
    """

    url: str
    files: Any
    root: str
    folder: Path | None

    def names(self) -> list[str]:
        """All files in it, ascending; empty if there is no such folder."""
        self.files.invalidate_cache()
        base = PurePosixPath(self.root)
        found = self.files.find(self.root)
        return sorted(PurePosixPath(path).relative_to(base).as_posix() for path in found)

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        try:
            content: bytes = self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file; a reader sees all of it or the one of before."""
        path = f"{self.root}/{name}"
        if self.folder is not None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            return write_atomic(self.folder / name, content)
        self.files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        self.files.pipe_file(path, content)

    def move(self, name: str, to: str) -> None:
        """Give a file another name, in place of the file that has it."""
        if self.folder is not None:
            (self.folder / name).replace(self.folder / to)
            return fsync_folder((self.folder / to).parent)
        self.files.mv(f"{self.root}/{name}", f"{self.root}/{to}")

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.files.rm_file(f"{self.root}/{name}")

    @contextmanager
    def new_file(self, name: str) -> Iterator[Hashing]:
        """A new file to write to, which knows its hash."""
        path = f"{self.root}/{name}"
        self.files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        with self.files.open(path, "wb") as file:
            yield Hashing(file)

    def fetch(self, name: str, target: Path) -> str:
        """Copy a file to `target`; returns its sha256. Raises FileNotFoundError."""
        digest = hashlib.sha256()
        with self.files.open(f"{self.root}/{name}", "rb") as file, target.open("wb") as copy:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                copy.write(chunk)
        return digest.hexdigest()


class Hashing(io.RawIOBase):
    """Hashes what is written to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._sha256, self._bytes = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        """Write bytes."""
        self._sha256.update(content)
        self._bytes += len(content)
        self._file.write(content)
        return len(content)

    def entry(self) -> dict[str, Any]:
        """The entry of the file in a manifest."""
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}


def place_at(url: str) -> Place:
    """The place that a user named; nothing is read or made there.

    Raises:
        InputError: it is a URL of a kind that is not known here, or lacks a package.
    """
    if "://" not in url:
        from fsspec.implementations.local import LocalFileSystem

        folder = Path(url).absolute()
        return Place(url, LocalFileSystem(), folder.as_posix(), folder)
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        how = "Install that package, or name a folder."
        raise InputError(f"{first_line(error).rstrip('.')}.", where=url, how=how) from error
    except Exception as error:  # whatever a file system finds wrong with its address
        what = f"The URL cannot be used ({first_line(error)})."
        raise InputError(what, where=url, how="Correct it, or name a folder.") from error
    local = "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))
    return Place(url, files, root.rstrip("/"), Path(root) if local else None)


@contextmanager
def using(place: Place) -> Iterator[None]:
    """Turns what a remote file system raises into Unavailable; errors of this machine pass."""
    try:
        yield
    except OmniError:
        raise
    except Exception as error:
        if place.folder is not None:
            raise
        raise Unavailable(
            f"The place cannot be read or written ({type(error).__name__}: {first_line(error)}).",
            where=place.url,
            how="Check the address, your rights and the network, then run the command again.",
        ) from error
