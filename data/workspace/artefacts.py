"""Published artefacts: folders with a manifest of sizes and hashes, and pointers that name them.

An artefact is written into a new folder (`files.new_folder`), described by a manifest, and put in
place by a pointer, a small file that is replaced by a rename. Readers follow the pointer and
compare files with the manifest. A process killed before the rename leaves the old artefact in
place.

A manifest is JSON: `format`, facts of the kind, and `files`: relative path → `bytes` and `sha256`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from omnisearch.data.workspace.errors import Corrupt, OtherFormat
from omnisearch.data.workspace.files import remove_folder, sha256_file, write_atomic

_SEAL = "manifest_sha256"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SMALL = 2**22  # bytes that one thread hashes in some milliseconds

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Kind:
    """One kind of artefact.

    Attributes:
        name: its name in error messages.
        format: version of its manifest; other versions are refused.
        again: a sentence with the command that makes a new one.
        mend: how to repair a damaged one, if there is a better way than `again`.
        manifest: the file name of its manifest.
        apart: subfolders that have their own manifest and may be removed.
    """

    name: str
    format: int
    again: str
    mend: str = ""
    manifest: str = "manifest.json"
    apart: tuple[str, ...] = ()

    def corrupt(self, what: str, where: Path) -> Corrupt:
        """The error for a damaged artefact of this kind."""
        return Corrupt(what, where=str(where), how=self.mend or self.again)


def write_manifest(folder: Path, kind: Kind, facts: dict[str, Any] | None = None) -> None:
    """Write the manifest of a folder: `facts`, and the size and sha256 of every file in it."""
    paths = [folder / name for name in _names(folder, kind)]
    digests = _mapped(sha256_file, paths, sum(path.stat().st_size for path in paths))
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }
    (folder / kind.manifest).write_bytes(manifest_of(kind, facts, files))


def manifest_of(
    kind: Kind, facts: dict[str, Any] | None, files: dict[str, dict[str, Any]]
) -> bytes:
    """The content of a manifest; `files` is as in the manifest."""
    return sealed({**(facts or {}), "format": kind.format, "files": files})


def sealed(manifest: dict[str, Any]) -> bytes:
    """The content of a manifest, with a hash of what else it says."""
    content = manifest | {_SEAL: _seal_of(manifest)}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def is_intact(manifest: dict[str, Any]) -> bool:
    """Whether a manifest says what it said when it was sealed; those of before have no hash."""
    return manifest.get(_SEAL) in (None, _seal_of(manifest))


def _seal_of(manifest: dict[str, Any]) -> str:
    facts = {name: value for name, value in manifest.items() if name != _SEAL}
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def entry_of(content: bytes) -> dict[str, Any]:
    """The manifest entry of a file with this content."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_manifest(folder: Path, kind: Kind) -> dict[str, Any]:
    """The manifest of a folder; raises Corrupt, or OtherFormat if it is of another version."""
    path = folder / kind.manifest
    try:
        content = orjson.loads(path.read_bytes())
        found = content["format"]
        intact = is_intact(content)
        content.pop(_SEAL, None)
        # Rankers were first written with a hash and no size for each file.
        files = content.setdefault("files", {})
        files |= {name: {"sha256": digest} for name, digest in content.get("sha256", {}).items()}
        whole = bool(files) and all(isinstance(entry, dict) for entry in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise kind.corrupt(
            f"The manifest of the {kind.name} cannot be read ({error!r}).", path
        ) from error
    if found != kind.format:
        raise OtherFormat(
            f"The {kind.name} has format {found!r}, this program reads {kind.format}.",
            where=str(path),
            how=kind.again,
        )
    if not intact:
        raise kind.corrupt(f"The manifest of the {kind.name} was changed.", path)
    if not whole:
        raise kind.corrupt(f"The manifest of the {kind.name} lists no files.", path)
    return content


def verified(
    folder: Path, kind: Kind, unread: Callable[[str], bool] = lambda name: False
) -> dict[str, Any]:
    """The manifest of a folder, after comparing its files with it, except those left `unread`.

    Raises:
        Corrupt: a file is missing, differs, is outside the folder or not in the manifest.
    """
    manifest = read_manifest(folder, kind)
    problems = problems_of(folder, kind, manifest, unread)
    if problems:
        raise kind.corrupt(" ".join(problems), folder)
    return manifest


def problems_of(
    folder: Path,
    kind: Kind,
    manifest: dict[str, Any],
    unread: Callable[[str], bool] = lambda name: False,
) -> list[str]:
    """How a folder differs from its manifest: one sentence per file; empty if it does not.

    Of files that nobody will read, the size is compared and not the content.
    """
    root = os.path.realpath(folder)

    def check(name: str) -> str | None:
        path, says = folder / name, manifest["files"][name]
        try:
            if not _is_inside(root, name):
                return f"{name} is outside the folder."
            if not path.is_file():
                return f"{name} is missing."
            if path.stat().st_size != says.get("bytes"):
                return f"{name} does not have the size in the manifest."
            if not unread(name) and sha256_file(path) != says.get("sha256"):
                return f"{name} does not match its manifest."
        except (OSError, ValueError) as error:
            return f"{name} cannot be read ({error})."
        return None

    def size(name: str) -> int:
        says = manifest["files"][name].get("bytes")
        return says if isinstance(says, int) else 0

    # The largest first, so that no core is left with one big file at the end.
    names = sorted(manifest["files"], key=size, reverse=True)
    found = [problem for problem in _mapped(check, names, sum(map(size, names))) if problem]
    unknown = [name for name in _names(folder, kind) if name not in manifest["files"]]
    return found + [f"{name} is not in the manifest." for name in unknown]


def _mapped(call: Callable[[T], U], files: Sequence[T], size: int) -> list[U]:
    """What a call returns of each file, of so many bytes in all; in threads, unless they are few:
    for those of an update threads would cost more."""
    if size < _SMALL:
        return list(map(call, files))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(call, files))


