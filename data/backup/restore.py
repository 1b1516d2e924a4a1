"""Restoring a workspace from a backup."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.backup.archive import DAMAGED, MANIFEST, Hashed, contents
from omnisearch.data.backup.backup import FORMAT
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.leftovers import remove_leftovers_of
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import load_json

_CHUNK = 1024 * 1024
_SHAPE = {"format": int, "made": str, "files": {str: {"bytes": int, "sha256": str}}}
_MOST_JSON = 1_000_000_000  # bytes of a manifest


def restore(
    source: Path, root: Path, *, force: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Restore the backup at `source` as the workspace `root`; returns the backup's manifest.

    All is written beside `root` and compared with the manifest first; then it takes its place in
    one step.

    Args:
        force: whether a workspace that is there is replaced, and removed.
        progress: called with (files done, 0).

    Raises:
        InputError: there is no backup at `source`, or `root` is not empty and `force` is false.
        Corrupt: the backup is damaged. Nothing has changed.
        Unavailable: the disk is full or cannot be written. Nothing has changed.
    """
    if root.exists() and not (root.is_dir() and (force or not any(root.iterdir()))):
        raise InputError(
            "The folder is not empty." if root.is_dir() else "This is not a folder.",
            where=str(root),
            how="Name another workspace, or stop what uses this one and replace it with --force."
            if root.is_dir()
            else "Name another workspace.",
        )
    if not source.exists() or (source.is_dir() and not (source / MANIFEST).is_file()):
        raise InputError(
            "There is no backup at this place." if source.exists() else "There is no such backup.",
            where=str(source),
            how="`omnisearch backup` makes one.",
        )
    remove_leftovers_of(root)
    with new_folder(root, replace=root.exists()) as unfinished:
        try:
            manifest = _unpacked(source, unfinished, progress)
        except (tarfile.TarError, EOFError, ValueError) as error:
            what = f"This is no backup, or it is damaged ({error})."
            raise Corrupt(what, where=str(source), how=DAMAGED) from error
    return manifest


def _unpacked(source: Path, folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Write the files of a backup into a folder; returns its manifest, which they match."""
    found: dict[str, tuple[int, str]] = {}
    manifest = None
    for name, file in contents(source):
        if name == MANIFEST:
            manifest = _manifest(file.read(_MOST_JSON), source)
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hashed = Hashed(file, 1 << 62)
        with path.open("xb") as written:
            shutil.copyfileobj(hashed, written, _CHUNK)
            found[name] = (written.tell(), hashed.sha256.hexdigest())
        if progress is not None:
            progress(len(found), 0)
    if manifest is None:
        raise Corrupt("The backup ends too early.", where=str(source), how=DAMAGED)
    says = {name: (each["bytes"], each["sha256"]) for name, each in manifest["files"].items()}
    differing = sorted(name for name in {*found, *says} if found.get(name) != says.get(name))
    if differing:
        name = differing[0]
        how = "is missing" if name not in found else "does not match its manifest"
        more = f" So are {len(differing) - 1:,} more." if len(differing) > 1 else ""
        raise Corrupt(f"The backup is damaged: {name} {how}.{more}", where=str(source), how=DAMAGED)
    return manifest


def _manifest(content: bytes, source: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = load_json(content, _SHAPE)
    except (ValueError, orjson.JSONDecodeError) as error:
        what = f"The manifest of the backup cannot be read ({error})."
        raise Corrupt(what, where=str(source), how=DAMAGED) from error
    if manifest["format"] != FORMAT:
        raise Corrupt(
            f"The backup has format {manifest['format']}, this program reads {FORMAT}.",
            where=str(source),
            how="Restore it with the OmniSearch that made it.",
        )
    return manifest
