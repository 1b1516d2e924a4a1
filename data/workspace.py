"""The folder that holds everything of one user's, and the ways to write into it safely."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.errors import NotReady


@dataclass(frozen=True)
class Workspace:
    """Paths inside a workspace folder. Nothing is written outside `root`."""

    root: Path

    @classmethod
    def create(cls, root: str | Path) -> Workspace:
        """The workspace at `root`, made if it is not there."""
        path = Path(root)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, root: str | Path) -> Workspace:
        """The workspace at `root`; raises NotReady if it holds no catalogue."""
        workspace = cls(Path(root))
        if not workspace.catalogue.exists():
            raise NotReady(
                "There is no catalogue in this workspace.",
                where=str(workspace.root),
                how="Run `omnisearch import FILES` first, or name another folder with --workspace.",
            )
        return workspace

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.db"

    @property
    def query_cache(self) -> Path:
        return self.root / "query_cache.db"

    @property
    def feedback(self) -> Path:
        """Events and judgments that a service has acknowledged."""
        return self.root / "feedback.db"

    @property
    def settings(self) -> Path:
        return self.root / "omnisearch.toml"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def signals(self) -> Path:
        return self.root / "signals"

    @property
    def generations(self) -> Path:
        return self.root / "generations"

    @property
    def exports(self) -> Path:
        """Query towers as ONNX, by checkpoint."""
        return self.root / "exports"

    @property
    def current(self) -> Path:
        """The file that names the live generation."""
        return self.root / "CURRENT"

    @property
    def rankers(self) -> Path:
        return self.root / "rankers"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def graph(self) -> Path:
        """The trained networks of PinSage and ItemSage."""
        return self.root / "graph"

    @property
    def rejects(self) -> Path:
        return self.root / "rejects"

    @property
    def judging(self) -> Path:
        """What people are asked about results, and their answers; a folder for each judging."""
        return self.root / "judging"


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader or a crash sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Fill a temporary folder beside `final`; on success it is synced and takes that name.

    On any error, or a crash, there is no folder `final`. What replaces something older takes a
    new name, and a small pointer file written by `write_atomic` says which one is live.

    Raises:
        FileExistsError: `final` is there already.
    """
    if final.exists():
        raise FileExistsError(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        sync_tree(temporary)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(final.parent)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder under `folder`."""
    for base, _, names in os.walk(folder):
        for name in names:
            with (Path(base) / name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(base))


def sha256_file(path: Path) -> str:
    """The hex sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
