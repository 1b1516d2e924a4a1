"""Folders that are published whole: manifests with sizes and hashes, pointers, the build lock."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import sha256_file, write_atomic

MANIFEST = "manifest.json"
REBUILD = "Run `omnisearch index rollback` or `omnisearch index build`."


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write `content` and the size and sha256 of every file in `folder` as its manifest."""
    content = content | {"files": hash_files(folder)}
    text = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (folder / MANIFEST).write_bytes(text)


def hash_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Relative path → size in bytes and sha256 of every file under `folder` but the manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(sha256_file, paths))
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }


def read_manifest(folder: Path, version: int) -> dict[str, Any]:
    """The manifest of a folder; raises Corrupt if it is not one of this format version."""
    path = folder / MANIFEST
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise Corrupt(
            f"The manifest cannot be read ({error}).", where=str(path), how=REBUILD
        ) from (error)
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise Corrupt("The manifest lists no files.", where=str(path), how=REBUILD)
    if content.get("format") != version:
        raise Corrupt(
            f"The format is version {content.get('format')!r}, this program reads {version}.",
            where=str(path),
            how="Run `omnisearch index build`.",
        )
    return content


def problems_of(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """What of a folder is not as its manifest says: one sentence for each file; empty if all is."""

    def check(entry: tuple[str, Any]) -> str | None:
        name, says = entry
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute() or path.is_symlink():
            return f"{name} lies outside the folder."
        if not path.is_file():
            return f"{name} is missing."
        if not isinstance(says, dict) or path.stat().st_size != says.get("bytes"):
            return f"{name} has another size than the manifest says."
        if sha256_file(path) != says.get("sha256"):
            return f"{name} has another content than the manifest says."
        return None

    # The largest first, so that no core ends with one big file alone.
    entries = sorted(manifest["files"].items(), key=_size, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [problem for problem in pool.map(check, entries) if problem]
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _ignored(path) and name not in manifest["files"]:
            found.append(f"{name} is not in the manifest.")
    return found


def _size(entry: tuple[str, Any]) -> int:
    size = entry[1].get("bytes") if isinstance(entry[1], dict) else 0
    return size if isinstance(size, int) else 0


def _ignored(path: Path) -> bool:
    # tantivy leaves a lock beside an index that it reads.
    return path.name == MANIFEST or path.name.startswith(".tantivy-")


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the published folders in `folder`, ascending."""
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()
    )


def read_pointer(path: Path) -> int | None:
    """The number that a pointer file names, or None where there is none.

    Raises:
        Corrupt: it names something else.
    """
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Corrupt("The pointer file cannot be read.", where=str(path)) from error
    if not (text.isascii() and text.isdecimal()):
        raise Corrupt(
            f"The pointer file names {text[:40]!r}, not a number.",
            where=str(path),
            how="Run `omnisearch index rollback --number N` with one that `index status` shows.",
        )
    return int(text)


def write_pointer(path: Path, number: int) -> None:
    """Make `number` the live one."""
    write_atomic(path, f"{number}\n".encode())


@contextmanager
def build_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace's lock for building and publishing; it falls with the process.

    Leftovers of builds that were killed are removed on entry.

    Raises:
        NotReady: another process holds it.
    """
    path = workspace.root / ".index.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NotReady(
                "Another process is building or publishing indexes in this workspace.",
                where=str(workspace.root),
                how="Wait until it has ended, then try again.",
            ) from error
        remove_leftovers(workspace)
        yield


def remove_leftovers(workspace: Workspace) -> None:
    """Remove the temporary folders and files that a killed build left; only under the lock."""
    for pattern in ("generations/.*", "signals/*/.*", ".CURRENT.*"):
        for path in workspace.root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a published folder: it loses its name first, so that no part of it is ever seen."""
    gone = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