def read_verified(folder: Path, kind: Kind, manifest: dict[str, Any], name: str) -> bytes:
    """The content of one file, compared with the manifest.

    Raises:
        Corrupt: it is missing, or differs from the manifest.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind.corrupt(f"A file of the {kind.name} cannot be read ({error}).", path) from error
    if entry_of(content)["sha256"] != manifest["files"].get(name, {}).get("sha256"):
        raise kind.corrupt(f"A file of the {kind.name} does not match its manifest.", path)
    return content


def _is_inside(root: str, name: str) -> bool:
    """Whether a name leads to a place in a folder, of which the real path is given."""
    path = f"{root}/{name}"
    return not name.startswith("/") and os.path.realpath(path) == path


def _names(folder: Path, kind: Kind) -> list[str]:
    """The files of a folder that a manifest lists, as relative paths, ascending."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != kind.manifest
        and not path.name.startswith(".tantivy-")  # lock files of an index that is being read
        and path.relative_to(folder).parts[0] not in kind.apart
    ]


def read_pointer(path: Path, kind: Kind) -> str | None:
    """The name in a pointer file, or None if the file does not exist.

    Raises:
        Corrupt: its content is not a file name.
    """
    try:
        name = path.read_text("utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise kind.corrupt(f"The pointer file cannot be read ({error}).", path) from error
    if not _NAME.fullmatch(name):
        raise kind.corrupt(f"The pointer file names {name[:40]!r}, not a folder.", path)
    return name


def pointed(path: Path, kind: Kind) -> Path | None:
    """The folder that a pointer file names, or None if the pointer does not exist.

    Raises:
        Corrupt: the pointer is damaged, or its folder does not exist.
    """
    name = read_pointer(path, kind)
    if name is None:
        return None
    folder = path.with_name(name)
    if not folder.is_dir():
        raise kind.corrupt(f"{path.name} names {name}, which does not exist.", path)
    return folder


def read_number(path: Path, kind: Kind) -> int | None:
    """The number in a pointer file, or None if there is no file; raises Corrupt."""
    name = read_pointer(path, kind)
    if name is not None and not (name.isascii() and name.isdecimal()):
        raise kind.corrupt(f"The pointer file names {name[:40]!r}, not a number.", path)
    return None if name is None else int(name)


def write_pointer(path: Path, name: str | int) -> None:
    """Point a pointer file at another artefact, by a rename."""
    write_atomic(path, f"{name}\n".encode())


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the published folders in `folder`, ascending."""
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()
    )


def sweep(base: Path, keep: Collection[str]) -> None:
    """Remove the folders of `base` that are not in `keep`; not unfinished ones, named `.*`."""
    for path in base.iterdir():
        if path.is_dir() and path.name not in keep and not path.name.startswith("."):
            remove_folder(path)
