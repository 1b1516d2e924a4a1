"""Checks of the files of item vectors: hashes and values, once per process and file version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import sha256_file

_ROWS = 65_536  # checked at a time
# Enrichers by the name of their vectors, for advice.
_ENRICHERS = {"text": "text", "image": "images", "pinsage": "graph", "itemsage": "graph"}

# (device, inode, size, mtime in ns): a rename changes none of them.
_Version = tuple[int, int, int, int]
_hashes: dict[_Version, str] = {}
_usable: set[_Version] = set()  # arrays whose values were checked


def unusable(vectors: np.ndarray) -> np.ndarray:
    """The rows of float32 (n, d) that hold NaN or infinity, or whose norm overflows; int64."""
    found = []
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", part, part)
        found.append(start + np.flatnonzero(~np.isfinite(squares)))
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def digest_of(path: Path) -> str:
    """The sha256 of a file; raises OSError."""
    version = _version(path)
    if version not in _hashes:
        _hashes[version] = sha256_file(path)
    return _hashes[version]


def check_values(path: Path, vectors: np.ndarray, name: str, ids: list[str]) -> None:
    """Raise Corrupt if a row of the array in a file is unusable."""
    if _version(path) in _usable:
        return
    bad = unusable(vectors).tolist()
    if bad:
        raise damaged(
            f"{len(bad)} vectors hold NaN or infinity, or are too long for float32, the first that "
            f"of {ids[bad[0]]!r}.",
            path,
            name,
        )
    _usable.add(_version(path))


def forget_checks() -> None:
    """Let every file be read and checked again."""
    _hashes.clear()
    _usable.clear()


def damaged(what: str, path: Path, name: str) -> Corrupt:
    """The error for a file of the vectors of this name."""
    enricher = _ENRICHERS.get(name)
    made = f", or run `omnisearch enrich {enricher}` if it made them" if enricher else ""
    return Corrupt(what, where=str(path), how=f"Import them again{made}.")


def _version(path: Path) -> _Version:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
