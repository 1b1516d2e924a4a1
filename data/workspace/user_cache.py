"""What packages hold in a form that is slow to open: made ready once, in the user's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from omnisearch.data.workspace.artefacts import Kind, verified, write_manifest
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import new_folder, remove_folder


def made_once(kind: Kind, name: str, source: Path, write: Callable[[Path], None]) -> Path:
    """The verified folder that `write` filled from a package's file; made anew if damaged.

    It belongs to this very file and to `kind.format`, which increases when it is written otherwise.
    Raises OSError if the cache cannot be written.
    """
    from platformdirs import user_cache_path

    stat = source.stat()
    key = f"{kind.format} {stat.st_size} {stat.st_mtime_ns} {source}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    folder = user_cache_path("omnisearch") / f"{name}-{digest}"
    if folder.exists():
        try:
            verified(folder, kind)
            return folder
        except Corrupt:
            remove_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_folder(folder) as unfinished:
            write(unfinished)
            write_manifest(unfinished, kind)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise
    return folder
