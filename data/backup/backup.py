"""Making a backup of a workspace while it is served, imported to and built in."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from omnisearch.data.backup.archive import MANIFEST, Writer, new_backup
from omnisearch.data.backup.staging import Staged, staged, vector_files
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import cause_of
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.leftovers import remove_leftovers_of, temporary
from omnisearch.data.workspace.progress import Progress

FORMAT = 1
_ARTEFACTS = ("manifest.json", "export.json")
_LOCK_SECONDS = 60.0


@dataclass(frozen=True)
class Backup:
    """What a backup holds.

    Attributes:
        files, bytes: how many files, and how large they are together.
        generation: the live generation, None without an index.
        damaged: a sentence for each file that was damaged in the workspace already.
        left_out: links and special files of the workspace, which it does not hold.
    """

    path: str
    files: int
    bytes: int
    generation: int | None
    damaged: list[str]
    left_out: list[str]


def backup(workspace: Workspace, target: Path, progress: Progress | None = None) -> Backup:
    """Back up a workspace into a new folder, or a new file if `target` ends in .tar.

    What was acknowledged or published before the call is in it; what comes meanwhile may be. The
    cache of query embeddings, locks and unfinished files are not.

    Args:
        progress: called with (files done, files in all).

    Raises:
        InputError: `target` exists, or lies in the workspace.
        Corrupt: the catalogue is damaged.
        Unavailable: the disk is full or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise InputError(
            "There is something at this place already.",
            where=str(target),
            how="Name a new file or folder, for example with the date.",
        )
    if workspace.root.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(
            "A backup cannot lie in the workspace that it is of.",
            where=str(target),
            how="Name a folder elsewhere, best on another disk.",
        )
    remove_leftovers_of(target)
    with staged(workspace) as found, new_backup(target) as writer:
        return _written(workspace, found, target, writer, progress)


def _written(
    workspace: Workspace, found: Staged, target: Path, writer: Writer, progress: Progress | None
) -> Backup:
    names = sorted(
        path.relative_to(found.folder).as_posix()
        for path in found.folder.rglob("*")
        if path.is_file()
    )
    total = len(names) + len(found.databases)
    files: dict[str, dict[str, Any]] = {}
    damaged: list[str] = []
    for name in found.databases:
        files[name] = _add_database(workspace, found, name, target, writer, damaged)
        if progress is not None:
            progress(len(files), total)
    for name in names:
        files[name] = writer.add(name, found.folder / name)
        if progress is not None:
            progress(len(files), total)
    damaged += _differing(found, files)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    facts = {"format": FORMAT, "made": made, "omnisearch": version("omnisearchsage")}
    writer.put(MANIFEST, orjson.dumps({**facts, "files": files}, option=orjson.OPT_INDENT_2))
    current = found.folder / workspace.current.name
    number = current.read_text("utf-8").strip() if current.exists() else ""
    return Backup(
        path=str(target),
        files=len(files),
        bytes=sum(entry["bytes"] for entry in files.values()),
        generation=int(number) if number.isdecimal() else None,
        damaged=damaged,
        left_out=found.left_out,
    )


def _add_database(
    workspace: Workspace,
    found: Staged,
    name: str,
    target: Path,
    writer: Writer,
    damaged: list[str],
) -> dict[str, Any]:
    """Copy a database as it is at one moment, by SQLite's own means, beside `target` first."""
    path = workspace.root.joinpath(name)
    with temporary(target.with_name(f"{target.name}.{Path(name).name}")) as copy:
        try:
            with closing(sqlite3.connect(copy)) as into:
                if path == workspace.catalogue:
                    found.catalogue.backup(into)
                else:
                    with closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as database:
                        database.backup(into)
                said = into.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            what, how = f"The database cannot be copied ({error}).", "Put back a copy of it."
            raise cause_of(error, copy) or Corrupt(what, where=str(path), how=how) from error
        if said != "ok":
            damaged.append(f"{name} is damaged ({said}).")
        return writer.add(name, copy)


def _differing(found: Staged, files: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for each file that is not what a manifest or the catalogue says of it."""
    expected = dict(vector_files(found.catalogue))
    for name in files:
        path = PurePosixPath(name)
        if path.name in _ARTEFACTS:
            try:
                says = orjson.loads((found.folder / name).read_bytes())["files"]
                expected |= {str(path.parent / file): says[file]["sha256"] for file in says}
            except (ValueError, KeyError, TypeError):
                continue  # a file of the user's, or of another kind of manifest
    return [
        f"{name} does not match its manifest." if name in files else f"{name} is missing."
        for name, digest in sorted(expected.items())
        if files.get(name, {}).get("sha256") != digest
    ]
